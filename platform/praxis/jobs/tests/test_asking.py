"""Adding a job, and steering one that waits."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kombu.pools
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from praxis.accounts.models import User, Workspace
from praxis.celery import app
from praxis.jobs import services
from praxis.jobs.models import Job, JobState
from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun
from praxis.jobs.tests import sample_kinds  # noqa: F401  (registers the kinds)


def enqueue(workspace: Workspace, **fields: Any) -> Job:
    return services.enqueue(
        **{"kind": "test.nothing", "workspace": workspace, "payload": {}, **fields}
    )


def test_a_new_job_waits_in_the_queue_of_its_kind(workspace: Workspace, owner: User) -> None:
    job = enqueue(workspace, kind="test.steps", payload={"steps": 3}, created_by=owner)
    job.refresh_from_db()
    assert (job.state, job.queue, job.attempt, job.max_attempts) == ("queued", "ingest", 0, 5)
    assert (job.payload, job.created_by, job.is_finished) == ({"steps": 3}, owner, False)


def test_an_unknown_kind_is_refused_with_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(LookupError, match=r"No job kind 'test\.nosuch'.*test\.nothing"):
        enqueue(workspace, kind="test.nosuch")


def test_the_same_idempotency_key_gives_the_same_job(
    workspace: Workspace, other_workspace: Workspace
) -> None:
    first = enqueue(workspace, idempotency_key="document 7")
    assert enqueue(workspace, idempotency_key="document 7") == first
    with pytest.raises(ValueError, match="document 7"):
        enqueue(other_workspace, idempotency_key="document 7")
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_moment_gives_one_job(workspace: Workspace) -> None:
    def ask(number: int) -> Any:
        try:
            return enqueue(workspace, idempotency_key="document 7").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(ask, range(8)))
    assert len(ids) == Job.objects.count() == 1


def test_the_doorbell_rings_only_after_the_commit(
    workspace: Workspace, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        enqueue(workspace)
    assert len(callbacks) == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_does_not_fail_the_request(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = kombu.Connection("redis+socket:///nonexistent/valkey.sock")
    monkeypatch.setattr(app.amqp, "_producer_pool", kombu.pools.producers[nowhere])
    began = timezone.now()
    job = enqueue(workspace)
    assert (timezone.now() - began).total_seconds() < 3
    assert f"did not take the ring for job {job.pk}" in caplog.text
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_a_waiting_job_is_cancelled_at_once_and_can_be_tried_again(workspace: Workspace) -> None:
    job = services.request_cancel(enqueue(workspace))
    assert job.state == JobState.CANCELLED and job.finished_at
    with pytest.raises(services.NotAllowedNow):
        services.request_cancel(job)
    job = services.retry(job)
    assert (job.state, job.finished_at, job.attempt) == (JobState.QUEUED, None, 0)
    with pytest.raises(services.NotAllowedNow):
        services.retry(job)


def test_a_waiting_job_is_paused_and_goes_on(workspace: Workspace) -> None:
    job = services.pause(enqueue(workspace))
    assert job.state == JobState.PAUSED
    with pytest.raises(services.NotAllowedNow):
        services.pause(job)
    assert services.resume(job).state == JobState.QUEUED
    with pytest.raises(services.NotAllowedNow):
        services.resume(job)


@pytest.mark.parametrize(
    "broken",
    [
        {"state": "unheard-of"},
        {"queue": "unheard-of"},
        {"state": JobState.RUNNING},
        {"state": JobState.SUCCEEDED},
        {"finished_at": timezone.now()},
        {"attempt": 9},
    ],
)
def test_the_database_refuses_impossible_rows(workspace: Workspace, broken: dict[str, Any]) -> None:
    job = enqueue(workspace)
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**broken)


def test_registering_a_kind_twice_or_on_an_unknown_queue_stops_the_start() -> None:
    def other(run: JobRun) -> None:
        raise AssertionError("never run")

    with pytest.raises(ImproperlyConfigured, match=r"'test\.nothing' is registered twice"):
        job_kind("test.nothing", queue="interactive")(other)
    with pytest.raises(ImproperlyConfigured, match="must be one of interactive, ingest, tuning"):
        job_kind("test.other", queue="fast")
