"""The shared synchronous Redis client of the web process."""

from functools import lru_cache

import redis
from django.conf import settings


@lru_cache(maxsize=4)
def _client(url: str) -> redis.Redis:
    """One client, with its connection pool, per server; safe to share between threads."""
    return redis.Redis.from_url(url, decode_responses=True)


def redis_client() -> redis.Redis:
    return _client(settings.REDIS_URL)
