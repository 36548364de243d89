"""Train the confidence head on simulated cases and write its weights and card.

Run by `manage.py train_medical_confidence`; the same seed gives the same weights.
"""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from apps.medical import confidence, differential, simulation
from modeling.uncertainty import mc_dropout
from modeling.uncertainty.mc_dropout import HeadConfig

TEST_SEED_OFFSET = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Figures:
    """On simulated cases that training did not see."""

    cases: int
    top1: float
    top10: float
    ece: float
    mean_confidence: float
    interval_coverage: float


def train(*, cases: int, test_cases: int, seed: int, target: Path) -> Figures:
    base = differential.load()
    features, labels = simulation.training_set(base, cases=cases, seed=seed)
    config = HeadConfig(num_features=len(confidence.FEATURES), seed=seed)
    head = mc_dropout.fit(config, features, labels)
    mc_dropout.save(head, target)
    figures = measure(head, cases=test_cases, seed=seed + TEST_SEED_OFFSET)
    write_card(target.with_suffix(".md"), figures, cases=cases, seed=seed, config=config)
    return figures


def measure(head: mc_dropout.Head, *, cases: int, seed: int) -> Figures:
    base = differential.load()
    mean, low, high, correct, listed = [], [], [], [], []
    for simulated in simulation.simulate(base, cases=cases, seed=seed):
        order = simulated.ranking.order[: confidence.CANDIDATES]
        assessment = confidence.assess(base, simulated.ranking, shown=5, head=head)
        mean.append(assessment.interval.mean_N[0])
        low.append(assessment.interval.low_N[0])
        high.append(assessment.interval.high_N[0])
        correct.append(order[0] == simulated.truth)
        listed.append(bool((order == simulated.truth).any()))
    means, hits = np.array(mean), np.array(correct)
    return Figures(
        cases=cases,
        top1=float(hits.mean()),
        top10=float(np.mean(listed)),
        ece=mc_dropout.expected_calibration_error(means, hits),
        mean_confidence=float(means.mean()),
        interval_coverage=interval_coverage(means, np.array(low), np.array(high), hits),
    )


def interval_coverage(
    mean_N: np.ndarray, low_N: np.ndarray, high_N: np.ndarray, correct_N: np.ndarray
) -> float:
    """Share of cases in tenths (by confidence) whose accuracy lies in the tenth's mean interval.

    A single case is right or wrong, so an interval of a probability can only be checked on groups.
    """
    order = np.argsort(mean_N, kind="stable")
    covered = 0
    for group in np.array_split(order, 10):
        if len(group) and low_N[group].mean() <= correct_N[group].mean() <= high_N[group].mean():
            covered += len(group)
    return covered / len(order)


def write_card(path: Path, figures: Figures, *, cases: int, seed: int, config: HeadConfig) -> None:
    base = differential.load()
    path.write_text(
        f"""# Confidence head

A two-layer perceptron ({config.hidden} hidden units, dropout {config.dropout}) that turns features of
the differential into the probability that a candidate is the right one. `apps/medical/confidence.py`
names the features and says how the interval is made.

- Made by: `manage.py train_medical_confidence --cases {cases} --test-cases {figures.cases} --seed {seed}`
- Date: {date.today().isoformat()}
- Data: {cases} simulated cases (`apps/medical/simulation.py`) drawn from HPO {base.ontology.release}
  annotations (frequencies of {base.ontology.supplement_release}) and the curated common conditions.
  No published or real cases were used.
- On {figures.cases} other simulated cases: top-1 {figures.top1:.3f}, top-10 {figures.top10:.3f},
  mean confidence {figures.mean_confidence:.3f}, calibration error (15 bins) {figures.ece:.3f},
  interval coverage over tenths {figures.interval_coverage:.2f}.
- Limits: simulated people are not patients. On published rare-disease cases see the bench `medical`.
""",
        encoding="utf-8",
    )
