"""The one door through which the platform tells the outside world that something happened."""

from typing import Any

from praxis.accounts.models import Workspace


def emit(workspace: Workspace, name: str, *, subject: object, data: dict[str, Any]) -> None:
    """Record an event for the workspace's webhooks, in the caller's transaction."""
