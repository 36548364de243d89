"""Giving database connections back to the pool from threads that outlive a request."""

from django.db import connections


def release_connections() -> None:
    """This thread's connections, except inside a transaction."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()
