"""Who may see a draft."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from apps.legal.models import Draft
from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.access import conversations_of


def drafts_of(principal: Principal) -> QuerySet[Draft]:
    """A draft is as visible as the conversation that it comes from; agents see the workspace's."""
    found = Draft.objects.filter(workspace=principal.workspace)
    if principal.may(Role.AGENT):
        return found
    return found.filter(conversation__in=conversations_of(principal))


def get_draft(principal: Principal, draft_id: UUID) -> Draft:
    draft = (
        drafts_of(principal).select_related("workspace", "reviewed_by").filter(pk=draft_id).first()
    )
    if draft is None:
        raise Http404
    return draft
