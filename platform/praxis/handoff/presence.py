"""Which agents have their inbox open, in Redis: a set per workspace, scored by the last sign."""

import time
from typing import Any
from uuid import UUID

from praxis.conversations.redis_connection import redis_client

PRESENT_SECONDS = 15
"""After the last sign; an open inbox gives one every `live.RECHECK_SECONDS`."""


def _key(workspace_id: UUID) -> str:
    return f"praxis:present:{workspace_id}"


def mark_present(workspace_id: UUID, user_id: int) -> None:
    with redis_client().pipeline(transaction=False) as pipe:
        pipe.zadd(_key(workspace_id), {str(user_id): time.time()})
        pipe.zremrangebyscore(_key(workspace_id), 0, time.time() - PRESENT_SECONDS)
        pipe.expire(_key(workspace_id), PRESENT_SECONDS)
        pipe.execute()


def present_users(workspace_id: UUID) -> set[int]:
    since = time.time() - PRESENT_SECONDS
    found: Any = redis_client().zrangebyscore(_key(workspace_id), since, "+inf")
    return {int(user_id) for user_id in found}
