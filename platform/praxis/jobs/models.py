"""Long work as rows: a job outlives the process that does it.

The row decides everything. Whoever runs the job holds a lease and a fencing token; a Celery message
only rings (docs/reference/jobs.md).
"""

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace
from praxis.sentences import Sentence, with_stored_values


class Queue(models.TextChoices):
    """Which workers do it: quick work, documents, or fine-tuning."""

    INTERACTIVE = "interactive", _("Interactive")
    INGEST = "ingest", _("Ingestion")
    TUNING = "tuning", _("Fine-tuning")


class JobState(models.TextChoices):
    """`failed` is the handler's verdict; `dead` means the attempts are used up."""

    QUEUED = "queued", _("Waiting")
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    SUCCEEDED = "succeeded", _("Done")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    DEAD = "dead", _("Given up")


TERMINAL_STATES = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.DEAD)


class Job(models.Model):
    """One piece of long work. Change it only through `praxis.jobs.services` and `JobRun`."""

    State = JobState

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(
        Workspace, models.CASCADE, related_name="jobs", null=True, blank=True
    )
    kind = models.CharField(max_length=80)
    queue = models.CharField(max_length=12, choices=Queue.choices)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    payload = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    """What to work on: ids and options, never text of a person."""
    idempotency_key = models.CharField(max_length=200, unique=True, null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )

    attempt = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    rung_at = models.DateTimeField(default=timezone.now)
    """When a worker was last told of it; the sweep tells them again."""
    lease_token = models.BigIntegerField(default=0)
    """Grows with every claim. A write that names an older token changes nothing."""
    lease_until = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)

    cursor = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder)
    """Where to go on after an interruption; the handler's own."""
    stage = models.CharField(max_length=120, blank=True)
    """English, marked with `gettext_noop` by the handler; translated where it is shown."""
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True, blank=True)
    unit = models.CharField(max_length=30, blank=True)
    measured_since = models.DateTimeField(null=True, blank=True)
    measured_from = models.BigIntegerField(default=0)
    progress_at = models.DateTimeField(null=True, blank=True)
    message = models.TextField(blank=True)
    """The cause, in a sentence, when it failed, was given up or waits for another attempt. English,
    and with places for `message_values`; `reason` says it in the reader's language."""
    message_values = models.JSONField(default=dict, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_known_state"),
            models.CheckConstraint(condition=Q(queue__in=Queue.values), name="job_known_queue"),
            models.CheckConstraint(
                condition=Q(state=JobState.RUNNING, lease_until__isnull=False)
                | (~Q(state=JobState.RUNNING) & Q(lease_until__isnull=True)),
                name="job_lease_while_running",
            ),
            models.CheckConstraint(
                condition=Q(state__in=TERMINAL_STATES, finished_at__isnull=False)
                | (~Q(state__in=TERMINAL_STATES) & Q(finished_at__isnull=True)),
                name="job_finished_when_terminal",
            ),
            models.CheckConstraint(
                condition=Q(max_attempts__gte=1, attempt__lte=F("max_attempts")),
                name="job_attempts_in_bounds",
            ),
        ]
        indexes = [
            # The sweep looks for expired leases and for due rows that nobody has taken.
            models.Index(
                fields=["lease_until"], condition=Q(state=JobState.RUNNING), name="job_leases"
            ),
            models.Index(
                fields=["queue", "next_attempt_at"],
                condition=Q(state=JobState.QUEUED),
                name="job_due",
            ),
            # A workspace's lists of jobs, newest first.
            models.Index(fields=["workspace", "kind", "-created_at"], name="job_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def is_finished(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def reason(self) -> Sentence:
        return with_stored_values(self.message, self.message_values)

    @property
    def tone(self) -> str:
        """How its state is coloured: "good", "bad", "warn", "info" or "" for neither."""
        return {
            JobState.RUNNING: "info",
            JobState.PAUSED: "warn",
            JobState.SUCCEEDED: "good",
            JobState.FAILED: "bad",
            JobState.DEAD: "bad",
        }.get(JobState(self.state), "")

    @property
    def percent(self) -> int | None:
        """0 to 100, or None while the total is unknown."""
        if not self.total:
            return None
        return max(0, min(100, self.done * 100 // self.total))

    @property
    def speed(self) -> float | None:
        """Units per second in this stage of this attempt; None until two measurements exist."""
        if self.measured_since is None or self.progress_at is None:
            return None
        seconds = (self.progress_at - self.measured_since).total_seconds()
        gained = self.done - self.measured_from
        return gained / seconds if seconds > 0 and gained > 0 else None

    @property
    def time_left(self) -> timedelta | None:
        """How long this stage will still take at its speed so far."""
        speed = self.speed
        if self.state != JobState.RUNNING or self.total is None or not speed:
            return None
        return timedelta(seconds=round(max(0, self.total - self.done) / speed))

    def to_dict(self) -> dict[str, Any]:
        """How far it is, as REST tells it; the same as on the pages."""
        return {
            "id": str(self.pk),
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "percent": self.percent,
            "per_second": round(self.speed, 2) if self.speed else None,
            "seconds_left": round(self.time_left.total_seconds()) if self.time_left else None,
            "message": str(self.reason),
            "attempt": self.attempt,
            "actions": [
                name
                for name, allowed in (
                    ("pause", self.can_be_paused),
                    ("resume", self.can_be_resumed),
                    ("cancel", self.can_be_cancelled),
                    ("retry", self.can_be_retried),
                )
                if allowed
            ],
        }

    @property
    def can_be_cancelled(self) -> bool:
        return not self.is_finished and not self.cancel_requested

    @property
    def can_be_resumed(self) -> bool:
        return self.state == JobState.PAUSED or (
            self.state == JobState.RUNNING and self.pause_requested
        )

    @property
    def can_be_retried(self) -> bool:
        return self.state in (JobState.FAILED, JobState.CANCELLED, JobState.DEAD)

    @property
    def can_be_paused(self) -> bool:
        return (
            self.state in (JobState.QUEUED, JobState.RUNNING)
            and not self.pause_requested
            and not self.cancel_requested
        )


class JobMetric(models.Model):
    """What a job measured at one of its steps, for the charts (`{"loss": 1.2}`)."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="metrics")
    step = models.BigIntegerField()
    values = models.JSONField(encoder=DjangoJSONEncoder)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # A step that is done again after an interruption replaces its measurement.
            models.UniqueConstraint(fields=["job", "step"], name="job_metric_once_per_step"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} step {self.step}"
