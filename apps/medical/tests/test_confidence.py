"""The confidence: reproducible, ordered, calibrated on simulated people."""

import numpy as np
import pytest

from apps.medical import confidence, differential, simulation, train_confidence
from apps.medical.confidence import Assessment
from apps.medical.differential import Case, KnowledgeBase


@pytest.fixture(scope="module")
def base() -> KnowledgeBase:
    return differential.load()


def assessed(base: KnowledgeBase, *names: str, seed: int = 0) -> Assessment:
    case = Case(present=tuple(base.ontology.names.index(name) for name in names))
    return confidence.assess(base, differential.rank(base, case), shown=5, seed=seed)


MARFAN = ("Tall stature", "Arachnodactyly", "Ectopia lentis", "Aortic root aneurysm")


def test_the_same_seed_gives_the_same_interval(base: KnowledgeBase) -> None:
    first, second = assessed(base, *MARFAN, seed=3), assessed(base, *MARFAN, seed=3)
    assert np.array_equal(first.interval.low_N, second.interval.low_N)
    other = assessed(base, *MARFAN, seed=4)
    assert not np.array_equal(first.interval.low_N, other.interval.low_N)


def test_the_interval_encloses_the_mean_and_the_list_adds_up(base: KnowledgeBase) -> None:
    assessment = assessed(base, *MARFAN)
    interval = assessment.interval
    assert (interval.low_N <= interval.mean_N + 1e-6).all()
    assert (interval.mean_N <= interval.high_N + 1e-6).all()
    assert assessment.list_mean == pytest.approx(float(interval.mean_N[:5].sum()), abs=1e-4)
    assert 0 < assessment.list_low <= assessment.list_mean <= assessment.list_high <= 1.0001


def test_more_and_more_telling_findings_are_surer(base: KnowledgeBase) -> None:
    vague = assessed(base, "Fatigue").list_mean
    telling = assessed(base, "Dysuria", "Pollakisuria", "Urinary urgency").list_mean
    assert telling > vague + 0.2


def test_at_least_thirty_samples_and_findings_are_dropped_too(base: KnowledgeBase) -> None:
    case = Case(present=tuple(base.ontology.names.index(name) for name in MARFAN))
    masks = confidence.finding_masks(
        differential.rank(base, case), samples=confidence.SAMPLES, seed=0
    )
    assert confidence.SAMPLES >= 30
    assert masks.any(axis=1).all()
    assert not masks.all()


def test_it_is_calibrated_and_ordered_on_people_it_never_saw(base: KnowledgeBase) -> None:
    mean, right = [], []
    for simulated in simulation.simulate(base, cases=250, seed=4242):
        assessment = confidence.assess(base, simulated.ranking, shown=5)
        mean.append(float(assessment.interval.mean_N[0]))
        right.append(assessment.diseases[0] == simulated.truth)
    order = np.argsort(mean)
    thirds = [float(np.array(right)[part].mean()) for part in np.array_split(order, 3)]
    assert thirds == sorted(thirds)
    assert thirds[2] > thirds[0] + 0.3
    assert abs(np.mean(mean) - np.mean(right)) < 0.1


def test_simulated_people_are_the_same_for_the_same_seed(base: KnowledgeBase) -> None:
    first = [s.ranking.case for s in simulation.simulate(base, cases=5, seed=1)]
    assert first == [s.ranking.case for s in simulation.simulate(base, cases=5, seed=1)]
    assert first != [s.ranking.case for s in simulation.simulate(base, cases=5, seed=2)]


def test_the_shipped_weights_are_small_and_have_a_card() -> None:
    assert confidence.HEAD_PATH.stat().st_size < 200_000
    card = confidence.HEAD_PATH.with_suffix(".md").read_text()
    assert "--seed" in card
    assert "calibration error" in card


def test_coverage_is_full_for_honest_and_empty_for_wrong_intervals() -> None:
    right = np.array([True, False] * 50)
    honest = np.full(100, 0.5)
    assert train_confidence.interval_coverage(honest, honest - 0.5, honest + 0.5, right) == 1
    assert train_confidence.interval_coverage(honest, honest * 0, honest * 0, right) == 0
