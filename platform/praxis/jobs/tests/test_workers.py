"""Real Celery workers, killed in every way: no job is lost, no step happens twice.

The ledger is the table of metrics: one row per step, written in one transaction with the cursor,
with the pid and the token of who wrote it.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest
import redis
from django.conf import settings
from django.db import connection

from praxis.accounts.models import Workspace
from praxis.jobs import services
from praxis.jobs.models import Job, JobMetric, JobState
from praxis.jobs.sweeping import sweep
from praxis.jobs.tests import sample_kinds  # noqa: F401  (registers the kinds)
from praxis.local.processes import kill_session, start_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


class Worker:
    """A Celery worker with two pool processes on the test database."""

    def __init__(self, log: Path, *queues: str) -> None:
        database = urlsplit(os.environ["DATABASE_URL"])
        source_roots = [str(settings.BASE_DIR / "platform"), str(settings.BASE_DIR)]
        self.log = log
        with log.open("wb") as output:
            self.process = start_process(
                [
                    *(sys.executable, "-m", "celery", "-A", "praxis", "worker"),
                    *("--queues", ",".join(queues), "--concurrency", "2", "--loglevel", "INFO"),
                    *("--include", "praxis.jobs.tests.sample_kinds"),
                    *("--without-gossip", "--without-mingle"),
                ],
                stdout=output,
                env={
                    **os.environ,
                    "DATABASE_URL": urlunsplit(
                        database._replace(path=f"/{connection.settings_dict['NAME']}")
                    ),
                    "PYTHONPATH": os.pathsep.join(
                        [*source_roots, os.environ.get("PYTHONPATH", "")]
                    ),
                    "CELERY_SKIP_CHECKS": "1",
                },
            )
        self.pid = self.process.pid
        try:
            until(lambda: b" ready." in log.read_bytes() or self.process.poll() is not None, 60)
            assert self.process.poll() is None, log.read_text()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        kill_session(self.pid)
        self.process.wait()


@pytest.fixture(scope="module")
def start_worker(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[Callable[[], Worker]]:
    """`start_worker()`: the worker that runs, or a new one when a test has ended it."""
    started: list[Worker] = []

    def start() -> Worker:
        if not started or started[-1].process.poll() is not None:
            log = tmp_path_factory.mktemp("worker") / "log"
            started.append(Worker(log, "interactive", "ingest"))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def worker(start_worker: Callable[[], Worker]) -> Worker:
    return start_worker()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def sweep_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """As beat does, but often."""

    def sweep_and_look() -> bool:
        sweep(ring_again_after_seconds=1)
        time.sleep(0.2)
        return condition()

    until(sweep_and_look, seconds)


def state(job: Job) -> str:
    return Job.objects.values_list("state", flat=True).get(pk=job.pk)


def ledger(job: Job) -> list[tuple[int, int]]:
    """The (step, pid) of every effect."""
    rows = JobMetric.objects.filter(job=job).order_by("step").values_list("step", "values")
    return [(step, values["pid"]) for step, values in rows]


def owner_of(job: Job) -> int:
    """The pid of the pool process that has begun the job."""
    until(lambda: len(ledger(job)) >= 3)
    return ledger(job)[-1][1]


def start_steps(workspace: Workspace, steps: int, seconds: float) -> Job:
    return services.enqueue(
        kind="test.steps", workspace=workspace, payload={"steps": steps, "seconds": seconds}
    )


def assert_exactly_once(job: Job, steps: int) -> None:
    assert state(job) == JobState.SUCCEEDED
    assert [step for step, _ in ledger(job)] == list(range(steps))


def test_idle_workers_find_work_within_a_second(worker: Worker, workspace: Workspace) -> None:
    waits = []
    for _ in range(5):
        job = services.enqueue(kind="test.nothing", workspace=workspace, payload={})
        until(lambda job=job: state(job) == JobState.SUCCEEDED)  # type: ignore[misc]
        job.refresh_from_db()
        assert job.started_at
        waits.append((job.started_at - job.created_at).total_seconds())
    assert max(waits) < 1


def test_a_worker_keeps_its_database_connections_from_task_to_task(
    worker: Worker, workspace: Workspace
) -> None:
    def run_jobs(count: int) -> set[int]:
        """The connections of the database afterwards, by their process."""
        for _ in range(count):
            job = services.enqueue(kind="test.nothing", workspace=workspace, payload={})
            until(lambda job=job: state(job) == JobState.SUCCEEDED)  # type: ignore[misc]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
            return {pid for (pid,) in cursor.fetchall()}

    before = run_jobs(5)
    assert before <= run_jobs(5)


def test_kill_9_of_the_owner_loses_and_repeats_nothing(
    worker: Worker, workspace: Workspace
) -> None:
    job = start_steps(workspace, steps=40, seconds=0.05)
    killed = owner_of(job)
    os.kill(killed, signal.SIGKILL)
    sweep_until(lambda: state(job) == JobState.SUCCEEDED)
    assert_exactly_once(job, 40)
    assert len({pid for _, pid in ledger(job)}) == 2


def test_kill_9_of_the_worker_takes_its_pool_along_and_another_goes_on(
    worker: Worker, workspace: Workspace, start_worker: Callable[[], Worker]
) -> None:
    job = start_steps(workspace, steps=60, seconds=0.1)
    owner = owner_of(job)
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
    until(lambda: not psutil.pid_exists(owner), 5)
    start_worker()
    sweep_until(lambda: state(job) == JobState.SUCCEEDED)
    assert_exactly_once(job, 60)


def test_a_stopped_owner_that_wakes_up_writes_nothing(worker: Worker, workspace: Workspace) -> None:
    job = start_steps(workspace, steps=40, seconds=0.05)
    zombie = owner_of(job)
    os.kill(zombie, signal.SIGSTOP)
    try:
        sweep_until(lambda: state(job) == JobState.SUCCEEDED)
        before = ledger(job)
    finally:
        os.kill(zombie, signal.SIGCONT)
    # PostgreSQL has ended the zombie's transaction where it was stopped inside of one.
    endings = (f"{job.pk} belongs to another worker", f"{job.pk} could not store its outcome")
    until(lambda: any(ending in worker.log.read_text() for ending in endings))
    assert_exactly_once(job, 40)
    assert ledger(job) == before
    assert len({pid for _, pid in before}) == 2
    job.refresh_from_db()
    assert job.attempt == 2


def test_a_flushed_broker_loses_no_job(worker: Worker, workspace: Workspace) -> None:
    os.kill(worker.pid, signal.SIGSTOP)  # so that the rings stay in the broker
    jobs = [
        services.enqueue(kind="test.nothing", workspace=workspace, payload={}) for _ in range(50)
    ]
    with contextlib.closing(redis.Redis.from_url(settings.REDIS_URL)) as broker:
        broker.flushall()
    os.kill(worker.pid, signal.SIGCONT)
    late = services.enqueue(kind="test.nothing", workspace=workspace, payload={})
    until(lambda: state(late) == JobState.SUCCEEDED)
    succeeded = Job.objects.filter(state=JobState.SUCCEEDED)
    sweep_until(lambda: succeeded.count() == len(jobs) + 1)
    assert JobMetric.objects.count() == len(jobs) + 1


def test_a_poisonous_job_is_given_up_while_others_go_on(
    worker: Worker, workspace: Workspace
) -> None:
    poison = services.enqueue(kind="test.poison", workspace=workspace, payload={})
    others = [start_steps(workspace, steps=3, seconds=0.01) for _ in range(5)]
    sweep_until(lambda: state(poison) == JobState.DEAD)
    sweep_until(lambda: all(state(job) == JobState.SUCCEEDED for job in others))
    poison.refresh_from_db()
    assert poison.attempt == 2
    assert "2 times" in str(poison.reason)


def test_sigterm_puts_the_job_back_and_the_worker_ends_soon(
    worker: Worker, workspace: Workspace
) -> None:
    job = start_steps(workspace, steps=1000, seconds=0.05)
    owner_of(job)
    worker.process.terminate()
    worker.process.wait(10)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert [step for step, _ in ledger(job)] == list(range(job.cursor["next"]))
