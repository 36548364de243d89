"""The answer as server-sent events, token by token."""

import json
import logging
from collections.abc import AsyncIterator
from importlib import import_module
from uuid import UUID

import redis
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, connections
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from praxis.accounts.access import principal_for
from praxis.conversations.access import check_conversation, get_message
from praxis.conversations.live import follow, is_well_formed, person_key
from praxis.conversations.models import Conversation
from praxis.conversations.streams import StreamItem, read_events

logger = logging.getLogger(__name__)

RECONNECT_MS = 1000


@require_GET
async def stream(
    request: HttpRequest, conversation_id: UUID, message_id: UUID
) -> StreamingHttpResponse:
    """Resumes after `Last-Event-ID`; 404 for whoever may not see the message."""
    await sync_to_async(_check)(request, conversation_id, message_id)

    async def check_again() -> None:
        await sync_to_async(_check_again)(request, conversation_id)

    events = read_events(message_id, request.headers.get("Last-Event-ID", ""), check=check_again)
    return event_stream(until_refused(events))


@require_GET
async def live(request: HttpRequest, conversation_id: UUID) -> StreamingHttpResponse:
    """That something changed in the conversation; the page asks for what it is."""
    after = live_position(request)

    async def check() -> None:
        await sync_to_async(_check_again)(request, conversation_id)

    await check()
    return event_stream(until_refused(follow(person_key(conversation_id), after, check=check)))


def live_position(request: HttpRequest) -> str:
    """The `Last-Event-ID` if it is one of ours, else empty: from now on."""
    given = request.headers.get("Last-Event-ID", "")
    return given if is_well_formed(given) else ""


def event_stream(events: AsyncIterator[StreamItem | None]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_lines(events), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


async def _lines(events: AsyncIterator[StreamItem | None]) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    async for item in events:
        if item is None:
            yield ": ping\n\n"
            continue
        event_id, event = item
        yield f"id: {event_id}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"


async def until_refused(
    events: AsyncIterator[StreamItem | None],
) -> AsyncIterator[StreamItem | None]:
    """Ends quietly when the right is gone or Redis is; the page asks again and is told then."""
    try:
        async for item in events:
            yield item
    except (Http404, PermissionDenied):
        return
    except redis.RedisError as error:
        logger.warning("A reader of an answer lost Redis: %s", error)


def _check(request: HttpRequest, conversation_id: UUID, message_id: UUID) -> None:
    try:
        conversation = Conversation.objects.filter(pk=conversation_id).first()
        if conversation is None:
            raise Http404
        principal = principal_for(request, conversation.workspace_id)
        get_message(principal, message_id, conversation_id=conversation_id)
    finally:
        # The stream may last for minutes; it must not keep a connection of the pool meanwhile.
        connections.close_all()


def _check_again(request: HttpRequest, conversation_id: UUID) -> None:
    """Whether the session still stands and the person may still see the conversation."""
    try:
        now = request_now(request)
        conversation = Conversation.objects.filter(pk=conversation_id).first()
        if conversation is None:
            raise Http404
        check_conversation(principal_for(now, conversation.workspace_id), conversation)
    except (OperationalError, InterfaceError):
        return  # a restart of the database must not cut a running answer
    finally:
        connections.close_all()


def request_now(request: HttpRequest) -> HttpRequest:
    """The request as it would come now: its session may have ended since."""
    now = HttpRequest()
    now.META = request.META
    sessions = import_module(settings.SESSION_ENGINE)
    now.session = sessions.SessionStore(request.session.session_key)
    now.user = get_user(now)
    return now
