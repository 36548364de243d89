"""What makes the promise hold: lost leases return to the queue, and lost rings are rung again."""

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_noop as _

from praxis.celery import app
from praxis.jobs.models import Job, JobState, Queue
from praxis.jobs.registry import kind_named, tell_cancelled
from praxis.jobs.services import ring_worker, wake

logger = logging.getLogger(__name__)

MOST_RINGS_AT_ONCE = 500


def sweep(*, ring_again_after_seconds: float = 30) -> None:
    """Run every few seconds by beat; any number of sweeps may run at once."""
    release_expired_leases()
    ring_again(after_seconds=ring_again_after_seconds)


def release_expired_leases() -> int:
    """Put the jobs of silent owners back, or end those that have used up their attempts."""
    with transaction.atomic():
        expired = list(
            Job.objects.select_for_update(of=("self",), skip_locked=True).filter(
                state=JobState.RUNNING, lease_until__lt=Now()
            )
        )
        for job in expired:
            logger.warning("Job %s %s lost its worker in attempt %d", job.kind, job.pk, job.attempt)
            # The token grows here too: the old owner is fenced off before a new one exists.
            row = Job.objects.filter(pk=job.pk)
            changes: dict[str, Any] = {
                "lease_until": None,
                "lease_token": F("lease_token") + 1,
            }
            if job.cancel_requested:
                row.update(
                    **changes, state=JobState.CANCELLED, finished_at=Now(), cancel_requested=False
                )
                tell_cancelled(job)
            elif job.attempt >= job.max_attempts:
                job.message = _(
                    "The worker stopped unexpectedly %(count)d times while doing this, "
                    "for example because memory ran out."
                )
                job.message_values = {"count": job.attempt}
                row.update(
                    **changes,
                    state=JobState.DEAD,
                    finished_at=Now(),
                    pause_requested=False,
                    message=job.message,
                    message_values=job.message_values,
                )
                _tell_given_up(job)
            elif job.pause_requested:
                row.update(**changes, state=JobState.PAUSED, pause_requested=False)
            else:
                row.update(**changes, state=JobState.QUEUED, next_attempt_at=Now(), rung_at=Now())
                wake(job)
    return len(expired)


def _tell_given_up(job: Job) -> None:
    try:
        kind = kind_named(job.kind)
    except LookupError:  # of an app that is no longer installed; the other jobs must go on
        return
    if kind.given_up is not None:
        kind.given_up(job)


def ring_again(*, after_seconds: float) -> int:
    """Ring for due jobs whose ring is old, or came before they were due.

    Not more rings than jobs: while the workers are busy, the rings in the broker still count.
    """
    rung = 0
    for queue in Queue:
        due = Job.objects.filter(queue=queue, state=JobState.QUEUED, next_attempt_at__lte=Now())
        unheard = due.filter(
            Q(rung_at__lt=Now() - timedelta(seconds=after_seconds))
            | Q(rung_at__lt=F("next_attempt_at"))
        )
        if not unheard.exists():
            continue
        missing = due.count() - waiting_rings(queue)
        jobs = unheard.order_by("next_attempt_at", "pk")[: max(0, min(missing, MOST_RINGS_AT_ONCE))]
        ids = list(jobs.values_list("pk", flat=True))
        Job.objects.filter(pk__in=ids, state=JobState.QUEUED).update(rung_at=Now())
        for job_id in ids:
            ring_worker(job_id, queue)
        rung += len(ids)
    return rung


def waiting_rings(queue: str) -> int:
    """How many messages wait in the broker's queue."""
    with app.connection_or_acquire() as broker:
        return int(broker.default_channel.client.llen(queue))
