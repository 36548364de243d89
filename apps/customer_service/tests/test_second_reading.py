"""What the embedding may add to the rules, and what the model may choose between."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from apps.customer_service.intents import IntentIndex, choose_intent, rank
from apps.customer_service.meaning import nearest_value
from apps.customer_service.simulation import SERVICE, RunningShop, Talk, running_shop
from apps.customer_service.values import Found, choices_of

REASON = SERVICE.slot("reason")
CHOICES = choices_of(REASON)


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningShop]:
    with running_shop() as shop:
        yield shop


def nothing_near(texts: Sequence[str]) -> list[list[float]]:
    return [[0.0, 0.0] for _text in texts]


def near(title: str) -> Callable[[Sequence[str]], list[list[float]]]:
    """An encoder for which the message and one title mean the same, and all else is different."""

    def embed(texts: Sequence[str]) -> list[list[float]]:
        return [
            [1.0, 0.0] if n == 0 or text == title else [0.0, 1.0] for n, text in enumerate(texts)
        ]

    return embed


def test_the_nearest_value_is_found_and_is_not_sure() -> None:
    found = nearest_value(REASON, "it leaks", CHOICES, near("Damaged or faulty"))
    assert found is not None
    assert (found.value, found.confidence < 0.6) == ("damaged", True)


def test_what_is_near_to_no_value_is_none() -> None:
    assert nearest_value(REASON, "it leaks", CHOICES, nothing_near) is None


def test_what_it_finds_is_read_back_before_it_is_used(shop: RunningShop) -> None:
    def read_more(slot: object, text: str, choices: object) -> list[Found]:
        found = nearest_value(REASON, text, CHOICES, near("Damaged or faulty"))
        return [found] if found else []

    talk = Talk(shop.endpoint, read_more=read_more)
    talk.say("I want to return something HP-10426 fatima@example.com")
    answer = talk.say("there is a hole in the glass")
    assert answer == "Did I get this right: Reason is Damaged or faulty?"
    assert "Why do you want to return it?" in talk.say("no")
    talk.say("there is a hole in the glass")
    assert "refund or an exchange" in talk.say("yes")


def test_the_model_chooses_only_between_close_intents() -> None:
    asked: list[Sequence[Mapping[str, str]]] = []

    def complete(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
        asked.append(messages)
        return json.dumps({"intent": schema["properties"]["intent"]["enum"][0]})

    samples = IntentIndex.of(SERVICE).samples

    def embed(texts: Sequence[str]) -> list[list[float]]:
        """Every sample has something of its own; what is said has all that two intents share."""
        vectors = []
        for text in texts:
            shared = {sample.intent for sample in samples if sample.text == text}
            shared = shared or {"order_status", "return_item"}
            vectors.append(
                [float(intent.name in shared) for intent in SERVICE.intents]
                + [float(sample.text == text) for sample in samples]
            )
        return vectors

    def choose(text: str, names: Sequence[str]) -> str:
        return choose_intent(text, [SERVICE.intent(name) for name in names], complete=complete)

    ranking = rank(IntentIndex.of(SERVICE), "hmm", embed=embed, choose=choose)
    assert ranking.decided in ("order_status", "return_item")
    assert not ranking.strong
    assert len(asked) == 1


def answering(text: str) -> Callable[..., str]:
    return lambda messages, schema: text


@pytest.mark.parametrize("answer", ['{"intent": "none"}', '{"intent": "delete_all"}', "[1]", "{"])
def test_a_pick_that_is_none_of_them_is_no_pick(answer: str) -> None:
    assert choose_intent("x", SERVICE.intents, complete=answering(answer)) == ""


def by_axes(**axes: int) -> Callable[[Sequence[str]], list[list[float]]]:
    """An encoder that tells texts apart by the words that they hold."""

    def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors = []
        for text in texts:
            vector = [0.05] * (len(axes) + 1)
            for word, axis in axes.items():
                vector[axis] += float(word in text.lower())
            vectors.append(vector)
        return vectors

    return embed


def test_what_people_put_right_is_learnt_and_only_new_texts_are_embedded() -> None:
    encode = by_axes(order=0, address=1, return_=2, refund=3)
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        asked.extend(texts)
        return encode(texts)

    index = IntentIndex.of(SERVICE)
    text = "my crate went walkabout"
    assert rank(index, text, embed=embed).decided == ""
    asked.clear()
    taught = index.corrected(SERVICE, [(text, "order_status"), ("gone", "no_such_intent")])
    assert rank(taught, text, embed=embed).decided == "order_status"
    assert asked == [text, text]
    assert taught.corrected(SERVICE, taught.corrections) is taught


def test_what_people_call_none_of_these_is_out_of_scope() -> None:
    embed = by_axes(order=0, address=1, return_=2, refund=3)
    text = "where is my order of ideas"
    index = IntentIndex.of(SERVICE)
    before = rank(index, text, embed=embed)
    after = rank(index.corrected(SERVICE, [(text, "")]), text, embed=embed)
    assert before.decided == "order_status"
    assert before.confidence is not None
    assert after.decided == ""
