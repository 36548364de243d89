"""What every page's frame says to an agent: in which workspaces someone waits for a person."""

from typing import Any

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Conversation
from praxis.handoff.access import AGENT_ROLES


def inboxes(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {}
    return {"inboxes": SimpleLazyObject(lambda: _of(user))}


def _of(user: User) -> list[Workspace]:
    """The workspaces whose agent the person is, with `num_waiting`."""
    waiting = (
        Conversation.objects.filter(workspace=OuterRef("pk"), owner_kind="waiting")
        .values("workspace")
        .annotate(num=Count("pk"))
    )
    return list(
        Workspace.objects.filter(memberships__user=user, memberships__role__in=AGENT_ROLES)
        .annotate(num_waiting=Coalesce(Subquery(waiting.values("num")), 0))
        .order_by("name", "pk")
    )
