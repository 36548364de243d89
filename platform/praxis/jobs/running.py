"""Doing a job: claim the lease, keep it alive, and write only while it is held."""

import contextlib
import logging
import mmap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import DateTimeField, ExpressionWrapper, F
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_noop as _

from praxis.jobs.models import Job, JobMetric, JobState
from praxis.jobs.registry import JobKind, kind_named
from praxis.jobs.services import wake
from praxis.sentences import Sentence, sentence_of

logger = logging.getLogger(__name__)

HEARTBEATS_PER_LEASE = 6
CHECK_SECONDS = 1.0
FIRST_RETRY_SECONDS = 10
NOTHING = Sentence("")
LONGEST_RETRY_SECONDS = 600

# One byte shared with the pool processes that are forked from this one: the worker is stopping.
_worker_stopping = mmap.mmap(-1, 1)


class PermanentFailure(Exception):
    """Raised by a handler: trying again is pointless. The sentence (a `Sentence`, or a text without
    values) is shown to people."""


class Retry(Exception):
    """Raised by a handler: try again later. The sentence is shown to people."""

    def __init__(
        self, sentence: Sentence | str, after_seconds: float = FIRST_RETRY_SECONDS
    ) -> None:
        super().__init__(sentence)
        self.after_seconds = after_seconds


class Interrupted(Exception):
    """What `JobRun.check` raises: the handler cleans up and lets it through."""


class JobCancelled(Interrupted):
    """A person asked to cancel."""


class JobPaused(Interrupted):
    """A person asked to pause."""


class WorkerStopping(Interrupted):
    """The worker is shutting down; another goes on from the cursor."""


class LeaseLost(Interrupted):
    """Someone else owns the job now: nothing may be written any more."""


def note_worker_stopping() -> None:
    """Let the handlers running in this worker's pool stop at their next check."""
    _worker_stopping[0] = 1


def worker_is_stopping() -> bool:
    return _worker_stopping[0] == 1


@dataclass
class JobRun:
    """One attempt at a job, as its handler sees it."""

    job: Job
    kind: JobKind
    token: int
    _lost: threading.Event = field(default_factory=threading.Event)
    _checked_at: float = 0.0

    @property
    def payload(self) -> dict[str, Any]:
        return self.job.payload

    @property
    def cursor(self) -> dict[str, Any]:
        """Where an earlier attempt stopped; empty at the first."""
        return self.job.cursor

    def check(self) -> None:
        """Call it often, between two steps: raises an `Interrupted` when the handler must stop."""
        if self._lost.is_set():
            raise LeaseLost(self.job.pk)
        if worker_is_stopping():
            raise WorkerStopping(self.job.pk)
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return
        row = self._mine().values_list("cancel_requested", "pause_requested").first()
        self._checked_at = time.monotonic()
        if row is None:
            self._lost.set()
            raise LeaseLost(self.job.pk)
        cancel_requested, pause_requested = row
        if cancel_requested:
            raise JobCancelled(self.job.pk)
        if pause_requested:
            raise JobPaused(self.job.pk)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Rows written in this block are stored only if the job is still ours, or `LeaseLost`.

        Saving the cursor in the same block makes the step happen exactly once.
        """
        with transaction.atomic():
            with connection.cursor() as cursor:
                # A process that is stopped while it holds the row must not hold it for ever.
                milliseconds = int(self.kind.lease_seconds * 1000)
                cursor.execute(
                    "SELECT set_config('idle_in_transaction_session_timeout', %s, true)",
                    [str(milliseconds)],
                )
            if not self._mine().select_for_update().exists():
                self._lost.set()
                raise LeaseLost(self.job.pk)
            yield

    def save_cursor(self, cursor: dict[str, Any]) -> None:
        """Store where another attempt would go on."""
        self._write(cursor=cursor)
        self.job.cursor = cursor

    def progress(
        self, done: int, total: int | None = None, *, unit: str = "", stage: str = ""
    ) -> None:
        """Show how far it is. A new stage (or unit) starts a new measurement of the speed."""
        job = self.job
        fields: dict[str, Any] = {"done": done, "total": total, "progress_at": Now()}
        new_stage = bool(stage and stage != job.stage) or bool(unit and unit != job.unit)
        if stage:
            fields["stage"] = job.stage = stage
        if unit:
            fields["unit"] = job.unit = unit
        if new_stage or job.measured_since is None:
            fields |= {"measured_since": Now(), "measured_from": done}
        self._write(**fields)
        if "measured_since" in fields:
            job.refresh_from_db(fields=["measured_since"])
        job.done, job.total = done, total

    def metric(self, step: int, **values: float) -> None:
        """Store what was measured at a step; the same step again replaces it."""
        with self.transaction():
            JobMetric.objects.bulk_create(
                [JobMetric(job=self.job, step=step, values=values)],
                update_conflicts=True,
                unique_fields=["job", "step"],
                update_fields=["values", "at"],
            )

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, lease_token=self.token, state=JobState.RUNNING)

    def _write(self, **fields: Any) -> None:
        if not self._mine().update(**fields):
            self._lost.set()
            raise LeaseLost(self.job.pk)

    def _extend_lease(self) -> bool:
        return bool(
            self._mine().update(heartbeat_at=Now(), lease_until=_from_now(self.kind.lease_seconds))
        )

    def _finish(self, state: JobState, message: Sentence = NOTHING) -> None:
        self._write(
            state=state,
            message=message.text,
            message_values=message.stored_values(),
            lease_until=None,
            finished_at=Now(),
            cancel_requested=False,
            pause_requested=False,
        )

    def _put_back(
        self,
        *,
        state: JobState = JobState.QUEUED,
        message: Sentence = NOTHING,
        seconds: float,
        counted: bool,
    ) -> None:
        """Give the job up without an end; it goes on from its cursor."""
        self._write(
            state=state,
            message=message.text,
            message_values=message.stored_values(),
            lease_until=None,
            pause_requested=False,
            next_attempt_at=_from_now(seconds),
            rung_at=Now(),
            attempt=self.job.attempt if counted else self.job.attempt - 1,
        )


def claim(job_id: UUID) -> JobRun | None:
    """Take the lease of a job that is due; None when it isn't, or another worker has it."""
    with transaction.atomic():
        job = (
            Job.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(pk=job_id, state=JobState.QUEUED, next_attempt_at__lte=Now())
            .first()
        )
        if job is None:
            return None
        kind = kind_named(job.kind)
        Job.objects.filter(pk=job.pk).update(
            state=JobState.RUNNING,
            attempt=F("attempt") + 1,
            lease_token=F("lease_token") + 1,
            lease_until=_from_now(kind.lease_seconds),
            heartbeat_at=Now(),
            started_at=Coalesce("started_at", Now()),
            measured_since=None,
            progress_at=None,
        )
        job.refresh_from_db()
    return JobRun(job=job, kind=kind, token=job.lease_token)


