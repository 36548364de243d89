"""The visitor's two streams: an answer while it is written, and what agents do."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError, connections
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.http import require_GET

from praxis.conversations.access import get_message
from praxis.conversations.live import follow, person_key
from praxis.conversations.stream_views import event_stream, live_position, until_refused
from praxis.conversations.streams import StreamItem, read_events
from praxis.widget.visitors import (
    WINDOW_SECONDS,
    TooOften,
    conversation_of,
    enter,
    find_widget,
    may_listen,
)


@require_GET
async def answer(request: HttpRequest, key: str, message_id: UUID) -> HttpResponseBase:
    try:
        await sync_to_async(_check_message)(request, key, message_id)
    except TooOften:
        return HttpResponse(status=429)

    async def check() -> None:
        await sync_to_async(_check_again)(request, key)

    events = read_events(message_id, live_position(request), check=check)
    return event_stream(until_refused(events))


@require_GET
async def live(request: HttpRequest, key: str) -> HttpResponseBase:
    try:
        conversation_id = await sync_to_async(_conversation_id)(request, key)
    except TooOften:
        return HttpResponse(status=429)

    async def check() -> None:
        await sync_to_async(_check_again)(request, key)

    news = follow(person_key(conversation_id), live_position(request), check=check)
    return event_stream(_for_one_window(until_refused(news)))


async def _for_one_window(
    events: AsyncIterator[StreamItem | None],
) -> AsyncIterator[StreamItem | None]:
    """Ends after a while and the page asks again, so that the limit bounds what is open at once."""
    now = asyncio.get_running_loop().time
    ends_at = now() + WINDOW_SECONDS
    async for item in events:
        yield item
        if now() >= ends_at:
            return


def _check_message(request: HttpRequest, key: str, message_id: UUID) -> None:
    try:
        visit = enter(request, find_widget(key))
        may_listen(visit)
        get_message(visit.principal, message_id)
    finally:
        # The stream may last for minutes; it must not keep a connection of the pool meanwhile.
        connections.close_all()


def _conversation_id(request: HttpRequest, key: str) -> UUID:
    try:
        visit = enter(request, find_widget(key))
        may_listen(visit)
        conversation = conversation_of(visit)
        if conversation is None:
            raise Http404
        return conversation.pk
    finally:
        connections.close_all()


def _check_again(request: HttpRequest, key: str) -> None:
    try:
        enter(request, find_widget(key))
    except (OperationalError, InterfaceError):
        return  # a restart of the database must not cut a running answer
    finally:
        connections.close_all()
