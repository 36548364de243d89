"""How sure a slot's value is: from the model's own log-probabilities and from a second tracker.

A line `b=moderate` has two parts that may be wrong: that the slot was written at all, and its value.
Their log-probabilities, and whether a second, deterministic tracker read the same, go into a logistic
regression (Platt scaling, 1999, with two scores and three cases). It was fitted on half of the
development dialogues; the other half measures it (`ops/bench.py dst`, figure `slot_ece`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modeling.state_tracking.format import ServiceText, slot_keys

Agreement = Literal["agrees", "silent", "differs"]
"""What the second tracker read for the slot: the same value, nothing, another value."""
AGREEMENTS: tuple[Agreement, ...] = ("agrees", "silent", "differs")
LEAST_LOG = -12.0


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one written line."""

    slot: float
    """Log-probability of naming the slot, the line break before it included."""
    value: float
    """Log-probability of the value's tokens together."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    slot: float
    value: float
    agrees: float
    silent: float
    differs: float

    def probability(self, score: Score, agreement: Agreement) -> float:
        """That the value is right, from 0 to 1."""
        weighted = sum(
            weight * feature
            for weight, feature in zip(
                (self.slot, self.value, self.agrees, self.silent, self.differs),
                features(score, agreement),
                strict=True,
            )
        )
        return 1 / (1 + math.exp(-weighted))


FITTED = Calibration(slot=0.827, value=0.272, agrees=-0.041, silent=-0.258, differs=-1.462)
"""`ops/bench.py dst --part fitted --limit 120` prints these weights: 1,110 values, 94 % of them right,
that praxis-135m (Q8_0, llama.cpp) wrote in 120 of the development dialogues."""


def features(score: Score, agreement: Agreement) -> tuple[float, ...]:
    """What the regression weighs: the log-odds of slot and value, and the case of agreement."""
    return (
        _log_odds(score.slot),
        _log_odds(score.value),
        *(float(agreement == case) for case in AGREEMENTS),
    )


def scores_by_slot(service: ServiceText, tokens: Iterable[tuple[str, float]]) -> dict[str, Score]:
    """The score of each `slot=value` line in the model's answer, by the slot's name.

    A token counts for the line that its first character other than a line break is in; the line break
    itself, which decides that there is one more line, for the line that it begins.
    """
    names = {key: name for name, key in slot_keys(service).items()}
    lines: list[tuple[str, float, float]] = [("", 0.0, 0.0)]
    for token, log_probability in tokens:
        *_before, last = token.split("\n")
        if "\n" in token:
            lines.append(("", 0.0, 0.0))
        text, slot, value = lines[-1]
        if "=" in text:
            value += log_probability
        else:
            slot += log_probability
        lines[-1] = (text + last, slot, value)
    return {
        names[key]: Score(slot=slot, value=value)
        for text, slot, value in lines
        if (key := text.partition("=")[0]) in names and "=" in text
    }


def fit(rows: Sequence[tuple[Score, Agreement, bool]], *, decay: float = 0.3) -> Calibration:
    """The calibration of maximum likelihood with a small pull of the weights towards zero.

    `rows`: score, agreement and whether the value was right. Another value of the second tracker can't
    speak more for the model's than none does; where the rows say so by chance, the two are one case.
    """
    fitted = _fit(rows, decay)
    if fitted.differs <= fitted.silent:
        return fitted
    fitted = _fit(
        [(score, "silent" if said == "differs" else said, right) for score, said, right in rows],
        decay,
    )
    return replace(fitted, differs=fitted.silent)


def _fit(rows: Sequence[tuple[Score, Agreement, bool]], decay: float) -> Calibration:
    inputs = np.array([features(score, said) for score, said, _right in rows])
    targets = np.array([float(right) for *_inputs, right in rows])
    weights = np.zeros(inputs.shape[1])
    for _step in range(25):  # of Newton's method, which needs fewer
        predicted = 1 / (1 + np.exp(-inputs @ weights))
        gradient = inputs.T @ (predicted - targets) + decay * weights
        curvature = (inputs.T * (predicted * (1 - predicted))) @ inputs
        weights -= np.linalg.solve(curvature + decay * np.eye(len(weights)), gradient)
    slot, value, *cases = (round(float(weight), 3) for weight in weights)
    return Calibration(slot=slot, value=value, **dict(zip(AGREEMENTS, cases, strict=True)))


def expected_calibration_error(
    outcomes: Sequence[tuple[float, bool]], *, bins: int = 10
) -> float | None:
    """The mean distance of confidence and share of right ones, from 0 to 1, over bins of equal count.

    `outcomes`: confidence and whether it was right; None without any. Nine values of ten are above 0.9,
    so bins of equal width (Guo et al., arXiv 1706.04599) would hold single values and measure chance;
    with equal counts (Nguyen and O'Connor, arXiv 1508.05154) each bin tells as much.
    """
    if not outcomes:
        return None
    ordered = sorted(outcomes, key=lambda outcome: outcome[0])
    total = 0.0
    for part in np.array_split(np.arange(len(ordered)), bins):
        inside = [ordered[index] for index in part]
        if inside:
            sure = sum(confidence for confidence, _right in inside) / len(inside)
            right = sum(right for _confidence, right in inside) / len(inside)
            total += len(inside) / len(ordered) * abs(sure - right)
    return total


def _log_odds(log_probability: float) -> float:
    """Of a probability given as its logarithm, within bounds at which a float still tells."""
    bounded = min(max(log_probability, LEAST_LOG), -1e-5)
    return bounded - math.log(-math.expm1(bounded))
