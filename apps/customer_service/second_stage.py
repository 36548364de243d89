"""The second stage of telling intents apart: an encoder tuned on a workspace's samples, with a softmax.

A job trains it (`job_kinds.py`) on the samples of all published services and on what people put right.
It is used if it was better than the first stage alone on samples that neither had learnt; then the model
server serves its encoder like any other tuned one, and the softmax is computed here. Intents that were
added since it was trained are told by the first stage alone, until it is trained again.
"""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.customer_service.intent_corrections import corrected_intents
from apps.customer_service.intents import IntentIndex, is_foreign, label
from apps.customer_service.models import IntentModel, ServiceDefinition
from modeling.intents.classifier import MOST_SAMPLES
from modeling.intents.finetune_recipe import FEWEST_HELD_OUT, num_held_out
from modeling.intents.head import IntentHead
from praxis.accounts.access import Principal, record
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed
from praxis.jobs.services import enqueue
from praxis.sentences import Sentence
from praxis.tuning.encoders import EncoderRefused, base_folder, encoders_directory
from praxis.tuning.trainer import RunFiles

logger = logging.getLogger(__name__)


class SecondStageRefused(Exception):
    """It can't be started or used so; the text is a sentence for the person."""


@dataclass(frozen=True)
class SecondStage:
    """Safe to share between threads."""

    served_name: str
    head: IntentHead

    def look_again(
        self, text: str, first: Mapping[str, float], named: Callable[[str], str]
    ) -> Mapping[str, float]:
        """Both stages' probabilities, likeliest first; those given where this one can't tell.

        `named` gives an intent of `first` the name that it was learnt by.
        """
        by_name = {named(intent): intent for intent in first}
        if not by_name.keys() <= set(self.head.labels):
            return first
        try:
            [vector] = embed([text], model=self.served_name)
        except ModelUnavailable as error:
            logger.warning("the second stage %s does not answer: %s", self.served_name, error)
            return first
        both = self.head.second_opinion(
            {name: first[intent] for name, intent in by_name.items()},
            np.asarray(vector, dtype=np.float32),
        )
        return {by_name[name]: probability for name, probability in both.items()}


def in_use(workspace_id: str) -> SecondStage | None:
    model = (
        IntentModel.objects.filter(
            workspace_id=workspace_id, in_use=True, base=settings.EMBEDDING_MODEL
        )
        .select_related("workspace")
        .first()
    )
    if model is None:
        return None
    if not directory_of(model).is_dir():
        logger.error("the files of the second stage %s are gone", model.served_name)
        return None
    return SecondStage(model.served_name, _head(directory_of(model)))


@lru_cache(maxsize=32)
def _head(folder: Path) -> IntentHead:
    """The name of a folder is never used again, so it is read once in a process."""
    return IntentHead.load_from(folder)


def samples_of(workspace_id: str) -> list[dict[str, str]]:
    """The texts in the encoder's language with their intents, as `label` names them."""
    rows: list[dict[str, str]] = []
    for definition in ServiceDefinition.objects.published(workspace_id):
        service = definition.service
        corrections = corrected_intents(workspace_id, service.name)
        rows += [
            {"text": sample.text, "intent": label(service.name, sample.intent)}
            for sample in IntentIndex.of(service, corrections).samples
        ]
        rows += [{"text": text, "intent": ""} for text, intent in corrections if not intent]
    return [row for row in rows if not is_foreign(row["text"])][:MOST_SAMPLES]


