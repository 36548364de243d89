"""Which function does which kind of job. An app's handlers live in its `job_kinds.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from praxis.jobs.models import Job
    from praxis.jobs.running import JobRun

HandlerFunction = Callable[["JobRun"], None]
EndedFunction = Callable[["Job"], None]

QUEUES = ("interactive", "ingest", "tuning")


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """How one kind of job is done."""

    name: str
    handler: HandlerFunction
    queue: str
    max_attempts: int
    lease_seconds: float
    """How long a silent owner keeps the job; the heartbeat is six times as frequent."""
    given_up: EndedFunction | None
    """Told, in the sweep's transaction, of a job whose workers died too often to say so themselves.
    The job's `message` has the cause."""
    cancelled: EndedFunction | None
    """Told, in the same transaction, of a job that was cancelled while no handler ran: it waited, or
    its worker was gone. A running handler gets `JobCancelled` instead."""


_kinds: dict[str, JobKind] = {}


def job_kind(
    name: str,
    *,
    queue: str,
    max_attempts: int = 3,
    lease_seconds: float = 60,
    given_up: EndedFunction | None = None,
    cancelled: EndedFunction | None = None,
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Register the decorated function as the handler of the jobs of that name.

    The handler may be run again from the start or from its cursor, so its effects are idempotent
    or written inside `run.transaction()` together with the cursor.
    """
    if queue not in QUEUES:
        raise ImproperlyConfigured(
            f"The queue of the job kind {name!r} must be one of {', '.join(QUEUES)}, got {queue!r}."
        )

    def register(handler: HandlerFunction) -> HandlerFunction:
        known = _kinds.get(name)
        if known and _place(known.handler) != _place(handler):
            raise ImproperlyConfigured(
                f"The job kind {name!r} is registered twice: by {_place(known.handler)} and by "
                f"{_place(handler)}. Give one of them another name."
            )
        _kinds[name] = JobKind(
            name=name,
            handler=handler,
            queue=queue,
            max_attempts=max_attempts,
            lease_seconds=lease_seconds,
            given_up=given_up,
            cancelled=cancelled,
        )
        return handler

    return register


def tell_cancelled(job: "Job") -> None:
    kind = _kinds.get(job.kind)
    if kind is not None and kind.cancelled is not None:
        kind.cancelled(job)


def kind_named(name: str) -> JobKind:
    try:
        return _kinds[name]
    except KeyError:
        raise LookupError(
            f"No job kind {name!r}; registered are {', '.join(sorted(_kinds)) or 'none'}. "
            "Handlers are found in the `job_kinds.py` of installed apps."
        ) from None


def _place(handler: HandlerFunction) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"
