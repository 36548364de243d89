"""Which answers a clinician reviews, and who may."""

from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import Http404

from apps.medical.models import CaseReview
from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.access import get_message
from praxis.conversations.models import Message

ASSISTANT_SLUG = "medical"


SHOWN = ("open", *CaseReview.Decision.values, "all")
"""Which answers the queue can be narrowed to."""


def answers_to_review(principal: Principal, show: str) -> QuerySet[Message]:
    """The workspace's medical answers with a differential or a safety rule, newest first.

    `show` is one of SHOWN; each answer has `decision`, the newest one, or None.
    """
    principal.require(Role.AGENT)
    newest = CaseReview.objects.filter(message=OuterRef("pk")).order_by("-created_at", "-pk")
    answers = (
        Message.objects.filter(
            conversation__workspace=principal.workspace,
            conversation__assistant=ASSISTANT_SLUG,
            role=Message.Role.ASSISTANT,
            events__contains=[{"kind": "card"}],
        )
        .select_related("conversation", "parent")
        .annotate(decision=Subquery(newest.values("decision")[:1]))
        .order_by("-created_at", "-pk")
    )
    if show == "open":
        return answers.filter(decision=None)
    return answers if show == "all" else answers.filter(decision=show)


def get_answer(principal: Principal, message_id: UUID) -> Message:
    """A medical answer of the workspace; 404 for any other message, 403 for too low a role."""
    message = get_message(principal, message_id)
    if message.conversation.assistant != ASSISTANT_SLUG or message.role != Message.Role.ASSISTANT:
        raise Http404
    principal.require(Role.AGENT)
    return message
