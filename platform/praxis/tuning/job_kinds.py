"""The long work of fine-tuning: examine a data set, train an adapter."""

import logging
import shutil
from pathlib import Path
from typing import Any

from django.utils.translation import gettext_noop

from modeling.weights.assemble import WeightsMissing
from modeling.weights.manifest import write_json
from praxis.integrations.events import emit
from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun, PermanentFailure
from praxis.sentences import Sentence, sentence_of
from praxis.tuning import adapters, trainer, training_process
from praxis.tuning.announcements import announced
from praxis.tuning.bases import prepare_training_base, tokenizer_of
from praxis.tuning.datasets import examine, write_usable_lines
from praxis.tuning.encoder_jobs import index_encoder, train_encoder
from praxis.tuning.models import Adapter, DatasetVersion, TuningRun
from praxis.tuning.runs import Choices, files_of, recipe_of

__all__ = ["examine_dataset", "index_encoder", "train_adapter", "train_encoder"]

logger = logging.getLogger(__name__)

PREPARING = gettext_noop("Preparing the base model")
READING = gettext_noop("Reading the data set")
EXPORTING = gettext_noop("Exporting the adapter")
REGISTERING = gettext_noop("Registering the adapter")
LOADING = gettext_noop("Loading the adapter into the model server")
# The trainer's phases as people see them; "saving" lies between steps and isn't shown.
STAGES = {
    "preparing": PREPARING,
    "tokenising": READING,
    "training": training_process.TRAINING,
    "exporting": EXPORTING,
}


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
    data = _event_data(tuning_run)
    with announced(run, tuning_run.workspace, subject=tuning_run.pk, data=data):
        adapter = Adapter.objects.filter(run=tuning_run).first()
        if adapter is None:
            if not files_of(tuning_run).result.is_file():
                _train(run, tuning_run)
            adapter = _register(run, tuning_run)
        _load(run, adapter)
        _remove_intermediate_files(tuning_run)


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
            Sentence(
                gettext_noop("The base model cannot be prepared: %(reason)s"),
                {"reason": str(error)},
            )
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
    training_process.run_to_its_end(run, files, module="modeling.training.run", stages=STAGES)


def _register(run: JobRun, tuning_run: TuningRun) -> Adapter:
    """Files first, then the row, its evaluation and the event in one transaction."""
    run.progress(run.job.done, run.job.total, stage=REGISTERING)
    files = files_of(tuning_run)
    result = trainer.read_result(files)
    try:
        directory = adapters.place(files.adapter, tuning_run.adapter_name)
    except adapters.AdapterRefused as refusal:
        raise PermanentFailure(sentence_of(refusal)) from refusal
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
