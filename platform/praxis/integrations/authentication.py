"""How a program shows its key: `Authorization: Bearer prx_…`, and nothing else."""

from django.http import HttpRequest
from ninja.security import HttpBearer

from praxis.accounts.access import Principal
from praxis.integrations.keys import authenticate


class KeyAuth(HttpBearer):
    """`request.auth` is the key's `Principal`; a bad key is 401."""

    def authenticate(self, request: HttpRequest, token: str) -> Principal | None:
        return authenticate(token, request.META.get("REMOTE_ADDR"))


def still_allowed(request: HttpRequest) -> bool:
    """Whether the request's key would be accepted now; long streams ask every few seconds."""
    _scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    return authenticate(token) is not None
