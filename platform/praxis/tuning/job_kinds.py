"""The long work of fine-tuning: examine a data set, train an adapter."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from modeling.weights.assemble import WeightsMissing
from modeling.weights.manifest import write_json
from praxis.integrations.events import emit
from praxis.jobs.models import JobMetric
from praxis.jobs.registry import job_kind
from praxis.jobs.running import (
    Interrupted,
    JobCancelled,
    JobPaused,
    JobRun,
    PermanentFailure,
    Retry,
    WorkerStopping,
)
from praxis.tuning import adapters, trainer
from praxis.tuning.bases import prepare_training_base, tokenizer_of
from praxis.tuning.datasets import examine, write_usable_lines
from praxis.tuning.models import Adapter, DatasetVersion, TuningRun
from praxis.tuning.runs import Choices, files_of, recipe_of

logger = logging.getLogger(__name__)

PREPARING = gettext_noop("Preparing the base model")
READING = gettext_noop("Reading the data set")
TRAINING = gettext_noop("Training")
EXPORTING = gettext_noop("Exporting the adapter")
REGISTERING = gettext_noop("Registering the adapter")
LOADING = gettext_noop("Loading the adapter into the model server")
# The trainer's phases as people see them; "saving" lies between steps and isn't shown.
STAGES = {
    "preparing": PREPARING,
    "tokenising": READING,
    "training": TRAINING,
    "exporting": EXPORTING,
}

LOCK_SECONDS = 150
"""How long the trainer of a killed worker may take to save its last checkpoint and leave."""
# Whether these are tried again by themselves; every other cause needs a person first.
_PASSING_CAUSES = ("unexpected", "")


@job_kind("tuning.examine", queue="ingest", max_attempts=3)
def examine_dataset(run: JobRun) -> None:
    """Write the report of a data-set version."""
    version = DatasetVersion.objects.select_related("dataset").get(pk=run.payload["version"])
    run.progress(0, stage=PREPARING)
    base = _base(run)
    run.progress(0, stage=READING)
    examine(version, tokenizer_of(base))


@job_kind("tuning.train", queue="tuning", max_attempts=3)
def train_adapter(run: JobRun) -> None:
    """Train, register and load one adapter; every step may be the last before a kill."""
    tuning_run = TuningRun.objects.select_related("workspace", "dataset_version__dataset").get(
        pk=run.payload["run"]
    )
    try:
        adapter = Adapter.objects.filter(run=tuning_run).first()
        if adapter is None:
            _announce_start(run, tuning_run)
            if not files_of(tuning_run).result.is_file():
                _train(run, tuning_run)
            adapter = _register(run, tuning_run)
        _load(run, adapter)
        _remove_intermediate_files(tuning_run)
    except Interrupted:
        raise
    except PermanentFailure as failure:
        _announce_failure(run, tuning_run, str(failure))
        raise
    except Exception as error:
        if run.job.attempt >= run.job.max_attempts:
            _announce_failure(run, tuning_run, str(error) or type(error).__name__)
        raise


def _announce_start(run: JobRun, tuning_run: TuningRun) -> None:
    if run.cursor.get("announced"):
        return
    with run.transaction():
        emit(
            tuning_run.workspace,
            "tuning.started",
            subject=tuning_run.pk,
            data=_event_data(tuning_run),
        )
        run.save_cursor({"announced": True})


def _announce_failure(run: JobRun, tuning_run: TuningRun, sentence: str) -> None:
    with run.transaction():
        emit(
            tuning_run.workspace,
            "tuning.failed",
            subject=tuning_run.pk,
            data={**_event_data(tuning_run), "message": sentence},
        )


def _event_data(tuning_run: TuningRun) -> dict[str, Any]:
    return {
        "name": tuning_run.name,
        "assistant": tuning_run.assistant,
        "dataset_version": str(tuning_run.dataset_version_id),
    }


def _base(run: JobRun) -> Path:
    try:
        return prepare_training_base(run.check)
    except WeightsMissing as error:
        raise PermanentFailure(
            _("The base model cannot be prepared: %(reason)s") % {"reason": error}
        ) from error


def _train(run: JobRun, tuning_run: TuningRun) -> None:
    """Have the trainer write `result.json` and `adapter/`, from its last checkpoint if any."""
    run.progress(0, stage=PREPARING)
    base = _base(run)
    files = files_of(tuning_run)
    files.output.mkdir(parents=True, exist_ok=True)
    if not files.data.is_file():
        write_usable_lines(tuning_run.dataset_version, files.data)
    recipe = recipe_of(
        Choices(**tuning_run.recipe),
        model_path=str(base),
        data_path=str(files.data),
        output_dir=str(files.output),
    )
    write_json(files.recipe, recipe.to_dict())
    deadline = time.monotonic() + LOCK_SECONDS
    while (exit_code := _follow_trainer(run, files)) == trainer.LOCKED:
        if time.monotonic() > deadline:
            raise Retry(_("The trainer of an earlier attempt is still saving its checkpoint."))
        time.sleep(1)
    if exit_code == 0 and files.result.is_file():
        return
    run.check()
    _raise_for(exit_code, trainer.read_failure(files))


def _follow_trainer(run: JobRun, files: trainer.RunFiles) -> int:
    process = trainer.start(files, source_root=settings.BASE_DIR)

    def check() -> None:
        try:
            run.check()
        except JobCancelled:
            trainer.cancel(process, files)
            raise
        except JobPaused:
            trainer.stop(process, trainer.PAUSE_SECONDS)
            raise
        except WorkerStopping:
            trainer.stop(process, trainer.STOP_SECONDS)
            raise

    return trainer.follow(
        process,
        files,
        on_metrics=lambda lines: _store_metrics(run, lines),
        on_state=lambda phase, message: _show_phase(run, phase),
        check=check,
    )


def _store_metrics(run: JobRun, lines: list[dict[str, Any]]) -> None:
    """One row per step. The evaluation after a step has a line of its own, without loss or speed."""
    with run.transaction():
        steps = {line["step"] for line in lines}
        by_step: dict[int, dict[str, Any]] = {step: {} for step in steps}
        by_step |= JobMetric.objects.filter(job=run.job, step__in=steps).values_list(
            "step", "values"
        )
        for line in lines:
            by_step[line["step"]] |= {
                name: value
                for name, value in line.items()
                if name != "step"
                and value is not None
                and not (name == "tokens_per_second" and value == 0)
            }
        JobMetric.objects.bulk_create(
            [JobMetric(job=run.job, step=step, values=values) for step, values in by_step.items()],
            update_conflicts=True,
            unique_fields=["job", "step"],
            update_fields=["values", "at"],
        )
    last = lines[-1]
    run.progress(last["step"], last.get("steps"), unit=gettext_noop("steps"), stage=TRAINING)


def _show_phase(run: JobRun, phase: str) -> None:
    if stage := STAGES.get(phase):
        run.progress(run.job.done, run.job.total, stage=stage)


def _raise_for(exit_code: int, failure: trainer.Failure) -> None:
    """Turn the trainer's end without a result into what becomes of the job."""
    if exit_code == trainer.STOPPED_TO_RESUME:
        raise Retry(_("The training was interrupted and goes on from its last checkpoint."), 5)
    if exit_code < 0:
        raise Retry(
            _(
                "The trainer was killed (signal %(signal)d), for example because memory ran out; "
                "it goes on from its last checkpoint."
            )
            % {"signal": -exit_code}
        )
    sentence = _("The training stopped: %(reason)s") % {
        "reason": failure.message or _("exit code %(code)d, see its log") % {"code": exit_code}
    }
    if failure.code in _PASSING_CAUSES:
        raise Retry(sentence)
    raise PermanentFailure(sentence)


