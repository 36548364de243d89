"""Asking an assistant on behalf of a program: post, then follow the events of the answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import ParamSpec, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import HttpRequest

from praxis.conversations.models import Message
from praxis.conversations.streams import StreamItem, read_events
from praxis.integrations.authentication import still_allowed

P = ParamSpec("P")
R = TypeVar("R")


def released(work: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """The sync function for async callers; gives its database connection back at the end."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    return sync_to_async(run)


async def follow(
    request: HttpRequest, message_id: UUID, after: str = ""
) -> AsyncIterator[StreamItem | None]:
    """The answer's events; ends quietly when the key is revoked meanwhile."""

    async def check() -> None:
        if not await released(still_allowed)(request):
            raise PermissionDenied

    try:
        async for item in read_events(message_id, after, check=check):
            yield item
    except PermissionDenied:
        return


async def finished(request: HttpRequest, message_id: UUID) -> Message:
    """The message when its answer is complete."""
    async for _item in follow(request, message_id):
        pass
    return await released(_load)(message_id)


def _load(message_id: UUID) -> Message:
    return Message.objects.select_related("conversation__workspace").get(pk=message_id)
