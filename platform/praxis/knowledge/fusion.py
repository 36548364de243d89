"""Two lists of scores made one."""

from collections.abc import Sequence

RANK_CONSTANT = 60
"""Of reciprocal-rank fusion, as its authors chose it (Cormack, Clarke and Büttcher, SIGIR 2009)."""


def normalised(scores: Sequence[float]) -> list[float]:
    """From 0 for the lowest to 1 for the highest; all equal and above 0 are all 1."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if high == low:
        return [float(high > 0)] * len(scores)
    return [(score - low) / (high - low) for score in scores]


def by_score(weights: Sequence[float], legs: Sequence[Sequence[float]]) -> list[float]:
    """The weighted mean of normalised scores, from 0 to 1; `legs` have one score per candidate."""
    total = sum(weights)
    return [
        sum(weight * score for weight, score in zip(weights, scores, strict=True)) / total
        for scores in zip(*legs, strict=True)
    ]


def by_rank(weights: Sequence[float], legs: Sequence[Sequence[int | None]]) -> list[float]:
    """Weighted reciprocal-rank fusion of ranks from 1; None where a leg didn't bring a candidate.

    Scaled so that the first of every leg has 1.
    """
    best = sum(weights) / (RANK_CONSTANT + 1)
    return [
        sum(
            weight / (RANK_CONSTANT + rank)
            for weight, rank in zip(weights, ranks, strict=True)
            if rank is not None
        )
        / best
        for ranks in zip(*legs, strict=True)
    ]
