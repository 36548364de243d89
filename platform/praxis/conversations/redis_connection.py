"""The Redis clients of the web process: one shared by its threads, one for each async reader."""

from functools import lru_cache

import redis
import redis.asyncio
from django.conf import settings


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    """One client, with its connection pool, per server; safe to share between threads."""
    return redis.Redis.from_url(url, decode_responses=True)


def redis_client() -> redis.Redis:
    return _client(settings.REDIS_URL)


def reader_client() -> redis.asyncio.Redis:
    """A client of its own for one async reader, who blocks its connection and closes it.

    It doesn't tell the server its library's version, because each connection would look that up in
    the installed packages, which takes longer than to connect.
    """
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, decode_responses=True, driver_info=None)
