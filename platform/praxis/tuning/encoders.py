"""Encoders that are tuned for a workspace: start one, search with it, go back, retire it."""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from modeling.inference.tuned_encoders import EncoderRefused as NotAnEncoder
from modeling.inference.tuned_encoders import check_encoder
from modeling.retrieval.finetune_recipe import EncoderRecipe
from modeling.weights.assemble import ENCODER_NAME, WeightsMissing, encoder_folder
from modeling.weights.manifest import MANIFEST_NAME, read_manifest, sha256_of
from praxis.accounts.access import Principal, record
from praxis.jobs.services import NotAllowedNow, enqueue, request_cancel
from praxis.knowledge import encoders as index
from praxis.knowledge import vector_space
from praxis.knowledge.models import Encoder, TunedVector
from praxis.sentences import Sentence
from praxis.tuning.trainer import RunFiles
from praxis.workbench.golden import settings_changed

FEWEST_PAIRS = 16


class EncoderRefused(Exception):
    """It can't be started or used so; the text is a sentence for the person."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a person decides; the rest of the recipe is ours."""

    epochs: float = 2.0
    learning_rate: float = 2e-5
    from_documents: int = 1000
    """At most so many pairs come from the documents themselves."""


def base_folder() -> Path:
    """The encoder that is tuned. Raises `EncoderRefused` where the installation's own isn't used."""
    if settings.ENCODER_FOLDER:
        return Path(settings.ENCODER_FOLDER)
    if settings.EMBEDDING_MODEL != ENCODER_NAME:
        raise EncoderRefused(
            Sentence(
                gettext_noop(
                    "Vectors come from %(model)s, which is not the shipped encoder. Name its "
                    "sentence-transformers folder with PRAXIS_ENCODER to tune it."
                ),
                {"model": settings.EMBEDDING_MODEL},
            )
        )
    try:
        return encoder_folder()
    except WeightsMissing as error:
        raise EncoderRefused(str(error)) from error


def recipe_of(choices: Choices, files: RunFiles, base: Path) -> EncoderRecipe:
    """Raises `ValueError` with a sentence for a value out of range."""
    return EncoderRecipe(
        base=str(base),
        pairs=str(files.directory / "pairs.jsonl"),
        passages=str(files.directory / "passages.jsonl"),
        output_dir=str(files.output),
        epochs=choices.epochs,
        learning_rate=choices.learning_rate,
        threads=settings.TUNING_THREADS,
    )


def files_of(encoder: Encoder) -> RunFiles:
    return RunFiles(Path(settings.VAR_DIR) / "tuning" / f"encoder-{encoder.pk}")


def encoders_directory() -> Path:
    return Path(settings.VAR_DIR) / "encoders"


def directory_of(encoder: Encoder) -> Path:
    return encoders_directory() / encoder.served_name


def launch(*, principal: Principal, name: str, choices: Choices) -> Encoder:
    """An encoder to be trained, and its job. Raises `EncoderRefused`."""
    base = base_folder()
    try:
        recipe_of(choices, RunFiles(Path()), base)
    except ValueError as error:
        raise EncoderRefused(str(error)) from error
    try:
        with transaction.atomic():
            encoder = Encoder.objects.create(
                workspace=principal.workspace,
                name=name,
                recipe=asdict(choices),
                base=settings.EMBEDDING_MODEL,
                created_by=principal.user,
            )
            encoder.job = enqueue(
                kind="tuning.encoder",
                workspace=principal.workspace,
                payload={"encoder": str(encoder.pk), "role": principal.role.value},
                created_by=principal.user,
            )
            encoder.save(update_fields=["job"])
            record(principal, "encoder.start", encoder)
    except IntegrityError as error:
        raise EncoderRefused(
            _("An encoder named %(name)s exists already; choose another name.") % {"name": name}
        ) from error
    return encoder


def place(target: Path, trained: Path) -> str:
    """Copy what the trainer wrote to where the model server reads encoders; the manifest's hash.

    `target`: a folder of `encoders_directory`. Safe to repeat after a death at any point. Raises
    `EncoderRefused`.
    """
    if not target.exists():
        verified(trained)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".part-{target.name}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(trained, part)
        os.rename(part, target)
    verified(target)
    return sha256_of(target / MANIFEST_NAME)


def verified(folder: Path) -> None:
    try:
        check_encoder(folder)
    except NotAnEncoder as error:
        raise EncoderRefused(
            Sentence(
                gettext_noop("The encoder's files are not what the trainer wrote: %(reason)s."),
                {"reason": str(error)},
            )
        ) from error
    width = read_manifest(folder).get("dimension")
    expected = vector_space.width()
    if width != expected:
        raise EncoderRefused(
            Sentence(
                gettext_noop(
                    "The encoder gives vectors of %(width)s numbers; the index holds %(expected)s."
                ),
                {"width": width, "expected": expected},
            )
        )


