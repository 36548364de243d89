"""How sure the model was of a slot, and whether that is as often right as it says."""

import random

import pytest

from modeling.state_tracking.confidence import (
    FITTED,
    Score,
    expected_calibration_error,
    fit,
    scores_by_slot,
)
from modeling.state_tracking.format import IntentText, ServiceText, SlotText

TABLES = ServiceText(
    description="Reserve tables",
    slots=(
        SlotText(name="city", description="City"),
        SlotText(name="price", description="Price", values=("cheap", "dear")),
    ),
    intents=(IntentText(name="find", description="Find"),),
)


def test_each_line_has_the_score_of_its_tokens() -> None:
    tokens = [("A", -1.0), ("\n", -0.1), ("a", -0.2), ("=", -0.3), ("San", -0.4), (" José", -0.5)]
    tokens += [("\nb", -0.6), ("=", -0.7), ("cheap", -0.8), ("\n?", -5.0), ("a", -5.0)]
    scores = scores_by_slot(TABLES, tokens)
    assert scores.keys() == {"city", "price"}
    assert scores["city"].slot == pytest.approx(-0.6)
    assert scores["city"].value == pytest.approx(-0.9)
    assert scores["price"].slot == pytest.approx(-1.3)
    assert scores["price"].value == pytest.approx(-0.8)


def test_a_surer_model_and_agreement_mean_more() -> None:
    sure, unsure = Score(slot=-0.01, value=-0.01), Score(slot=-0.7, value=-0.7)
    for agreement in ("agrees", "silent", "differs"):
        assert FITTED.probability(sure, agreement) > FITTED.probability(unsure, agreement)
    by_case = [FITTED.probability(unsure, case) for case in ("differs", "silent", "agrees")]
    assert by_case == sorted(by_case)


def test_a_value_without_tokens_and_an_impossible_one_have_a_score() -> None:
    for value in (0.0, -1e9):
        assert 0 < FITTED.probability(Score(slot=value, value=value), "silent") < 1


def test_the_fit_finds_how_often_such_values_are_right() -> None:
    chance = random.Random(3)
    rows = [
        (Score(slot=slot, value=-0.1), "silent", chance.random() < share)
        for slot, share in ((-0.05, 0.95), (-1.0, 0.4))
        for _row in range(2000)
    ]
    fitted = fit(rows)  # type: ignore[arg-type]
    assert fitted.probability(Score(slot=-0.05, value=-0.1), "silent") == pytest.approx(
        0.95, abs=0.02
    )
    assert fitted.probability(Score(slot=-1.0, value=-0.1), "silent") == pytest.approx(
        0.4, abs=0.04
    )


def test_the_calibration_error_is_the_distance_of_confidence_and_share() -> None:
    right = [(0.9, index < 9) for index in range(10)]
    assert expected_calibration_error(right, bins=1) == pytest.approx(0.0)
    assert expected_calibration_error([(0.9, False)] * 10, bins=2) == pytest.approx(0.9)
    assert expected_calibration_error([]) is None
