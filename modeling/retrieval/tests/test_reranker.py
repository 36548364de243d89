"""The shipped reranker on the shipped encoder's words."""

import numpy as np
import pytest

from modeling.retrieval.reranker import WordReranker, told_apart
from modeling.weights.assemble import encoder_folder

pytestmark = pytest.mark.weights

PASSAGES = [
    "Parcels travel two working days inside the country.",
    "The price of a lamp includes the tax.",
    "Unopened goods may be returned within thirty days.",
]


@pytest.fixture(scope="module")
def reranker() -> WordReranker:
    return WordReranker(encoder_folder())


def order(reranker: WordReranker, question: str, passages: list[str]) -> list[int]:
    scores, _num_tokens = reranker.score(question, passages)
    assert scores.shape == (len(passages),) and scores.dtype == np.float32
    assert (scores >= 0).all() and (scores <= 1).all()
    return [int(place) for place in np.argsort(-scores)]


def test_other_words_for_the_same_thing_meet(reranker: WordReranker) -> None:
    assert order(reranker, "How much does a light cost?", PASSAGES)[0] == 1
    assert order(reranker, "How long does the package travel?", PASSAGES)[0] == 0


def test_what_every_passage_holds_decides_nothing(reranker: WordReranker) -> None:
    passages = [f"{text} Kettle kettle." for text in PASSAGES]
    passages[2] = passages[2].replace(" Kettle kettle.", " The kettle and its warranty.")
    assert order(reranker, "warranty kettle", passages)[0] == 2


def test_asking_words_alone_find_nothing(reranker: WordReranker) -> None:
    scores, num_tokens = reranker.score("What is it?", ["What is it?", "It is."])
    assert scores.tolist() == [0, 0] and num_tokens > 0
    assert reranker.score("warranty", [])[0].shape == (0,)


def test_chinese_signs_count(reranker: WordReranker) -> None:
    assert order(reranker, "三天", ["两天", "三天"]) == [1, 0]


def test_vectors_lose_what_all_share() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((500, 16)).astype(np.float32)
    told = told_apart(vectors + 9)
    assert np.allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    assert abs(told.mean()) < 0.05
