"""What every page's frame shows: the person's workspaces and the assistants."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from praxis.accounts.models import Membership, User
from praxis.assistants.registry import all_assistants


def navigation(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {}
    return {
        "domain_pages": [one for one in all_assistants() if one.urls and one.pages_title],
        "memberships": SimpleLazyObject(
            lambda: list(
                Membership.objects.filter(user=user)
                .select_related("workspace")
                .order_by("workspace__name", "pk")
            )
        ),
    }