def search_with(*, principal: Principal, encoder: Encoder | None) -> Encoder | None:
    """Let the workspace's search go over to the encoder (None: the shipped one).

    At once if it has all vectors; else a job makes them beside, and goes over at its end. Raises
    `EncoderRefused`.
    """
    workspace = principal.workspace
    if encoder is not None:
        _check_usable(encoder)
    before = index.encoder_in_use(workspace.pk)
    if encoder == before:
        return encoder
    with transaction.atomic():
        ready = encoder is None or encoder.state == Encoder.State.INDEXED
        if ready and index.switch(workspace, encoder, by=principal.user):
            record(principal, "encoder.promote", encoder, previous=str(before.pk if before else ""))
            gone_over = True
        else:
            assert encoder is not None
            encoder.indexing = enqueue(
                kind="tuning.reindex",
                workspace=workspace,
                payload={"encoder": str(encoder.pk)},
                created_by=principal.user,
            )
            encoder.save(update_fields=["indexing"])
            record(principal, "encoder.index", encoder)
            gone_over = False
    if gone_over:
        index.forget_unused(workspace.pk)
        settings_changed(workspace, by=principal.user)
    return encoder


def _check_usable(encoder: Encoder) -> None:
    if encoder.state == Encoder.State.TRAINING:
        raise EncoderRefused(_("The encoder is not trained yet."))
    if encoder.state == Encoder.State.RETIRED:
        raise EncoderRefused(
            _("The encoder %(name)s is retired; choose another one.") % {"name": encoder.name}
        )
    if encoder.base != settings.EMBEDDING_MODEL:
        raise EncoderRefused(
            _("It was tuned from %(base)s, but vectors come from %(model)s now; train another one.")
            % {"base": encoder.base, "model": settings.EMBEDDING_MODEL}
        )
    if encoder.indexing is not None and not encoder.indexing.is_finished:
        raise EncoderRefused(
            _("Its vectors are being made already; search goes over to it when they are done.")
        )
    verified(directory_of(encoder))
    if sha256_of(directory_of(encoder) / MANIFEST_NAME) != encoder.sha256:
        raise EncoderRefused(
            _("The manifest of %(name)s is not the one that was registered.")
            % {"name": encoder.name}
        )


def go_back(*, principal: Principal) -> Encoder | None:
    """Undo the newest change of the search's encoder."""
    switched = index.last_switch(principal.workspace.pk)
    if switched is None:
        raise EncoderRefused(
            _("Search never used another encoder than the shipped one, so there is no way back.")
        )
    return search_with(principal=principal, encoder=switched.previous)


def retire(*, principal: Principal, encoder: Encoder) -> None:
    """Delete the encoder's vectors for good; its figures are kept. Raises `EncoderRefused`."""
    if index.encoder_in_use(principal.workspace.pk) == encoder:
        raise EncoderRefused(
            _("Search uses the encoder %(name)s; go over to another one first.")
            % {"name": encoder.name}
        )
    for job in (encoder.job, encoder.indexing):
        if job is not None and not job.is_finished:
            try:
                request_cancel(job)
            except NotAllowedNow:
                continue
    with transaction.atomic():
        locked = Encoder.objects.select_for_update().get(pk=encoder.pk)
        if index.encoder_in_use(principal.workspace.pk) == locked:
            raise EncoderRefused(_("Search went over to this encoder in the meantime."))
        locked.state = Encoder.State.RETIRED
        locked.save(update_fields=["state"])
        TunedVector.objects.filter(encoder=locked).delete()
        record(principal, "encoder.retire", locked)
    shutil.rmtree(directory_of(encoder), ignore_errors=True)


def to_dict(encoder: Encoder, *, in_use: Encoder | None) -> dict[str, Any]:
    """Reads the jobs and the workspace."""
    jobs = {"job": encoder.job, "indexing": encoder.indexing}
    return {
        "id": str(encoder.pk),
        "name": encoder.name,
        "served_name": encoder.served_name,
        "state": encoder.state,
        "in_use": encoder == in_use,
        "base": encoder.base,
        "recipe": encoder.recipe,
        "pairs": encoder.pairs,
        "result": encoder.result,
        "sha256": encoder.sha256 or None,
        **{name: job.to_dict() if job else None for name, job in jobs.items()},
        "created_at": encoder.created_at.isoformat(),
    }
