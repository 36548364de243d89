"""How often something may happen, counted in the cache over fixed windows."""

from django.core.cache import cache


def allowed(name: str, *, limit: int, seconds: int) -> bool:
    """Count one more; False from the `limit + 1`st on until the window of `seconds` ends."""
    key = f"limit:{name}"
    cache.add(key, 0, timeout=seconds)
    try:
        return int(cache.incr(key)) <= limit
    except ValueError:  # the window ended between the two commands
        return True
