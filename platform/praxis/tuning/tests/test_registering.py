"""From what a trainer left behind to a registered adapter, whatever happens in between."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modeling.training.recipe import Lora, Recipe
from modeling.training.run import execute
from modeling.training.tests.conftest import conversation, write_jsonl
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import JobRun, claim, run_job
from praxis.tuning import adapters, job_kinds
from praxis.tuning.job_kinds import train_adapter
from praxis.tuning.models import Adapter, Evaluation, TuningRun
from praxis.tuning.runs import files_of
from tests.fakes import ModelServer

# `run_job` beats its heart from another thread, which sees committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="session")
def trained_output(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of a finished trainer."""
    directory = tmp_path_factory.mktemp("trained")
    recipe = Recipe(
        model_path=str(model_dir),
        data_path=str(
            write_jsonl(directory / "data.jsonl", [conversation(seed) for seed in range(20)])
        ),
        output_dir=str(directory / "output"),
        model_name="fake-chat",
        lora=Lora(rank=2, alpha=4),
        steps=2,
        max_tokens=128,
        evaluation_share=0.2,
    )
    assert execute(recipe) == 0
    return recipe.output


@pytest.fixture
def trained_run(make_run: Callable[..., TuningRun], trained_output: Path) -> TuningRun:
    """A run whose trainer has just ended; the worker died before it looked."""
    run: TuningRun = make_run()
    shutil.copytree(trained_output, files_of(run).output)
    return run


def job_after(run: TuningRun) -> Job:
    run_job(run.job_id)
    return Job.objects.get(pk=run.job_id)


def claimed(run: TuningRun) -> JobRun:
    """A new attempt, as after the sweep took the job from a dead worker."""
    Job.objects.filter(pk=run.job_id).update(state=JobState.QUEUED, lease_until=None, attempt=0)
    attempt = claim(run.job_id)
    assert attempt is not None
    return attempt


def test_a_death_between_any_two_steps_of_the_end_changes_nothing(
    trained_run: TuningRun, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placing, registering, loading, tidying up: each happens once in effect."""

    class Killed(BaseException):
        pass

    def die(*args: object, **kwargs: object) -> None:
        raise Killed

    steps: list[tuple[Any, str]] = [
        (job_kinds, "_register"),
        (adapters, "register"),
        (job_kinds, "_load"),
        (job_kinds, "_remove_intermediate_files"),
    ]
    for module, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Killed):
                train_adapter(claimed(trained_run))
    train_adapter(claimed(trained_run))
    train_adapter(claimed(trained_run))

    adapter = Adapter.objects.get()
    assert adapter.state == Adapter.State.SERVING
    assert Evaluation.objects.filter(adapter=adapter).count() == 1
    assert not files_of(trained_run).adapter.exists()


def test_a_half_copied_folder_is_never_taken_for_an_adapter(
    trained_run: TuningRun, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def copy_one_file(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "adapter_config.json").write_text("{")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", copy_one_file)
        with pytest.raises(Killed):
            train_adapter(claimed(trained_run))
    assert not (adapters.adapters_directory() / trained_run.adapter_name).exists()
    train_adapter(claimed(trained_run))
    assert Adapter.objects.get().state == Adapter.State.SERVING


def test_tampered_files_are_refused(trained_run: TuningRun, model_server: ModelServer) -> None:
    weights = files_of(trained_run).adapter / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    job = job_after(trained_run)
    assert job.state == JobState.FAILED
    assert "adapter_model.safetensors" in str(job.reason)
    assert "SHA-256" in str(job.reason)
    assert not Adapter.objects.exists()
    assert not model_server.adapters


def test_a_model_server_that_is_away_costs_no_training(
    trained_run: TuningRun, model_server: ModelServer
) -> None:
    model_server.down()
    assert job_after(trained_run).state == JobState.SUCCEEDED
    assert Adapter.objects.get(run=trained_run).state == Adapter.State.REGISTERED
