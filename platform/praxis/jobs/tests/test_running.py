"""One attempt: every way it can end, and who may write."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django.utils.translation import override

from praxis.accounts.models import Workspace
from praxis.jobs import running, services
from praxis.jobs.models import Job, JobMetric, JobState
from praxis.jobs.running import JobRun, LeaseLost, claim, run_job
from praxis.jobs.sweeping import release_expired_leases, ring_again, waiting_rings
from praxis.jobs.tests import sample_kinds

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def enqueue(workspace: Workspace) -> Callable[..., Job]:
    def make(kind: str = "test.steps", **payload: Any) -> Job:
        return services.enqueue(kind=kind, workspace=workspace, payload=payload)

    return make


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def due_now(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def test_it_does_every_step_and_shows_progress(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=3)
    assert run_job(job.pk)
    job = fresh(job)
    assert (job.state, job.attempt, job.message) == (JobState.SUCCEEDED, 1, "")
    assert (job.done, job.total, job.unit, job.stage, job.percent) == (
        3,
        3,
        "steps",
        "Stepping",
        100,
    )
    assert list(job.metrics.order_by("step").values_list("step", flat=True)) == [0, 1, 2]
    assert job.started_at and job.finished_at and job.lease_until is None


def test_a_second_ring_for_the_same_job_does_nothing(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1)
    assert run_job(job.pk)
    assert not run_job(job.pk)
    assert job.metrics.count() == 1


def test_of_many_claims_at_once_one_wins(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1)
    won: list[JobRun | None] = []
    barrier = threading.Barrier(6)

    def compete() -> None:
        barrier.wait()
        won.append(claim(job.pk))

    for thread in [in_thread(compete) for _ in range(6)]:
        thread.join()
    assert len(won) == 6
    assert [run.token for run in won if run] == [1]


def test_a_permanent_failure_keeps_its_sentence(enqueue: Callable[..., Job]) -> None:
    job = enqueue("test.refuse")
    run_job(job.pk)
    job = fresh(job)
    assert job.state == JobState.FAILED
    assert job.message == "The document is encrypted. Upload it without a password."


def test_the_reason_is_told_in_the_language_of_who_reads_it(enqueue: Callable[..., Job]) -> None:
    job = enqueue("test.broken")
    with override("zh-hans"):  # whatever the worker speaks
        run_job(job.pk)
        assert str(fresh(job).reason) == "发生意外错误（ZeroDivisionError），将重试。"
        assert fresh(job).to_dict()["message"] == str(fresh(job).reason)
    assert str(fresh(job).reason) == "An unexpected error (ZeroDivisionError); it is tried again."
    Job.objects.update(state=JobState.DEAD, finished_at=timezone.now())
    assert str(services.retry(fresh(job)).reason) == ""


def test_retry_waits_and_gives_up_after_the_last_attempt(enqueue: Callable[..., Job]) -> None:
    job = enqueue("test.later")
    run_job(job.pk)
    job = fresh(job)
    assert (job.state, job.attempt) == (JobState.QUEUED, 1)
    wait = (job.next_attempt_at - timezone.now()).total_seconds()
    assert 115 < wait <= 120
    assert not run_job(job.pk), "it is not due yet"
    due_now(job)
    assert run_job(job.pk)
    job = fresh(job)
    assert (job.state, job.attempt) == (JobState.DEAD, 2)
    assert job.message == "The model server does not answer."


def test_an_unexpected_error_is_retried_then_given_up_without_its_text(
    enqueue: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    job = enqueue("test.broken")
    run_job(job.pk)
    assert fresh(job).state == JobState.QUEUED
    due_now(job)
    run_job(job.pk)
    job = fresh(job)
    assert job.state == JobState.DEAD
    assert "ZeroDivisionError" in str(job.reason) and "secret" not in str(job.reason)
    assert "secret text" in caplog.text, "the traceback is in the log only"


def test_cancel_stops_a_running_handler_at_its_next_check(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1000, seconds=0.05)
    thread = in_thread(lambda: run_job(job.pk))
    until(lambda: fresh(job).done > 0)
    assert services.request_cancel(job).state == JobState.RUNNING
    thread.join(10)
    job = fresh(job)
    assert job.state == JobState.CANCELLED and 0 < job.done < 1000


def test_pause_keeps_the_cursor_and_resume_goes_on_from_it(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=40, seconds=0.05)
    thread = in_thread(lambda: run_job(job.pk))
    until(lambda: fresh(job).done > 2)
    services.pause(job)
    thread.join(10)
    job = fresh(job)
    assert (job.state, job.attempt) == (JobState.PAUSED, 0)
    stopped_at = job.cursor["next"]
    services.resume(job)
    assert run_job(job.pk)
    job = fresh(job)
    assert (job.state, job.attempt, job.metrics.count()) == (JobState.SUCCEEDED, 1, 40)
    tokens = {step: values["token"] for step, values in job.metrics.values_list("step", "values")}
    assert tokens[stopped_at - 1] == 1 and tokens[stopped_at] == 2


def test_a_stopping_worker_puts_the_job_back_without_counting(
    enqueue: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = enqueue(steps=1000, seconds=0.02)
    flag = bytearray(1)
    monkeypatch.setattr(running, "_worker_stopping", flag)
    thread = in_thread(lambda: run_job(job.pk))
    until(lambda: fresh(job).done > 0)
    running.note_worker_stopping()
    thread.join(10)
    job = fresh(job)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert job.cursor["next"] > 0
    assert not run_job(job.pk), "a stopping worker takes nothing new"


def test_the_heartbeat_keeps_the_lease_of_a_slow_step(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1, seconds=3)  # the lease is 2 s
    thread = in_thread(lambda: run_job(job.pk))
    until(lambda: fresh(job).state == JobState.RUNNING)
    for _ in range(12):
        time.sleep(0.25)
        assert release_expired_leases() == 0
    thread.join(10)
    assert (fresh(job).state, fresh(job).attempt) == (JobState.SUCCEEDED, 1)


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_fenced_owner_can_write_nothing(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=3)
    zombie = claim(job.pk)
    assert zombie
    expire(job)
    assert release_expired_leases() == 1
    writes: list[Callable[[], None]] = [
        lambda: zombie.save_cursor({"next": 99}),
        lambda: zombie.progress(99, 100, unit="lies", stage="Lying"),
        lambda: zombie.metric(99, loss=0.0),
        lambda: zombie._finish(JobState.SUCCEEDED),
    ]

    def write_both() -> None:
        with zombie.transaction():
            sample_kinds.record_step(zombie, 99)

    for write in [*writes, write_both]:
        with pytest.raises(LeaseLost):
            write()
    assert run_job(job.pk)
    for write in [*writes, write_both]:
        with pytest.raises(LeaseLost):
            write()
    job = fresh(job)
    assert (job.state, job.attempt, job.cursor, job.done) == (
        JobState.SUCCEEDED,
        2,
        {"next": 3},
        3,
    )
    assert sorted(job.metrics.values_list("step", flat=True)) == [0, 1, 2]


def test_a_zombie_notices_at_its_next_check(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1)
    zombie = claim(job.pk)
    assert zombie
    expire(job)
    release_expired_leases()
    with pytest.raises(LeaseLost):
        zombie.check()


def test_expired_leases_end_as_asked_or_as_counted(enqueue: Callable[..., Job]) -> None:
    cancelled, paused, used_up = enqueue(steps=1), enqueue(steps=1), enqueue(steps=1)
    Job.objects.filter(pk=used_up.pk).update(attempt=4)
    for job in (cancelled, paused, used_up):
        assert claim(job.pk)
        expire(job)
    services.request_cancel(cancelled)
    services.pause(paused)
    assert release_expired_leases() == 3
    assert fresh(cancelled).state == JobState.CANCELLED
    assert fresh(paused).state == JobState.PAUSED
    dead = fresh(used_up)
    assert dead.state == JobState.DEAD and "5 times" in str(dead.reason)
    assert release_expired_leases() == 0


def test_a_job_nobody_heard_of_is_rung_again_once(enqueue: Callable[..., Job]) -> None:
    jobs = [enqueue("test.nothing") for _ in range(3)]
    running_queue = jobs[0].queue
    _empty(running_queue)
    assert ring_again(after_seconds=30) == 0, "their rings are fresh"
    Job.objects.update(rung_at=timezone.now() - timedelta(minutes=1))
    assert ring_again(after_seconds=30) == 3
    assert waiting_rings(running_queue) == 3
    Job.objects.update(rung_at=timezone.now() - timedelta(minutes=1))
    assert ring_again(after_seconds=30) == 0, "busy workers don't make the queue grow"
    _empty(running_queue)


def test_a_job_that_has_become_due_is_rung(enqueue: Callable[..., Job]) -> None:
    job = enqueue("test.nothing")
    _empty(job.queue)
    now = timezone.now()
    Job.objects.update(rung_at=now - timedelta(seconds=5), next_attempt_at=now + timedelta(hours=1))
    assert ring_again(after_seconds=30) == 0
    due_now(job)
    assert ring_again(after_seconds=30) == 1
    _empty(job.queue)


def _empty(queue: str) -> None:
    from praxis.celery import app

    with app.connection_or_acquire() as broker:
        broker.default_channel.client.delete(queue)


def test_a_step_measured_again_replaces_its_metric(enqueue: Callable[..., Job]) -> None:
    job = enqueue(steps=1)
    run = claim(job.pk)
    assert run
    run.metric(10, loss=2.0)
    run.metric(10, loss=1.5, speed=30)
    run.metric(20, loss=1.0)
    assert list(JobMetric.objects.order_by("step").values_list("step", "values")) == [
        (10, {"loss": 1.5, "speed": 30}),
        (20, {"loss": 1.0}),
    ]


def test_speed_and_time_left_follow_the_stage() -> None:
    now = timezone.now()
    job = Job(
        state=JobState.RUNNING,
        done=30,
        total=100,
        measured_from=10,
        measured_since=now - timedelta(seconds=10),
        progress_at=now,
    )
    assert (job.percent, job.speed) == (30, pytest.approx(2.0))
    assert job.time_left == timedelta(seconds=35)
    job.total = None
    assert (job.percent, job.time_left) == (None, None)
    job.done = 10
    assert job.speed is None


def test_a_new_stage_measures_anew(enqueue: Callable[..., Job]) -> None:
    run = claim(enqueue(steps=1).pk)
    assert run
    run.progress(0, 10, unit="pages", stage="Reading")
    run.progress(10, 10)
    assert fresh(run.job).measured_from == 0
    run.progress(500, 900, unit="passages", stage="Embedding")
    job = fresh(run.job)
    assert (job.measured_from, job.stage, job.unit) == (500, "Embedding", "passages")
