"""Asking for long work, and steering it. Every function takes part in the caller's transaction."""

import logging
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from praxis.accounts.models import User, Workspace
from praxis.jobs.models import Job, JobState
from praxis.jobs.registry import kind_named, tell_cancelled

logger = logging.getLogger(__name__)


class NotAllowedNow(Exception):
    """The job's state does not allow what was asked; the text is for the person who asked."""


def enqueue(
    *,
    kind: str,
    workspace: Workspace | None,
    payload: dict[str, Any],
    idempotency_key: str | None = None,
    created_by: User | None = None,
) -> Job:
    """Add a job; it starts within a second of the commit when a worker is idle.

    Raises `LookupError` for an unknown kind. With an `idempotency_key` the second call returns the
    job of the first; the key must not be used for another kind or workspace.
    """
    registered = kind_named(kind)
    fields: dict[str, Any] = {
        "kind": kind,
        "workspace": workspace,
        "queue": registered.queue,
        "max_attempts": registered.max_attempts,
        "payload": payload,
        "created_by": created_by,
    }
    if idempotency_key is None:
        job = Job.objects.create(**fields)
    else:
        job, created = Job.objects.get_or_create(idempotency_key=idempotency_key, defaults=fields)
        if not created:
            if (job.kind, job.workspace_id) != (kind, workspace.pk if workspace else None):
                raise ValueError(
                    f"The idempotency key {idempotency_key!r} belongs to a {job.kind!r} job "
                    f"of another kind or workspace, got kind {kind!r}."
                )
            return job
    wake(job)
    return job


def wake(job: Job) -> None:
    """Tell a worker, after the commit, that this job is waiting."""
    transaction.on_commit(partial(ring_worker, job.pk, job.queue))


def ring_worker(job_id: UUID, queue: str) -> None:
    """Send the doorbell now. A broker that is down costs nothing: the sweep rings again."""
    from praxis.jobs.tasks import ring  # it imports the code that runs jobs, which rings too

    try:
        ring.apply_async(args=[str(job_id)], queue=queue)
    except OperationalError as error:
        logger.warning("The broker did not take the ring for job %s: %s", job_id, error)


def request_cancel(job: Job) -> Job:
    """Cancel at once what waits; ask a running handler to stop at its next check."""
    with transaction.atomic():
        job = _locked(job)
        if job.is_finished:
            raise NotAllowedNow(_("This job has ended already; there is nothing to cancel."))
        if job.state == JobState.RUNNING:
            job.cancel_requested = True
        else:
            job.state = JobState.CANCELLED
            job.finished_at = timezone.now()
            tell_cancelled(job)
        job.save()
    return job


def pause(job: Job) -> Job:
    """Hold what waits; ask a running handler to stop at its next check and keep its cursor."""
    with transaction.atomic():
        job = _locked(job)
        if not job.can_be_paused:
            raise NotAllowedNow(_("Only a waiting or running job can be paused."))
        if job.state == JobState.RUNNING:
            job.pause_requested = True
        else:
            job.state = JobState.PAUSED
        job.save()
    return job


def resume(job: Job) -> Job:
    """Let a paused job go on from its cursor."""
    with transaction.atomic():
        job = _locked(job)
        if not job.can_be_resumed:
            raise NotAllowedNow(_("Only a paused job can go on."))
        if job.state == JobState.RUNNING:
            job.pause_requested = False
        else:
            _queue_again(job)
        job.save()
    return job


def retry(job: Job) -> Job:
    """Give a failed, cancelled or given-up job all its attempts again; it goes on from its cursor."""
    with transaction.atomic():
        job = _locked(job)
        if not job.can_be_retried:
            raise NotAllowedNow(_("Only a failed or cancelled job can be tried again."))
        job.attempt = 0
        job.message, job.message_values = "", {}
        job.finished_at = None
        _queue_again(job)
        job.save()
    return job


def _queue_again(job: Job) -> None:
    job.state = JobState.QUEUED
    job.cancel_requested = job.pause_requested = False
    job.next_attempt_at = job.rung_at = timezone.now()
    wake(job)


def _locked(job: Job) -> Job:
    return Job.objects.select_for_update(of=("self",)).select_related("workspace").get(pk=job.pk)
