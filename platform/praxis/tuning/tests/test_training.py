"""The whole loop with a real trainer process on a tiny base."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from django.db import connection

from praxis.jobs.models import Job, JobMetric, JobState
from praxis.jobs.running import LeaseLost, claim, run_job
from praxis.jobs.services import request_cancel, retry
from praxis.tuning import trainer
from praxis.tuning.adapters import directory_of
from praxis.tuning.job_kinds import train_adapter
from praxis.tuning.models import Adapter, Evaluation, TuningRun
from praxis.tuning.runs import files_of, latest_figures, progress_of
from tests.fakes import ModelServer

MakeRun = Callable[..., TuningRun]
JobOf = Callable[[TuningRun], Job]

# The handler is watched from other threads, which see committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    left = [
        process
        for process in psutil.Process().children(recursive=True)
        if "modeling.training.run" in process.cmdline()
    ]
    for process in left:
        process.kill()
    assert not left


def when(holds: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Act from another thread as soon as something holds."""

    def wait() -> None:
        try:
            deadline = time.monotonic() + 60
            while not holds() and time.monotonic() < deadline:
                time.sleep(0.02)
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def trainer_process() -> psutil.Process:
    [found] = [
        process
        for process in psutil.Process().children()
        if "modeling.training.run" in process.cmdline()
    ]
    return found


def checkpoints(run: TuningRun) -> list[Path]:
    return sorted((files_of(run).output / "checkpoints").glob("step-*/MANIFEST.json"))


def test_a_run_becomes_a_served_adapter(
    make_run: MakeRun, job_of: JobOf, model_server: ModelServer
) -> None:
    run = make_run()
    assert run_job(run.job_id)

    job = job_of(run)
    assert (job.state, job.message) == (JobState.SUCCEEDED, "")
    adapter = Adapter.objects.get(run=run)
    assert adapter.name == f"{run.workspace.slug}.refunds"
    assert adapter.state == Adapter.State.SERVING
    folder = directory_of(adapter)
    assert model_server.adapters == {adapter.name: str(folder)}
    assert {"adapter_model.safetensors", "adapter_config.json", "adapter.gguf"} <= {
        path.name for path in folder.iterdir()
    }
    held_out = Evaluation.objects.get(adapter=adapter).figures
    assert held_out["adapter_loss"] < held_out["base_loss"]
    progress = progress_of(run, -1)
    assert [point["step"] for point in progress["points"]] == [0, 1, 2, 3, 4]
    assert progress["steps"] == 4
    assert all("loss" in point for point in progress["points"][1:])
    assert {"tokens_per_second", "eval_loss"} <= progress["points"][4].keys()
    assert latest_figures([run.job_id])[run.job_id]["eval_loss"] == held_out["adapter_loss"]
    assert not checkpoints(run)


def test_a_killed_trainer_goes_on_from_its_checkpoint(
    make_run: MakeRun, job_of: JobOf, model_server: ModelServer
) -> None:
    run = make_run(steps=30)
    seen: list[tuple[int, int]] = []

    def look_and_kill() -> None:
        process = trainer_process()
        seen.append((process.nice(), os.getsid(process.pid)))
        process.kill()

    killer = when(lambda: bool(checkpoints(run)), look_and_kill)
    run_job(run.job_id)
    killer.join()
    job = job_of(run)
    assert job.state == JobState.QUEUED
    assert "killed (signal 9)" in str(job.reason)
    [(niceness, session)] = seen
    assert niceness == trainer.NICENESS
    assert session != os.getsid(0)

    Job.objects.filter(pk=job.pk).update(next_attempt_at=job.created_at)
    run_job(run.job_id)

    assert job_of(run).state == JobState.SUCCEEDED
    assert did_first_step_once(run)
    steps = JobMetric.objects.filter(job_id=run.job_id).order_by("step")
    assert [metric.step for metric in steps] == list(range(31))


def did_first_step_once(run: TuningRun) -> bool:
    """A second process that began anew would have measured step 1 again."""
    lines = [json.loads(line) for line in files_of(run).metrics.read_text().splitlines()]
    return [line["step"] for line in lines if line["loss"] is not None].count(1) == 1


def test_a_cancelled_and_an_interrupted_run_go_on_where_they_stopped(
    make_run: MakeRun, job_of: JobOf, model_server: ModelServer
) -> None:
    run = make_run(steps=2000)

    def reached(step: int) -> bool:
        return JobMetric.objects.filter(job_id=run.job_id, step__gte=step).exists()

    thread = when(lambda: reached(3), lambda: request_cancel(job_of(run)))
    started = time.monotonic()
    run_job(run.job_id)
    thread.join()
    assert job_of(run).state == JobState.CANCELLED
    assert time.monotonic() - started < trainer.CANCEL_SECONDS
    assert not Adapter.objects.exists()
    assert checkpoints(run)
    done = job_of(run).done

    retry(job_of(run))
    thread = when(lambda: reached(done + 1), lambda: trainer_process().send_signal(signal.SIGTERM))
    run_job(run.job_id)
    thread.join()
    assert job_of(run).state == JobState.QUEUED
    assert "goes on from its last checkpoint" in str(job_of(run).reason)
    assert did_first_step_once(run)


def test_a_lost_lease_kills_the_trainer(make_run: MakeRun, model_server: ModelServer) -> None:
    run = make_run(steps=2000)
    thread = when(
        lambda: JobMetric.objects.filter(job_id=run.job_id, step__gte=2).exists(),
        lambda: Job.objects.filter(pk=run.job_id).update(lease_token=99),
    )
    attempt = claim(run.job_id)
    assert attempt is not None
    with pytest.raises(LeaseLost):
        train_adapter(attempt)
    thread.join()
    assert not Adapter.objects.exists()


def test_the_cause_of_a_failure_is_told_in_a_sentence(
    make_run: MakeRun, job_of: JobOf, model_server: ModelServer
) -> None:
    # Conversations of more than 64 tokens, but each sequence may have 20.
    run = make_run()
    TuningRun.objects.filter(pk=run.pk).update(recipe={**run.recipe, "max_tokens": 16})
    run_job(run.job_id)
    job = job_of(run)
    assert job.state == JobState.FAILED
    assert "no conversation in the data set can be trained on" in str(job.reason)
