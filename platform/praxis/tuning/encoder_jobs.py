"""The long work of an encoder: mine pairs and train it; make its vectors beside and go over to it."""

import shutil
from typing import Any

from django.utils.translation import gettext_noop

from modeling.retrieval.finetune_recipe import ENCODER
from modeling.weights.manifest import write_json
from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed
from praxis.integrations.events import emit
from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobCancelled, JobRun, PermanentFailure, Retry
from praxis.knowledge import encoders as index
from praxis.knowledge.ingestion import embedded_text
from praxis.knowledge.models import Chunk, Encoder, TunedVector
from praxis.sentences import Sentence, sentence_of
from praxis.tuning import encoders, trainer, training_process
from praxis.tuning.announcements import announced
from praxis.tuning.pairs import mine
from praxis.workbench.golden import settings_changed

MINING = gettext_noop("Looking for pairs and hard negatives")
INDEXING = gettext_noop("Making vectors beside the old ones")
GOING_OVER = gettext_noop("Going over to the new vectors")
REGISTERING = gettext_noop("Registering the encoder")
STAGES = {
    "preparing": gettext_noop("Preparing the encoder"),
    "evaluating": gettext_noop("Evaluating on held-out questions"),
    "training": training_process.TRAINING,
    "exporting": gettext_noop("Writing the encoder"),
}
BATCH = 64
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 300


@job_kind("tuning.encoder", queue="tuning", max_attempts=3)
def train_encoder(run: JobRun) -> None:
    """Mine, train, evaluate, register; every step may be the last before a kill."""
    encoder = Encoder.objects.select_related("workspace", "created_by").get(
        pk=run.payload["encoder"]
    )
    if encoder.state != Encoder.State.TRAINING:
        return
    with announced(run, encoder.workspace, subject=encoder.pk, data=_event_data(encoder)):
        try:
            _train(run, encoder)
        except ModelUnavailable as error:
            raise Retry(sentence_of(error)) from error
        except encoders.EncoderRefused as refusal:
            raise PermanentFailure(sentence_of(refusal)) from refusal


def _train(run: JobRun, encoder: Encoder) -> None:
    files = encoders.files_of(encoder)
    choices = encoders.Choices(**encoder.recipe)
    if not files.result.is_file():
        files.directory.mkdir(parents=True, exist_ok=True)
        if not (files.directory / "pairs.jsonl").is_file():
            _mine(run, encoder, choices)
        recipe = encoders.recipe_of(choices, files, encoders.base_folder())
        write_json(files.recipe, vars(recipe))
        training_process.run_to_its_end(
            run, files, module="modeling.retrieval.finetune", stages=STAGES
        )
    run.progress(run.job.done, run.job.total, stage=REGISTERING)
    result = trainer.read_result(files)
    sha256 = encoders.place(encoders.directory_of(encoder), files.output / ENCODER)
    with run.transaction():
        Encoder.objects.filter(pk=encoder.pk, state=Encoder.State.TRAINING).update(
            state=Encoder.State.TRAINED,
            result=result,
            sha256=sha256,
            cosine_scale=result["cosine_scale"],
            cosine_shift=result["cosine_shift"],
        )
        emit(
            encoder.workspace,
            "tuning.finished",
            subject=encoder.pk,
            data={**_event_data(encoder), "sha256": sha256, "figures": result},
        )
    # The pairs are questions and documents of people; nothing needs them any more.
    for name in ("pairs.jsonl", "passages.jsonl"):
        (files.directory / name).unlink(missing_ok=True)
    for name in ("checkpoints", ENCODER):
        shutil.rmtree(files.output / name, ignore_errors=True)


def _mine(run: JobRun, encoder: Encoder, choices: encoders.Choices) -> None:
    run.progress(0, None, stage=MINING, unit=gettext_noop("questions"))
    principal = Principal(
        workspace=encoder.workspace, role=Role(run.payload["role"]), user=encoder.created_by
    )
    counts = mine(
        principal=principal,
        folder=encoders.files_of(encoder).directory,
        from_documents=choices.from_documents,
        check=run.check,
        progress=run.progress,
    )
    with run.transaction():
        Encoder.objects.filter(pk=encoder.pk).update(pairs=counts)
    if (found := sum(counts["learnt"].values())) < encoders.FEWEST_PAIRS:
        (encoders.files_of(encoder).directory / "pairs.jsonl").unlink()
        raise PermanentFailure(
            Sentence(
                gettext_noop(
                    "Only %(found)d pairs of a question and its passage were found; at least "
                    "%(needed)d are needed. Mark more questions in the retrieval workbench, or add "
                    "documents."
                ),
                {"found": found, "needed": encoders.FEWEST_PAIRS},
            )
        )


def _event_data(encoder: Encoder) -> dict[str, Any]:
    return {"name": encoder.name, "encoder": encoder.served_name}


@job_kind("tuning.reindex", queue="tuning", max_attempts=8)
def index_encoder(run: JobRun) -> None:
    """Vectors for every chunk of the workspace, then the switch; search notices the switch only.

    A run that was killed goes on with the chunks that have no vector yet.
    """
    encoder = Encoder.objects.select_related("workspace").get(pk=run.payload["encoder"])
    if encoder.state in (Encoder.State.TRAINING, Encoder.State.RETIRED):
        raise PermanentFailure(
            Sentence(gettext_noop("The encoder %(name)s is retired."), {"name": encoder.name})
        )
    if encoder.state == Encoder.State.TRAINED:
        with run.transaction():
            index.begin(encoder)
    try:
        while not (_fill(run, encoder) and _go_over(run, encoder)):
            pass
    except JobCancelled:
        Encoder.objects.filter(pk=encoder.pk, state=Encoder.State.INDEXING).update(
            state=Encoder.State.TRAINED
        )
        index.forget_unused(encoder.workspace_id)
        raise
    except ModelUnavailable as error:
        wait = min(FIRST_WAIT_SECONDS * 2 ** (run.job.attempt - 1), LONGEST_WAIT_SECONDS)
        raise Retry(sentence_of(error), after_seconds=wait) from error
    index.forget_unused(encoder.workspace_id)
    settings_changed(encoder.workspace, by=run.job.created_by)


def _fill(run: JobRun, encoder: Encoder) -> bool:
    """One walk over the chunks that lack a vector; those that come meanwhile have theirs."""
    total = Chunk.objects.filter(workspace=encoder.workspace).count()
    done = TunedVector.objects.filter(encoder=encoder).count()
    run.progress(done, total, stage=INDEXING, unit=gettext_noop("passages"))
    last = 0
    while chunks := index.chunks_without_vector(encoder, after=last, limit=BATCH):
        run.check()
        texts = [
            embedded_text(chunk.version.document, chunk.heading, chunk.searched_text)
            for chunk in chunks
        ]
        vectors = embed(texts, bulk=True, model=encoder.served_name)
        with run.transaction():
            index.add_vectors(encoder, chunks, vectors)
        last = chunks[-1].pk
        done += len(chunks)
        run.progress(done, max(total, done))
    return True


def _go_over(run: JobRun, encoder: Encoder) -> bool:
    run.progress(run.job.done, run.job.total, stage=GOING_OVER)
    try:
        with run.transaction():
            return index.switch(encoder.workspace, encoder, by=run.job.created_by)
    except index.NotKeptUp as error:
        index.forget_unused(encoder.workspace_id)
        raise PermanentFailure(
            Sentence(
                gettext_noop("The encoder %(name)s was retired meanwhile."), {"name": encoder.name}
            )
        ) from error
