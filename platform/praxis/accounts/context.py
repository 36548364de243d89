"""What every page's frame shows: the person's workspaces and the assistants."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from praxis.accounts.models import Membership, User


def navigation(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {}
    return {
        "memberships": SimpleLazyObject(
            lambda: list(
                Membership.objects.filter(user=user)
                .select_related("workspace")
                .order_by("workspace__name", "pk")
            )
        )
    }
