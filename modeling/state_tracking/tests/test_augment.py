"""What augmentation may change, and what must stay true after it."""

import random

import pytest

from modeling.state_tracking import augment
from modeling.state_tracking.augment import NONE, Augmentation, Sources, sample
from modeling.state_tracking.format import ServiceText, apply, read_change
from modeling.state_tracking.scoring import Scores
from modeling.state_tracking.sgd import Track, service_text, tracks

NAMES = "Bern Basel Geneva Zurich Lugano Chur Thun Sion Aarau".split()


def schema(words: str) -> dict[str, object]:
    return {
        "service_name": "Tables_1",
        "description": f"{words} restaurants",
        "slots": [
            {
                "name": "city",
                "description": f"{words} city",
                "is_categorical": False,
                "possible_values": [],
            },
            {
                "name": "price",
                "description": f"{words} price",
                "is_categorical": True,
                "possible_values": ["cheap", "dear"],
            },
            {
                "name": "phone",
                "description": f"{words} phone",
                "is_categorical": False,
                "possible_values": [],
            },
        ],
        "intents": [{"name": "find", "description": f"{words} find"}],
    }


def row(city: str) -> dict[str, object]:
    return {
        "i": f"1_{city}",
        "s": ["Tables_1"],
        "t": [
            [f"A place in {city}.", {"0": ["find", [], {"city": city}]}],
            "Which price range?",
            ["Nothing dear.", {"0": ["find", ["phone"], {"price": "cheap"}]}],
            "Zeughaus has a table.",
            ["Thanks, bye.", {"0": ["NONE", [], {}]}],
        ],
    }


@pytest.fixture
def every() -> list[Track]:
    return [track for name in NAMES for track in tracks(row(name))]


@pytest.fixture
def sources(every: list[Track]) -> Sources:
    files = {
        name: {"Tables_1": service_text(schema(words))}
        for name, words in (
            ("train/schema.json", "the"),
            ("sgd_x/data/v1/train/schema.json", "which"),
        )
    }
    return Sources.of(files, every)


def final_state(made: augment.Sample, service: ServiceText) -> dict[str, str]:
    state: dict[str, str] = {}
    for message in made.messages:
        if message["role"] == "assistant":
            state = apply(state, read_change(service, message["content"]))
    return state


def test_without_augmentation_the_dialogue_is_as_it_is(
    every: list[Track], sources: Sources
) -> None:
    made = sample(every[0], sources, NONE, random.Random(0))
    assert made.messages[0]["content"].splitlines()[1] == "a: the city"
    assert [m["content"] for m in made.messages if m["role"] == "assistant"] == [
        "A\na=Bern",
        "A\nb=cheap\n?c",
        "-",
    ]
    assert made.weights == [1, 1, 1]


def test_descriptions_come_from_the_paraphrases(every: list[Track], sources: Sources) -> None:
    made = sample(every[0], sources, augment.replace(NONE, paraphrase=1.0), random.Random(0))
    assert "a: which city" in made.messages[0]["content"]


def test_renaming_changes_text_and_state_alike(every: list[Track], sources: Sources) -> None:
    for seed in range(20):
        made = sample(every[0], sources, augment.replace(NONE, rename=1.0), random.Random(seed))
        value = made.messages[2]["content"].removeprefix("A\na=")
        assert value in made.messages[1]["content"]


def test_a_corrupted_line_is_not_learnt_and_is_repaired(
    every: list[Track], sources: Sources
) -> None:
    seen = 0
    service = sources.schemas["Tables_1"]
    for seed in range(60):
        made = sample(every[0], sources, augment.replace(NONE, corrupt=1.0), random.Random(seed))
        if made.weights[:1] == [0]:
            seen += 1
            assert final_state(made, service) == {"city": "Bern", "price": "cheap"}
    assert seen > 3


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rename must be from 0 to 1; got 1.5"):
        Augmentation(rename=1.5)


def test_scores_count_frames_by_the_datas_own_rules(every: list[Track], sources: Sources) -> None:
    service = sources.schemas["Tables_1"]
    scores = Scores(seen_services=frozenset({"Tables_1"}), similarity=lambda a, b: 0.5)
    first, second, _ = every[0].steps
    scores.add(every[0], first, service, {"city": "Bern"}, first.change)
    scores.add(every[0], second, service, {"city": "Chur", "price": "cheap"}, second.change)
    summary = scores.summary()
    assert summary["frames"] == 2
    assert summary["jga"] == 50.0
    # 1 for the right frame as it is, 0.5 for each of the two free values.
    assert summary["jga_fuzzy"] == 50.0
    assert summary["jga_unseen"] is None
    assert summary["requested_f1"] == 100.0
