"""The model that adapters are trained on, and its tokenizer."""

import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from modeling.training.chat import ChatTokenizer
from modeling.weights import assemble
from modeling.weights.manifest import MANIFEST_NAME
from praxis.local.processes import kill_session, start_process, wait_until


def models_directory() -> Path:
    return Path(settings.VAR_DIR) / "models"


def embedded_base() -> str | None:
    """The model that the embedded server serves; None, its default, where LLM_MODEL isn't one."""
    models = models_directory()
    return settings.LLM_MODEL if settings.LLM_MODEL in assemble.model_names(models) else None


def base_directory() -> Path:
    """Where the Hugging Face form of the base lies once it is prepared."""
    return Path(
        settings.TRAINING_BASE or assemble.training_folder(models_directory(), embedded_base())
    )


def is_mixture() -> bool:
    """Whether the base has routed experts that an adapter could change."""
    if not settings.TRAINING_BASE:
        return assemble.is_mixture(models_directory(), embedded_base())
    config = base_directory() / "config.json"
    return config.is_file() and bool(json.loads(config.read_text("utf-8")).get("n_routed_experts"))


def prepare_training_base(check: Callable[[], None]) -> Path:
    """The base as a Hugging Face folder; made at the first call, which takes half a minute.

    That happens in a child, whose memory goes with it. What `check` raises ends the child.
    Raises `WeightsMissing` when the packages that carry the weights aren't installed.
    """
    folder = base_directory()
    if settings.TRAINING_BASE:
        return folder
    base = embedded_base()
    if not (folder / MANIFEST_NAME).is_file():
        models = models_directory()
        models.mkdir(parents=True, exist_ok=True)
        with (models / "prepare.log").open("ab") as log:
            process = start_process(
                [
                    *(sys.executable, "-m", "modeling.weights.assemble"),
                    *("--models-dir", str(models), "--training"),
                    *(("--model", base) if base else ()),
                ],
                stdout=log,
                cwd=settings.BASE_DIR,
            )
        try:
            while not wait_until(lambda: process.poll() is not None, timeout_seconds=1):
                check()
        finally:
            kill_session(process.pid)
            process.wait()
    # Verifies every file; where the child failed, this does its work and raises what it met.
    return assemble.training_base(models_directory(), base=base)


def ready_tokenizer() -> ChatTokenizer | None:
    """The base's tokenizer and chat template, or None where the base isn't prepared yet."""
    folder = base_directory()
    return tokenizer_of(folder) if (folder / "tokenizer.json").is_file() else None


@lru_cache(maxsize=2)
def tokenizer_of(folder: Path) -> ChatTokenizer:
    return ChatTokenizer.load(folder)
