"""A base small enough to train in a second, data sets, and a run ready to be worked on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from modeling.training.tests.conftest import conversation, model_dir
from modeling.weights.manifest import MANIFEST_NAME, sha256_of, write_manifest
from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.assistants import registry
from praxis.assistants.contract import Assistant, Chain, Done, Event, Proposal, Token, Turn
from praxis.jobs.models import Job
from praxis.knowledge.models import Encoder
from praxis.tuning import encoders
from praxis.tuning.datasets import store_upload
from praxis.tuning.models import DatasetVersion, TuningRun
from praxis.tuning.runs import Choices, launch
from tests.fakes import ModelServer

__all__ = ["model_dir"]

SLUG = "tuned-assistant"


def jsonl(lines: list[Any]) -> ContentFile:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    return ContentFile(text.encode(), name="data.jsonl")


@pytest.fixture(autouse=True)
def _var(tmp_path: Path, settings: Any, model_dir: Path) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.MEDIA_ROOT = tmp_path / "var" / "files"
    settings.TRAINING_BASE = str(model_dir)
    settings.TUNING_THREADS = 1


@pytest.fixture(autouse=True)
def assistant(monkeypatch: pytest.MonkeyPatch) -> Assistant:
    """An assistant whose one chain lets the model answer."""

    def propose(turn: Turn) -> Proposal:
        def speak() -> Iterator[Event]:
            question = [{"role": "user", "content": turn.text}]
            for piece in turn.model.stream(question, max_tokens=50):
                yield Token(text=piece)

        return Proposal(confidence=0.9, basis="a test", speak=speak)

    declared = Assistant(
        slug=SLUG,
        title="Tuned assistant",
        tagline="Answers from its adapter.",
        notice="A test.",
        instructions="Be brief.",
        suggestions=(),
        chains=(Chain(name="model", propose=propose, deterministic=False),),
        abstain=lambda turn: iter([Done(outcome="abstained")]),
    )
    monkeypatch.setitem(registry._assistants, SLUG, declared)
    monkeypatch.setitem(registry._app_labels, SLUG, "tuning")
    return declared


@pytest.fixture
def principal(admin: User, principal_of: Callable[..., Principal]) -> Principal:
    return principal_of(admin)


@pytest.fixture
def version(principal: Principal) -> DatasetVersion:
    """Forty short conversations, all usable."""
    lines = [conversation(seed, turns=1 + seed % 3) for seed in range(40)]
    return store_upload(principal=principal, name="shop talk", file=jsonl(lines))


@pytest.fixture
def make_run(principal: Principal, version: DatasetVersion) -> Callable[..., TuningRun]:
    def make(name: str = "refunds", **choices: Any) -> TuningRun:
        values: dict[str, Any] = {
            "steps": 4,
            "rank": 4,
            "alpha": 8,
            "max_tokens": 128,
            "learning_rate": 1e-2,
            "evaluation_share": 0.2,
        }
        return launch(
            principal=principal,
            version=version,
            assistant=SLUG,
            name=name,
            choices=Choices(**{**values, **choices}),
        )

    return make


@pytest.fixture
def job_of() -> Callable[[TuningRun], Job]:
    return lambda run: Job.objects.get(pk=run.job_id)


def make_trained(
    principal: Principal, model_server: ModelServer, settings: Any, name: str
) -> Encoder:
    """As its training leaves an encoder, but for the weights, which only the server needs."""
    encoder = Encoder.objects.create(
        workspace=principal.workspace,
        name=name,
        recipe={},
        base=settings.EMBEDDING_MODEL,
        state=Encoder.State.TRAINED,
        sha256="0" * 64,
    )
    folder = encoders.directory_of(encoder)
    folder.mkdir(parents=True)
    names = ["modules.json", "config.json", "model.safetensors"]
    for file in names:
        (folder / file).write_text(name)
    write_manifest(folder, names, dimension=384)
    encoder.sha256 = sha256_of(folder / MANIFEST_NAME)
    encoder.save()
    model_server.encoders.add(encoder.served_name)
    return encoder
