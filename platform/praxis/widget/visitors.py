"""Anonymous visitors: who they are is in a signed token that their browser keeps.

No cookie: in another site's frame browsers refuse them, and without one no other site can make a
visitor's browser speak. The token opens the visitor's own conversations behind one widget, nothing
else.
"""

import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.access import own_conversations
from praxis.conversations.models import Conversation
from praxis.conversations.refusals import NotNow
from praxis.conversations.services import offered_assistants
from praxis.rate_limits import allowed
from praxis.widget.models import Widget

SALT = "praxis.widget.visitor"
SESSION_SECONDS = 30 * 24 * 3600
SCHEME = "Visitor "
WINDOW_SECONDS = 600
MESSAGES = 30
"""That one visitor may send within the window."""
MESSAGES_OF_NETWORK = 120
SESSIONS_OF_NETWORK = 60
STREAMS_OF_NETWORK = 300


class TooOften(NotNow):
    """A limit was reached; the sentence says when to try again."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One request of a visitor."""

    widget: Widget
    principal: Principal
    network: str
    """Whose limits the request counts for; see `_network`."""


def find_widget(key: str) -> Widget:
    """404 for one that doesn't exist, is switched off, or whose assistant is no longer offered."""
    widget = Widget.objects.select_related("workspace").filter(key=key, enabled=True).first()
    if widget is None:
        raise Http404
    if widget.assistant not in {one.slug for one in offered_assistants(widget.workspace)}:
        raise Http404
    return widget


def new_token(widget: Widget, request: HttpRequest) -> str:
    """A new visitor's token. Raises `TooOften`."""
    _count(f"sessions:{_network(request)}", SESSIONS_OF_NETWORK)
    return _sign(widget, secrets.token_urlsafe(24))


def renewed(visit: Visit) -> str:
    """The same visitor's token, valid from now on again."""
    return _sign(visit.widget, visit.principal.visitor_key.removeprefix("widget:"))


def _sign(widget: Widget, visitor: str) -> str:
    return signing.dumps({"widget": str(widget.pk), "visitor": visitor}, salt=SALT)


def enter(request: HttpRequest, widget: Widget) -> Visit:
    """The visitor behind `Authorization: Visitor <token>`; `PermissionDenied` without a valid one."""
    given = request.headers.get("Authorization", "")
    if not given.startswith(SCHEME):
        raise PermissionDenied
    try:
        found = signing.loads(given.removeprefix(SCHEME), salt=SALT, max_age=SESSION_SECONDS)
    except signing.BadSignature as error:
        raise PermissionDenied from error
    if found["widget"] != str(widget.pk):
        raise PermissionDenied
    principal = Principal(
        workspace=widget.workspace,
        role=Role.MEMBER,
        visitor_key=f"widget:{found['visitor']}",
        scopes=frozenset({"*"}),
        address=request.META.get("REMOTE_ADDR"),
    )
    return Visit(widget=widget, principal=principal, network=_network(request))


def may_speak(visit: Visit) -> None:
    """Raises `TooOften`."""
    _count(f"messages:{visit.principal.visitor_key}", MESSAGES)
    _count(f"messages:{visit.network}", MESSAGES_OF_NETWORK)


def may_listen(visit: Visit) -> None:
    """Before a stream is opened. Raises `TooOften`."""
    _count(f"streams:{visit.network}", STREAMS_OF_NETWORK)


def conversation_of(visit: Visit) -> Conversation | None:
    """The visitor's newest conversation behind this widget."""
    return (
        own_conversations(visit.principal)
        .select_related("workspace", "head", "owner")
        .filter(assistant=visit.widget.assistant)
        .order_by("-created_at", "pk")
        .first()
    )


def _count(name: str, limit: int) -> None:
    if not allowed(f"widget:{name}", limit=limit, seconds=WINDOW_SECONDS):
        raise TooOften(_("Too many messages in a short time. Try again in a few minutes."))


def _network(request: HttpRequest) -> str:
    """The address, or of IPv6 the /64 that one household or server can choose addresses from."""
    given = str(request.META.get("REMOTE_ADDR", ""))
    try:
        address = ip_address(given)
    except ValueError:  # a Unix socket has no address
        return given
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(address)
