"""The events of an answer while it is written: one Redis stream per message.

The turn appends, any number of readers follow, and a reader that lost its connection goes on after
the last id it saw. Redis holds a copy for an hour; what lasts is in the message's row.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import redis.asyncio
from asgiref.sync import sync_to_async
from django.db import connections, transaction
from django.utils import timezone

from praxis.conversations.models import Message
from praxis.conversations.redis_connection import reader_client, redis_client
from praxis.conversations.serializers import message_event
from praxis.integrations.events import emit
from praxis.integrations.replies import send_reply

KEEP_SECONDS = 3600
RECHECK_SECONDS = 4.0
"""How often a reader looks whether the answer still lives; rights are checked as often."""
ABANDONED_SECONDS = 10.0
"""How long an answer goes on after its last reader left; a reload comes back sooner."""
BATCH = 200
FIRST_BLOCK_MS = 50
ALIVE_SECONDS = 15
START_SECONDS = 15
"""How long a stored answer may wait for its turn to show a sign of life."""
BEGINNING = "0-0"

StreamItem = tuple[str, dict[str, Any]]


def stream_key(message_id: UUID) -> str:
    return f"praxis:answer:{message_id}"


def _alive_key(message_id: UUID) -> str:
    return f"praxis:answering:{message_id}"


def append(message_id: UUID, event: dict[str, Any], *, first: bool = False) -> None:
    """Add one event; the stream's life is set with the first and again with `done`."""
    key = stream_key(message_id)
    fields = {"event": json.dumps(event, ensure_ascii=False)}
    client = redis_client()
    if not first and event["kind"] != "done":
        client.xadd(key, fields)  # type: ignore[arg-type]  # the stubs want an invariant dict
        return
    with client.pipeline(transaction=False) as pipe:
        pipe.xadd(key, fields)  # type: ignore[arg-type]
        pipe.expire(key, KEEP_SECONDS)
        pipe.execute()


def written_so_far(message_id: UUID) -> list[dict[str, Any]]:
    entries: Any = redis_client().xrange(stream_key(message_id))
    return [json.loads(fields["event"]) for _, fields in entries]


