"""The long work of the customer-service assistant: train the second stage of its intents."""

import shutil

from django.conf import settings
from django.utils.translation import gettext_noop

from apps.customer_service import second_stage
from apps.customer_service.models import IntentModel
from modeling.intents.finetune_recipe import IntentRecipe
from modeling.retrieval.finetune_recipe import ENCODER
from modeling.weights.manifest import write_json
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed
from praxis.integrations.events import emit
from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun, PermanentFailure, Retry
from praxis.sentences import sentence_of
from praxis.tuning import encoders, trainer, training_process
from praxis.tuning.announcements import announced

KEPT = 3
"""Second stages that one may go back to, with the newest."""
LOADING = gettext_noop("Loading it into the model server")
STAGES = {
    "preparing": gettext_noop("Reading the samples"),
    "training": training_process.TRAINING,
    "evaluating": gettext_noop("Evaluating on held-out samples"),
    "exporting": gettext_noop("Writing the encoder"),
}


@job_kind("service.intents", queue="tuning", max_attempts=3)
def train_intents(run: JobRun) -> None:
    """Train, judge, register; use it if it is better. Every step may be the last before a kill."""
    model = IntentModel.objects.select_related("workspace").get(pk=run.payload["model"])
    if model.sha256:
        return
    data = second_stage.event_data(model)
    with announced(run, model.workspace, subject=model.pk, data=data):
        try:
            _train(run, model)
        except ModelUnavailable as error:
            raise Retry(sentence_of(error)) from error
        except (encoders.EncoderRefused, second_stage.SecondStageRefused) as refusal:
            raise PermanentFailure(sentence_of(refusal)) from refusal
    shutil.rmtree(second_stage.files_of(model).directory, ignore_errors=True)
    second_stage.forget_all_but(KEPT, str(model.workspace_id))


def _train(run: JobRun, model: IntentModel) -> None:
    files = second_stage.files_of(model)
    if not files.result.is_file():
        _run_trainer(run, model, files)
    result = trainer.read_result(files)
    sha256 = encoders.place(second_stage.directory_of(model), files.output / ENCODER)
    run.progress(run.job.done, run.job.total, stage=LOADING)
    embed(["hello"], model=model.served_name)
    with run.transaction():
        model.result, model.sha256 = result, sha256
        model.save(update_fields=["result", "sha256"])
        if model.was_better:
            IntentModel.switch(model.workspace, model)
        emit(
            model.workspace,
            "tuning.finished",
            subject=model.pk,
            data={**second_stage.event_data(model), "sha256": sha256, "figures": result},
        )


def _run_trainer(run: JobRun, model: IntentModel, files: trainer.RunFiles) -> None:
    files.output.mkdir(parents=True, exist_ok=True)
    if not files.data.is_file():
        second_stage.write_samples(files.data, str(model.workspace_id))
    recipe = IntentRecipe(
        base=str(encoders.base_folder()),
        samples=str(files.data),
        output_dir=str(files.output),
        threads=settings.TUNING_THREADS,
    )
    write_json(files.recipe, vars(recipe))
    training_process.run_to_its_end(run, files, module="modeling.intents.finetune", stages=STAGES)
