"""What happens in conversations, told at once to the pages that are open: Redis streams.

One short stream per conversation for the person whose conversation it is, and one per workspace
for its agents. An item says that something changed, never what: the page asks for it then, so the
rights are checked where they always are, and a lost item costs a late page and nothing else.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import redis.asyncio
from django.db import transaction

from praxis.conversations.redis_connection import reader_client, redis_client
from praxis.conversations.streams import StreamItem

logger = logging.getLogger(__name__)

KEEP_SECONDS = 3600
KEEP_ITEMS = 200
RECHECK_SECONDS = 4.0
"""How often a reader's rights are checked, and a sign of life is sent."""


def person_key(conversation_id: UUID) -> str:
    return f"praxis:live:conversation:{conversation_id}"


def agents_key(workspace_id: UUID) -> str:
    return f"praxis:live:workspace:{workspace_id}"


def tell_person(conversation_id: UUID, kind: str, **data: str) -> None:
    """After the commit, to the open pages of the person whose conversation it is."""
    _after_commit(person_key(conversation_id), {"kind": kind, **data})


def tell_agents(workspace_id: UUID, conversation_id: UUID | None, kind: str, **data: str) -> None:
    """After the commit, to the open inboxes of the workspace."""
    item = {"kind": kind, "conversation": str(conversation_id or ""), **data}
    _after_commit(agents_key(workspace_id), item)


def _after_commit(key: str, item: dict[str, str]) -> None:
    transaction.on_commit(lambda: _append(key, item))


def _append(key: str, item: dict[str, str]) -> None:
    try:
        with redis_client().pipeline(transaction=False) as pipe:
            pipe.xadd(key, {"event": json.dumps(item)}, maxlen=KEEP_ITEMS, approximate=True)
            pipe.expire(key, KEEP_SECONDS)
            pipe.execute()
    except redis.RedisError as error:
        logger.warning("Redis refused the news %s: %s", item["kind"], error)


async def follow(
    key: str, after: str, *, check: Callable[[], Awaitable[None]]
) -> AsyncIterator[StreamItem | None]:
    """Items after the id `after` (empty: from now on), each as it comes; None as a sign of life.

    `check` is awaited at the start and every `RECHECK_SECONDS`, and ends the reading by raising.
    """
    position = after or "$"
    now = asyncio.get_running_loop().time
    async with reader_client() as client:
        if position == "$":
            # `$` would mean another moment in every XREAD, and what comes in between be lost.
            newest: Any = await client.xrevrange(key, count=1)
            position = newest[0][0] if newest else "0-0"
        await check()
        checked_at = now()
        while True:
            block = int(RECHECK_SECONDS * 1000)
            found: Any = await client.xread({key: position}, count=KEEP_ITEMS, block=block)
            for entry_id, fields in found[0][1] if found else ():
                position = entry_id
                yield entry_id, json.loads(fields["event"])
            if not found:
                yield None
            if now() - checked_at >= RECHECK_SECONDS:
                await check()
                checked_at = now()


def is_well_formed(entry_id: str) -> bool:
    """Whether a `Last-Event-ID` is an id of Redis; anything else would be an error of XREAD."""
    time, _dash, number = entry_id.partition("-")
    with suppress(ValueError):
        return int(time) >= 0 and int(number) >= 0
    return False