def run_job(job_id: UUID) -> bool:
    """Claim and do a job; False when there was nothing to claim."""
    if worker_is_stopping():
        return False
    run = claim(job_id)
    if run is None:
        return False
    logger.info("Job %s %s starts, attempt %d", run.job.kind, run.job.pk, run.job.attempt)
    try:
        with _heartbeat(run):
            _do(run)
    except LeaseLost:
        logger.warning("Job %s %s belongs to another worker now", run.job.kind, run.job.pk)
    except (OperationalError, InterfaceError):
        # The database went away; the lease runs out and the sweep puts the job back.
        logger.exception("Job %s %s could not store its outcome", run.job.kind, run.job.pk)
        connection.close()
    return True


def _do(run: JobRun) -> None:
    job = run.job
    last_attempt = job.attempt >= job.max_attempts
    try:
        run.kind.handler(run)
    except JobCancelled:
        run._finish(JobState.CANCELLED)
    except JobPaused:
        run._put_back(state=JobState.PAUSED, seconds=0, counted=False)
    except WorkerStopping:
        run._put_back(seconds=0, counted=False)
        wake(job)
    except LeaseLost:
        raise
    except PermanentFailure as failure:
        run._finish(JobState.FAILED, sentence_of(failure))
    except Retry as later:
        if last_attempt:
            run._finish(JobState.DEAD, sentence_of(later))
        else:
            run._put_back(message=sentence_of(later), seconds=later.after_seconds, counted=True)
    except Exception as error:
        logger.exception("Job %s %s failed, attempt %d", job.kind, job.pk, job.attempt)
        if isinstance(error, (OperationalError, InterfaceError)):
            connection.close()
        name = type(error).__name__
        if last_attempt:
            run._finish(
                JobState.DEAD,
                Sentence(
                    _(
                        "It failed %(count)d times, last with an unexpected error (%(name)s). "
                        "The worker's log has the details."
                    ),
                    {"count": job.attempt, "name": name},
                ),
            )
        else:
            run._put_back(
                message=Sentence(
                    _("An unexpected error (%(name)s); it is tried again."), {"name": name}
                ),
                seconds=min(FIRST_RETRY_SECONDS * 2 ** (job.attempt - 1), LONGEST_RETRY_SECONDS),
                counted=True,
            )
    else:
        run._finish(JobState.SUCCEEDED)
        logger.info("Job %s %s is done", job.kind, job.pk)


@contextlib.contextmanager
def _heartbeat(run: JobRun) -> Iterator[None]:
    """Keep the lease while the handler works, from a thread with its own connection."""
    stop = threading.Event()
    interval = run.kind.lease_seconds / HEARTBEATS_PER_LEASE

    def beat() -> None:
        try:
            while not stop.wait(interval):
                try:
                    if not run._extend_lease():
                        run._lost.set()
                        return
                except (OperationalError, InterfaceError) as error:
                    logger.warning("No heartbeat for job %s: %s", run.job.pk, error)
                    connection.close()
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{run.job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _from_now(seconds: float) -> ExpressionWrapper:
    """The database's clock decides: workers on several hosts need not agree on the time."""
    return ExpressionWrapper(Now() + timedelta(seconds=seconds), output_field=DateTimeField())
