"""How sure the differential is: calibrated probabilities with a Monte Carlo dropout interval.

For each of the first candidates a small head turns features of the ranking into the probability
that this candidate is the right one. SAMPLES times, the head's dropout draws another network *and*
every finding is left out with probability FINDING_DROPOUT; the figure shown is the mean of the
samples, the interval their 5 % and 95 % quantiles. A wide interval says: the figure hangs on single
findings, or the head has seen little of the kind.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.medical.differential import FOR_OR_AGAINST, KnowledgeBase, Ranking
from modeling.uncertainty import mc_dropout
from modeling.uncertainty.mc_dropout import Head, Interval

HEAD_PATH = Path(__file__).parent / "data" / "confidence.safetensors"
CANDIDATES = 10
SAMPLES = 40
FINDING_DROPOUT = 0.1
FEATURES = (
    "log posterior",
    "margin to the best other",
    "log ratio per finding",
    "log number of findings",
    "share of findings explained",
    "log rank",
    "common condition",
    "entropy of the differential",
    "strongest log ratio",
    "number of absent findings",
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Calibrated probabilities of the first candidates of a ranking, best first."""

    diseases: tuple[int, ...]
    interval: Interval
    list_mean: float
    """That one of the candidates is right."""
    list_low: float
    list_high: float


@functools.cache
def load_head() -> Head:
    return mc_dropout.load(HEAD_PATH)


def assess(
    base: KnowledgeBase, ranking: Ranking, *, shown: int, seed: int = 0, head: Head | None = None
) -> Assessment:
    """Probabilities of the first CANDIDATES; the `list_*` figures are of the first `shown`.

    The same case and seed give the same figures.
    """
    candidates = ranking.order[:CANDIDATES]
    keep_SF = finding_masks(ranking, samples=SAMPLES, seed=seed)
    features_SNF = features(base, ranking, candidates, keep_SF)
    samples_SN = mc_dropout.probabilities(head or load_head(), features_SNF, seed=seed)
    # The candidates exclude each other: their probabilities can't add up to more than 1.
    samples_SN = samples_SN / np.maximum(samples_SN.sum(axis=1, keepdims=True), 1.0)
    listed_S = samples_SN[:, :shown].sum(axis=1)
    return Assessment(
        diseases=tuple(int(disease) for disease in candidates),
        interval=mc_dropout.interval(samples_SN),
        list_mean=float(listed_S.mean()),
        list_low=float(np.quantile(listed_S, 0.05)),
        list_high=float(np.quantile(listed_S, 0.95)),
    )


def finding_masks(ranking: Ranking, *, samples: int, seed: int) -> NDArray[np.bool_]:
    """[S, F]; at least one finding is kept in every sample."""
    generator = np.random.default_rng(seed + 1)
    num_findings = len(ranking.terms)
    keep_SF = generator.random((samples, num_findings)) >= FINDING_DROPOUT
    empty = ~keep_SF.any(axis=1)
    if num_findings:
        keep_SF[empty, generator.integers(num_findings, size=int(empty.sum()))] = True
    return keep_SF


def features(
    base: KnowledgeBase,
    ranking: Ranking,
    candidates: NDArray[np.intp],
    keep_SF: NDArray[np.bool_],
) -> Floats:
    """[S, N, features] of N candidates when only the kept findings are known."""
    keep = keep_SF.astype(np.float32)
    score_SD = ranking.prior_D + keep @ ranking.ratios_FD
    best_S = score_SD.max(axis=1, keepdims=True)
    weight_SD = np.exp(score_SD - best_S)
    total_S = weight_SD.sum(axis=1, keepdims=True)
    log_total_S = np.log(total_S)
    # Entropy of a softmax: log Z - sum of p * score.
    entropy_S = log_total_S - (weight_SD * (score_SD - best_S)).sum(axis=1, keepdims=True) / total_S
    ratios_FN = ranking.ratios_FD[:, candidates]
    score_SN = score_SD[:, candidates]
    top2 = np.partition(score_SD, -2, axis=1)[:, -2:]
    best_other = np.where(score_SN >= top2[:, 1:], top2[:, :1], top2[:, 1:])
    num_present_S = keep[:, : ranking.num_present].sum(axis=1, keepdims=True)
    num_absent_S = keep[:, ranking.num_present :].sum(axis=1, keepdims=True)
    count_S = np.maximum(keep.sum(axis=1, keepdims=True), 1.0)
    rank_SN = np.stack(
        [(score_SD > score_SN[:, n : n + 1]).sum(axis=1) for n in range(len(candidates))], axis=1
    )
    strongest_SN = np.stack(
        [np.where(row[:, None], ratios_FN, -5.0).max(axis=0, initial=-5.0) for row in keep_SF]
    )
    shape = score_SN.shape
    columns = (
        np.clip(score_SN - best_S - log_total_S, -20, 0),
        np.clip(score_SN - best_other, -20, 20),
        (keep @ ratios_FN) / count_S,
        np.broadcast_to(np.log1p(num_present_S), shape),
        (keep @ (ratios_FN > FOR_OR_AGAINST)) / count_S,
        np.log1p(rank_SN),
        np.broadcast_to((candidates >= base.num_rare)[None], shape),
        np.broadcast_to(entropy_S, shape),
        strongest_SN,
        np.broadcast_to(np.minimum(num_absent_S, 10), shape),
    )
    return np.stack(columns, axis=-1).astype(np.float32)
