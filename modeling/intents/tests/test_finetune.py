"""Tuning a tiny encoder on intents: it learns them, says how well, and a kill changes nothing."""

import json
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from modeling.inference.tuned_encoders import check_encoder
from modeling.intents import finetune
from modeling.intents.finetune import execute, held_out, train
from modeling.intents.finetune_recipe import IntentRecipe
from modeling.intents.head import FILE, SURE, IntentHead, of_both
from modeling.retrieval.finetune import Journal
from modeling.retrieval.finetune_recipe import ENCODER
from modeling.retrieval.tests.conftest import tiny_encoder

__all__ = ["tiny_encoder"]

FRAMES = (
    "how much is the {}",
    "may i {}",
    "{} please",
    "does the {} cost",
    "cancel {}",
    "a {} what",
)
WORDS_OF = {
    "delivery": ("parcel", "package", "delivery", "send"),
    "repair": ("broken", "repair", "warranty", "kettle"),
    "look": ("colour", "shade", "bulb", "light"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rates are for six layers of weights that already know the language."""
    monkeypatch.setattr(finetune, "LAYERS_RATE", 3e-3)
    monkeypatch.setattr(finetune, "FEWEST_HELD_OUT", 9)
    monkeypatch.setattr(finetune, "EPOCHS", 6)
    monkeypatch.setattr(finetune, "SAVE_EVERY_STEPS", 4)


@pytest.fixture
def recipe(tiny_encoder: Path, tmp_path: Path) -> Callable[[str], IntentRecipe]:
    rows = [
        {"text": frame.format(word), "intent": intent}
        for intent, words in WORDS_OF.items()
        for word in words
        for frame in FRAMES
    ]
    rows.append({"text": "thirty years", "intent": ""})
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")

    def make(name: str) -> IntentRecipe:
        return IntentRecipe(
            base=str(tiny_encoder), samples=str(path), output_dir=str(tmp_path / name)
        )

    return make


def test_it_tells_the_intents_apart_with_an_encoder_that_can_be_served(
    recipe: Callable[[str], IntentRecipe],
) -> None:
    made = recipe("output")
    assert execute(made) == 0
    check_encoder(made.output / ENCODER)
    head = IntentHead.load_from(made.output / ENCODER)
    assert head.labels == ("delivery", "look", "repair")
    served = SentenceTransformer(str(made.output / ENCODER), device="cpu", local_files_only=True)
    asked = ["the package", "warranty for the kettle", "what shade"]
    vectors = served.encode(asked, normalize_embeddings=True)
    said = head.probabilities(vectors)
    assert [head.labels[place] for place in said.argmax(axis=1)] == ["delivery", "repair", "look"]
    assert said.sum(axis=1) == pytest.approx(1)


def test_both_stages_are_judged_by_the_same_samples_which_neither_has_learnt(
    recipe: Callable[[str], IntentRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[set[int]] = []
    learn = finetune.Run.learn

    def watched(run: finetune.Run, rows: finetune.Rows) -> None:
        if not run.judged:
            learnt.append(set(rows.tolist()))
            assert learnt[-1].isdisjoint(run.held.tolist())
        learn(run, rows)

    monkeypatch.setattr(finetune.Run, "learn", watched)
    made = recipe("output")
    assert execute(made) == 0
    result = json.loads((made.output / "result.json").read_text("utf-8"))
    assert learnt and result["held_out"] == 15 and result["samples"] == 73
    assert result["before"].keys() == result["after"].keys() == {"accuracy", "log_loss"}
    assert result["after"]["log_loss"] <= result["before"]["log_loss"] + 0.1
    lines = (made.output / "metrics.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == result["steps"] == len(lines)


def test_a_run_that_was_stopped_in_either_half_ends_with_the_same_weights(
    recipe: Callable[[str], IntentRecipe],
) -> None:
    whole, broken = recipe("whole"), recipe("broken")
    assert execute(whole) == 0
    broken.output.mkdir()
    journal = Journal(output=broken.output)
    for steps in (3, 11, 2):
        asked = chain([False] * steps, [True])
        assert not train(broken, should_stop=partial(next, asked), journal=journal)
    assert execute(broken) == 0
    ours, theirs = (
        {
            **load_file(made.output / ENCODER / "model.safetensors"),
            **load_file(made.output / ENCODER / FILE),
        }
        for made in (whole, broken)
    )
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("some", [True, False])
def test_too_few_samples_are_refused_with_a_sentence(
    recipe: Callable[[str], IntentRecipe], monkeypatch: pytest.MonkeyPatch, some: bool
) -> None:
    monkeypatch.setattr(finetune, "FEWEST_HELD_OUT", 20)
    made = recipe("output")
    if not some:
        Path(made.samples).write_text("", "utf-8")
    assert execute(made) == 1
    state = json.loads((made.output / "state.json").read_text("utf-8"))
    assert state["code"] == "no_usable_data" and "give each intent more samples" in state["message"]


def test_a_fifth_of_each_label_is_held_out_and_what_has_no_label_is_in_neither() -> None:
    targets = np.array([0] * 10 + [1] * 5 + [-1] * 3)
    held, learnt = held_out(targets, seed=1)
    assert sorted(targets[held]) == [0, 0, 1]
    assert sorted([*held, *learnt]) == list(range(15))


# What both say together ---------------------------------------------------------------------------


def test_the_second_stage_changes_nothing_where_the_first_is_sure() -> None:
    first = np.array([[SURE, 1 - SURE], [0.6, 0.4]])
    both = of_both(first, np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert both[0] == pytest.approx(first[0])
    assert both[1] == pytest.approx([0.3, 0.7])


def test_an_opinion_is_of_the_asked_labels_alone_and_likeliest_first() -> None:
    head = IntentHead(("a", "b", "c"), 9 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    vector = np.array([0, 0, 1], dtype=np.float32)
    both = head.second_opinion({"a": 0.6, "b": 0.4}, vector)
    assert both == pytest.approx({"a": 0.55, "b": 0.45})
    assert list(head.second_opinion({"a": 0.4, "c": 0.6}, vector)) == ["c", "a"]
    with pytest.raises(KeyError, match="not learnt"):
        head.second_opinion({"a": 0.6, "d": 0.4}, vector)