def launch(*, principal: Principal) -> IntentModel:
    """A second stage to be trained, and its job. Raises `SecondStageRefused`."""
    try:
        base_folder()
    except EncoderRefused as refusal:
        raise SecondStageRefused(str(refusal)) from refusal
    _check_number(samples_of(str(principal.workspace.pk)))
    with transaction.atomic():
        # Two people who start it at once do it one by one.
        models = IntentModel.objects.select_for_update().filter(workspace=principal.workspace)
        untrained = list(models.filter(sha256="").order_by("pk"))
        if any(model.job and not model.job.is_finished for model in untrained):
            raise SecondStageRefused(_("It is being trained already."))
        models.filter(sha256="").delete()
        model = IntentModel.objects.create(
            workspace=principal.workspace,
            base=settings.EMBEDDING_MODEL,
            created_by=principal.user,
        )
        model.job = enqueue(
            kind="service.intents",
            workspace=principal.workspace,
            payload={"model": str(model.pk)},
            created_by=principal.user,
        )
        model.save(update_fields=["job"])
        record(principal, "intents.train", model)
    for gone in untrained:
        shutil.rmtree(files_of(gone).directory, ignore_errors=True)
    return model


def _check_number(samples: Sequence[Mapping[str, str]]) -> None:
    """The trainer asks for as many; its refusal would come later and be English."""
    of_intent = Counter(row["intent"] for row in samples if row["intent"])
    found = sum(num_held_out(count) for count in of_intent.values())
    if found < FEWEST_HELD_OUT:
        raise SecondStageRefused(
            Sentence(
                gettext_noop(
                    "There are too few samples in English: a fifth of each intent's is kept apart to "
                    "judge by, which makes %(found)d here, and %(needed)d are needed. Give the "
                    "intents of the services in use more samples."
                ),
                {"found": found, "needed": FEWEST_HELD_OUT},
            )
        )


def use(*, principal: Principal, model: IntentModel | None) -> None:
    """Let it decide from the next message on; None: the first stage alone. Raises
    `SecondStageRefused`."""
    if model is not None:
        _check_usable(model)
    with transaction.atomic():
        IntentModel.switch(principal.workspace, model)
        record(principal, "intents.use", model or principal.workspace)


def _check_usable(model: IntentModel) -> None:
    if not model.sha256:
        raise SecondStageRefused(_("It is not trained yet."))
    if not model.fits:
        raise SecondStageRefused(
            _("It was tuned from %(base)s, but vectors come from %(model)s now; train another one.")
            % {"base": model.base, "model": settings.EMBEDDING_MODEL}
        )
    if not directory_of(model).is_dir():
        raise SecondStageRefused(_("Its files are gone; train another one."))


def event_data(model: IntentModel) -> dict[str, Any]:
    """What every webhook of its training holds. Reads the workspace."""
    return {"name": model.name, "encoder": model.served_name}


def to_dict(model: IntentModel) -> dict[str, Any]:
    """As REST tells it. Reads the job and the workspace."""
    return {
        "id": str(model.pk),
        "served_name": model.served_name,
        "state": model.state,
        "in_use": model.in_use,
        "better": model.was_better if model.sha256 else None,
        "base": model.base,
        "result": model.result,
        "sha256": model.sha256 or None,
        "job": model.job.to_dict() if model.job else None,
        "created_at": model.created_at.isoformat(),
    }


def files_of(model: IntentModel) -> RunFiles:
    return RunFiles(Path(settings.VAR_DIR) / "tuning" / f"intents-{model.pk}")


def directory_of(model: IntentModel) -> Path:
    return encoders_directory() / model.served_name


def forget_all_but(kept: int, workspace_id: str) -> None:
    """Delete the older trained ones with their files, never the one in use."""
    trained = IntentModel.objects.filter(workspace_id=workspace_id).exclude(sha256="")
    for model in trained.select_related("workspace").order_by("-created_at", "pk")[kept:]:
        if not model.in_use:
            shutil.rmtree(directory_of(model), ignore_errors=True)
            shutil.rmtree(files_of(model).directory, ignore_errors=True)
            model.delete()


def write_samples(path: Path, workspace_id: str) -> None:
    """Raises `SecondStageRefused` where they have become too few."""
    rows = samples_of(workspace_id)
    _check_number(rows)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
