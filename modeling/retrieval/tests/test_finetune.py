"""Tuning a tiny encoder: it finds more than before, and a kill changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from modeling.retrieval.finetune import (
    Journal,
    Judgement,
    batches,
    execute,
    judge,
    same_scale,
    train,
)
from modeling.retrieval.finetune_recipe import ENCODER, EncoderRecipe, Pair, write_pairs
from modeling.weights.manifest import verify_manifest

ANSWERS = {
    "how long does the parcel travel": "package delivery within two days",
    "how much is a lamp": "the price for the light paid with tax",
    "may i return goods": "send back unopened within thirty days",
    "is the kettle broken": "warranty repair for two years",
    "cancel order": "before the hour refund paid",
    "what colour": "bulb replace shade",
}


@pytest.fixture
def recipe(tiny_encoder: Path, tmp_path: Path) -> Callable[..., EncoderRecipe]:
    """`recipe("name")`: what to learn by heart, for an output directory of its own."""
    passages = list(ANSWERS.values())
    pairs = [
        Pair(
            query=query,
            positive=passages[number],
            negatives=("the customer order within an hour",),
            origin="golden" if number % 2 else "documents",
            answers=(number,),
            held_out=held_out,
        )
        for number, query in enumerate(ANSWERS)
        for held_out in (False, True)
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    lines = [json.dumps({"id": number, "text": text}) for number, text in enumerate(passages)]
    (tmp_path / "passages.jsonl").write_text("\n".join(lines), "utf-8")

    def make(name: str, **values: float) -> EncoderRecipe:
        return EncoderRecipe(
            base=str(tiny_encoder),
            pairs=str(tmp_path / "pairs.jsonl"),
            passages=str(tmp_path / "passages.jsonl"),
            output_dir=str(tmp_path / name),
            **{"epochs": 3, "batch_size": 3, "learning_rate": 1e-3, "save_every_steps": 2} | values,  # type: ignore[arg-type]
        )

    return make


def weights(recipe: EncoderRecipe) -> dict[str, torch.Tensor]:
    return load_file(recipe.output / ENCODER / "model.safetensors")


def test_it_finds_more_than_before(recipe: Callable[..., EncoderRecipe]) -> None:
    made = recipe("output", epochs=6)
    assert execute(made) == 0
    result = json.loads((made.output / "result.json").read_text("utf-8"))
    assert result["after"]["all"]["ndcg10"] > result["before"]["all"]["ndcg10"]
    assert result["after"].keys() == {"all", "golden", "documents"}
    assert (result["pairs"], result["held_out"], result["steps"]) == (6, 6, 12)
    lines = (made.output / "metrics.jsonl").read_text("utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert len(losses) == 12 and losses[-1] < losses[0]
    manifest = verify_manifest(made.output / ENCODER, ["modules.json", "model.safetensors"])
    assert manifest["dimension"] == 384
    tuned = SentenceTransformer(str(made.output / ENCODER), device="cpu", local_files_only=True)
    cosines = tuned.encode(list(ANSWERS)) @ tuned.encode(list(ANSWERS.values())).T
    assert (cosines.argmax(axis=1) == np.arange(6)).sum() >= 5


def test_a_run_that_was_killed_ends_with_the_same_weights(
    recipe: Callable[..., EncoderRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = recipe("whole"), recipe("broken")
    assert execute(whole) == 0

    class Killed(BaseException):
        pass

    steps = 0

    def die(self: Journal, run: object, rate: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:  # behind the checkpoint of step 2
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "measured", die)
        with pytest.raises(Killed):
            execute(broken)
    asked = iter([False, True])
    # Stopped in order after one more step, which is then in a checkpoint as well.
    assert not train(broken, should_stop=lambda: next(asked), journal=Journal(output=broken.output))
    assert execute(broken) == 0
    ours, theirs = weights(whole), weights(broken)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=0, msg=name)
    first, second = (
        json.loads((made.output / "result.json").read_text("utf-8")) for made in (whole, broken)
    )
    assert first["before"] == second["before"] and first["after"] == second["after"]


def test_a_stopped_run_says_that_it_goes_on(recipe: Callable[..., EncoderRecipe]) -> None:
    made = recipe("output")
    made.output.mkdir()
    (made.output / "CANCEL").touch()
    assert execute(made) == 0
    assert json.loads((made.output / "state.json").read_text("utf-8"))["phase"] == "cancelled"
    assert not (made.output / "result.json").exists()


def test_no_text_stands_twice_in_a_batch() -> None:
    pairs = [
        Pair(query=f"question {number % 4}", positive=f"passage {number % 5}", negatives=("wrong",))
        for number in range(20)
    ]
    pairs.append(Pair(query="another", positive="wrong"))
    made = batches(pairs, size=4, seed=1, epoch=0)
    both = [(pair.query, pair.positive) for batch in made for pair in batch]
    assert sorted(both) == sorted((pair.query, pair.positive) for pair in pairs)
    for batch in made:
        assert len(batch) <= 4
        texts = [text for pair in batch for text in (pair.query, pair.positive)]
        assert len(set(texts)) == len(texts)
        assert all("wrong" not in pair.negatives or "wrong" not in texts for pair in batch)
    assert batches(pairs, size=4, seed=1, epoch=0) == made
    assert batches(pairs, size=4, seed=1, epoch=1) != made


def test_ranks_are_judged_as_ndcg_and_recall() -> None:
    class Axes:
        """A text is the axis that its number names; a query lies between the axes it lists."""

        def encode(self, texts: list[str], **_options: object) -> np.ndarray:
            vectors = np.zeros((len(texts), 30))
            for row, text in enumerate(texts):
                for place, number in enumerate(text.split()):
                    vectors[row, int(number)] = 0.5**place
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    passages = {100 + number: str(number) for number in range(30)}
    pairs = [
        Pair(query="3 4 5", positive="", origin="golden", answers=(103, 105)),
        Pair(query="7", positive="", origin="golden", answers=(129,)),
    ]
    judged = judge(Axes(), pairs, passages)  # type: ignore[arg-type]
    first = (1 + 0.5) / (1 + 1 / np.log2(3))  # at places 1 and 3, of two
    assert judged.figures["golden"]["ndcg10"] == pytest.approx(first / 2, abs=1e-4)
    assert judged.figures["all"]["recall10"] == 0.5


def test_wrong_passages_stay_as_near_as_they_were() -> None:
    before = Judgement(figures={}, background=(0.4, 0.1))
    after = Judgement(figures={}, background=(0.1, 0.2))
    scale, shift = same_scale(before, after)
    assert scale * 0.1 + shift == pytest.approx(0.4)
    assert scale * 0.2 == pytest.approx(0.1)


def test_a_recipe_out_of_range_names_what_is_allowed(recipe: Callable[..., EncoderRecipe]) -> None:
    with pytest.raises(ValueError, match=r"learning_rate must be from 1e-07 to 0\.01, got 1"):
        recipe("output", learning_rate=1.0)
