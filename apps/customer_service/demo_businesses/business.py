"""What the demo businesses have in common; all state is in memory."""

import datetime
import threading
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

Endpoint = Callable[[Request, dict[str, Any]], JSONResponse]


class Business:
    """What one business knows during one run. `reset` brings the first day back."""

    name: str

    def __init__(self, today: datetime.date | None = None) -> None:
        self.fixed_today = today
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self.answers: dict[str, tuple[str, int, dict[str, Any]]] = {}
        """By idempotency key: the request's fingerprint and what was answered."""
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        """Every change that was done: method, path, what was sent."""
        self.open()

    def open(self) -> None:
        """Set up what the business has on its first day."""
        raise NotImplementedError

    def endpoints(self) -> Sequence[tuple[str, str, Endpoint]]:
        """Method, path and what answers."""
        raise NotImplementedError

    @property
    def today(self) -> datetime.date:
        return self.fixed_today or datetime.datetime.now(tz=datetime.UTC).date()


def refuse(status: int, code: str, message: str, **more: Any) -> JSONResponse:
    return JSONResponse({"code": code, "message": message, **more}, status_code=status)


def day_of(value: object) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        return None