def join_tokens(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events with neighbouring tokens made one, as they are stored."""
    joined: list[dict[str, Any]] = []
    for event in events:
        if event["kind"] == "token" and joined and joined[-1]["kind"] == "token":
            joined[-1] = {"kind": "token", "text": joined[-1]["text"] + event["text"]}
        else:
            joined.append(event)
    return joined


def text_of(events: Iterable[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["kind"] == "token")


# Signs of life -----------------------------------------------------------------------------------


def mark_alive(message_ids: Iterable[UUID]) -> None:
    with redis_client().pipeline(transaction=False) as pipe:
        for message_id in message_ids:
            pipe.set(_alive_key(message_id), "1", ex=ALIVE_SECONDS)
        pipe.execute()


def mark_ended(message_id: UUID) -> None:
    redis_client().delete(_alive_key(message_id))


def settle(message: Message) -> Message:
    """The message, marked as interrupted when the process that wrote it is gone.

    What had been streamed is kept, and whoever waits for the answer elsewhere is told. Pages and the
    API call this before they show an answer.
    """
    if message.status != Message.Status.STREAMING:
        return message
    age = (timezone.now() - message.created_at).total_seconds()
    if age < START_SECONDS or redis_client().exists(_alive_key(message.pk)):
        return message
    events = join_tokens(written_so_far(message.pk))
    done = {"kind": "done", "outcome": "interrupted", "receipt": {}, "error": ""}
    with transaction.atomic():
        marked = Message.objects.filter(pk=message.pk, status=Message.Status.STREAMING).update(
            status=Message.Status.INTERRUPTED,
            text=text_of(events),
            events=[*events, done],
            finished_at=timezone.now(),
        )
        message.refresh_from_db()
        if marked:
            workspace = message.conversation.workspace
            emit(workspace, "message.completed", subject=message.pk, data=message_event(message))
            send_reply(message)
    if marked:
        append(message.pk, done)
    return message


def sweep_interrupted() -> int:
    """Settle every answer that nobody writes any more; the number of those found."""
    streaming = Message.objects.filter(status=Message.Status.STREAMING).order_by("created_at")
    settled = [settle(message) for message in streaming[:BATCH]]
    return sum(message.status == Message.Status.INTERRUPTED for message in settled)


# Who reads ---------------------------------------------------------------------------------------


def _readers_key(message_id: UUID) -> str:
    return f"praxis:readers:{message_id}"


def _left_key(message_id: UUID) -> str:
    return f"praxis:left:{message_id}"


def abandoned(message_ids: Sequence[UUID]) -> set[UUID]:
    """Answers that had readers, of whom the last left a while ago and did not come back."""
    if not message_ids:
        return set()
    marks: Any = redis_client().mget([_left_key(message_id) for message_id in message_ids])
    latest = time.time() - ABANDONED_SECONDS
    return {
        message_id
        for message_id, left_at in zip(message_ids, marks, strict=True)
        if left_at is not None and float(left_at) < latest
    }


@asynccontextmanager
async def _counted_reader(client: redis.asyncio.Redis, message_id: UUID) -> AsyncIterator[None]:
    readers, left = _readers_key(message_id), _left_key(message_id)
    pipe: Any
    async with client.pipeline(transaction=False) as pipe:
        await pipe.incr(readers).expire(readers, KEEP_SECONDS).delete(left).execute()
    try:
        yield
    finally:
        if await client.decr(readers) <= 0:
            await client.set(left, time.time(), ex=KEEP_SECONDS)


# Reading -----------------------------------------------------------------------------------------


def stored_events(message: Message, after: str) -> list[StreamItem]:
    """The answer from its row, for a stream that Redis no longer has.

    A reader that saw a part (`after`) gets only the last event and should fetch the message: the
    ids of the lost stream can't be matched with the stored events.
    """
    numbered = [(f"0-{number}", event) for number, event in enumerate(message.events, start=1)]
    if not numbered or numbered[-1][1]["kind"] != "done":
        done = {"kind": "done", "outcome": message.status, "receipt": message.receipt, "error": ""}
        numbered.append((f"0-{len(numbered) + 1}", done))
    return numbered if after == BEGINNING else numbered[-1:]


async def read_events(
    message_id: UUID,
    after: str = "",
    *,
    check: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[StreamItem | None]:
    """Events with their ids, each as soon as it is written, until `done`.

    Yields None when nothing came for a while, so that the caller may send a sign of life. `check`
    is awaited at least every `RECHECK_SECONDS` and ends the reading by raising.
    """
    key = stream_key(message_id)
    position = after or BEGINNING
    now = asyncio.get_running_loop().time
    checked_at = now()
    async with (
        reader_client() as client,
        _counted_reader(client, message_id),
    ):
        # An answer that has just been asked for begins within this; the row needs no look then.
        found: Any = await client.xread({key: position}, count=BATCH, block=FIRST_BLOCK_MS)
        looked_at_row = bool(found)
        while True:
            for entry_id, fields in found[0][1] if found else ():
                event = json.loads(fields["event"])
                position = entry_id
                yield entry_id, event
                if event["kind"] == "done":
                    return
            if check is not None and now() - checked_at >= RECHECK_SECONDS:
                await check()
                checked_at = now()
            if not found:
                if looked_at_row:
                    yield None
                message = await sync_to_async(_current)(message_id)
                looked_at_row = True
                if message is None:
                    return
                if message.status != Message.Status.STREAMING:
                    # `done` may have been written since; if not, the row is all there is.
                    found = await client.xread({key: position}, count=BATCH)
                    if not found:
                        for item in stored_events(message, position):
                            yield item
                        return
                    continue
            block = int(RECHECK_SECONDS * 1000)
            found = await client.xread({key: position}, count=BATCH, block=block)


def _current(message_id: UUID) -> Message | None:
    try:
        message = Message.objects.filter(pk=message_id).first()
        return settle(message) if message else None
    finally:
        # A reader may stay for minutes; it must not keep a connection of the pool meanwhile.
        connections.close_all()
