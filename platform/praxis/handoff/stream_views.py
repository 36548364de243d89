"""News for the agents' open inboxes, as server-sent events; an open inbox is an agent present."""

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from praxis.accounts.access import Principal
from praxis.conversations.live import agents_key, follow
from praxis.conversations.stream_views import (
    event_stream,
    live_position,
    request_now,
    until_refused,
)
from praxis.handoff.access import enter_inbox
from praxis.handoff.presence import mark_present


@require_GET
async def live(request: HttpRequest, workspace: str) -> StreamingHttpResponse:
    """Says which conversation changed and how; 404 for a stranger, 403 for who is no agent."""
    principal = await sync_to_async(_enter)(request, workspace)

    async def check() -> None:
        await sync_to_async(_enter_again)(request, workspace)

    key = agents_key(principal.workspace.pk)
    return event_stream(until_refused(follow(key, live_position(request), check=check)))


def _enter(request: HttpRequest, workspace: str) -> Principal:
    try:
        principal = enter_inbox(request, workspace)
        assert principal.user is not None
        mark_present(principal.workspace.pk, principal.user.pk)
        return principal
    finally:
        # The stream may last for hours; it must not keep a connection of the pool meanwhile.
        connections.close_all()


def _enter_again(request: HttpRequest, workspace: str) -> None:
    try:
        _enter(request_now(request), workspace)
    except (OperationalError, InterfaceError):
        return  # a restart of the database must not empty the inbox