def _register(run: JobRun, tuning_run: TuningRun) -> Adapter:
    """Files first, then the row, its evaluation and the event in one transaction."""
    run.progress(run.job.done, run.job.total, stage=REGISTERING)
    files = files_of(tuning_run)
    result = trainer.read_result(files)
    try:
        directory = adapters.place(files.adapter, tuning_run.adapter_name)
    except adapters.AdapterRefused as refusal:
        raise PermanentFailure(str(refusal)) from refusal
    with run.transaction():
        tuning_run.result = result
        tuning_run.save(update_fields=["result"])
        adapter = adapters.register(tuning_run, directory)
        emit(
            tuning_run.workspace,
            "tuning.finished",
            subject=tuning_run.pk,
            data={
                **_event_data(tuning_run),
                "adapter": adapter.name,
                "sha256": adapter.sha256,
                "figures": adapter.figures,
            },
        )
    return adapter


def _load(run: JobRun, adapter: Adapter) -> None:
    """A model server that is away doesn't spoil the run: the adapter is loaded when promoted."""
    run.progress(run.job.done, run.job.total, stage=LOADING)
    try:
        adapters.ensure_served(adapter)
    except adapters.AdapterRefused as refusal:
        logger.warning("Adapter %s is registered but not loaded: %s", adapter.name, refusal)


def _remove_intermediate_files(tuning_run: TuningRun) -> None:
    """Checkpoints and encoded data are many times the adapter's size; the figures stay."""
    files = files_of(tuning_run)
    for folder in (files.output / "checkpoints", files.output / "tokens", files.adapter):
        shutil.rmtree(folder, ignore_errors=True)
    files.data.unlink(missing_ok=True)
