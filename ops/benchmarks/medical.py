"""Ranking and confidence on published rare-disease cases (`medical/phenopackets_<split>.jsonl.xz`).

Findings are the cases' observed HPO terms; a case whose disease is not in the knowledge base is a
miss. `strict_*`: the older release whose annotations name their sources (`sourced_*` is the same
without the removal), and the true disease loses every annotation taken from the case's own article.
`joint_*`:
the curated common conditions compete, as they do in the product, and the confidence is measured
there too. Nothing is fitted on these cases.
"""

import argparse
import json
import lzma
import random
from typing import Any

import numpy as np

from apps.medical import confidence, differential, supplement
from apps.medical.differential import Case, KnowledgeBase, Ranking
from apps.medical.ontology import pooled_frequencies, sourced_annotations
from apps.medical.train_confidence import interval_coverage
from modeling.uncertainty.mc_dropout import expected_calibration_error

DEFAULT_LIMIT = 300


def run(args: argparse.Namespace) -> dict[str, Any]:
    path = args.data / "medical" / f"phenopackets_{args.split}.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["obs"] and row["dx"].startswith("OMIM:")]
    sample = random.Random(args.seed).sample(rows, min(args.limit or DEFAULT_LIMIT, len(rows)))
    base = differential.load()
    extra = supplement.load()
    sourced_base = differential.build(base.ontology, sourced_annotations(base.ontology, extra))
    rare, sourced, strict, joint = [], [], [], []
    means, lows, highs, hits, listed, listed_hits = [], [], [], [], [], []
    for row in sample:
        case = case_of(base, row)
        truth = base.index.get(row["dx"], -1)
        alone = differential.rank(base, case, rare_share=1.0)
        rare.append(rank_of(alone.score_D[: base.num_rare], truth))
        old_truth = sourced_base.index.get(row["dx"], -1)
        old = differential.rank(sourced_base, case, rare_share=1.0)
        sourced.append(rank_of(old.score_D[: sourced_base.num_rare], old_truth))
        without = strict_scores(sourced_base, extra, old, old_truth, row)
        strict.append(rank_of(without, old_truth))
        together = differential.rank(base, case)
        joint.append(rank_of(together.score_D, truth))
        assessment = confidence.assess(base, together, shown=5, seed=args.seed)
        means.append(assessment.interval.mean_N[0])
        lows.append(assessment.interval.low_N[0])
        highs.append(assessment.interval.high_N[0])
        hits.append(assessment.diseases[0] == truth)
        listed.append(assessment.list_mean)
        listed_hits.append(truth in assessment.diseases[:5])
    mean, hit = np.array(means), np.array(hits)
    return {
        "n": len(sample),
        "covered": round(float(np.mean([row["dx"] in base.index for row in sample])), 4),
        **top("", rare),
        **top("sourced_", sourced),
        **top("strict_", strict),
        **top("joint_", joint),
        "ece": round(expected_calibration_error(mean, hit), 4),
        "mean_confidence": round(float(mean.mean()), 4),
        "auroc": round(auroc(mean, hit), 4),
        "interval_coverage": interval_coverage(mean, np.array(lows), np.array(highs), hit),
        "interval_width": round(float(np.mean(np.array(highs) - np.array(lows))), 4),
        "list_ece": round(expected_calibration_error(np.array(listed), np.array(listed_hits)), 4),
        "hpo_release": base.ontology.release,
    }


def case_of(base: KnowledgeBase, row: dict[str, Any]) -> Case:
    def positions(terms: list[str]) -> tuple[int, ...]:
        found = (base.ontology.position(term) for term in terms)
        return tuple(position for position in found if position is not None)

    sex = str(row.get("sex") or "").lower()
    return Case(present=positions(row["obs"]), sex=sex if sex in {"female", "male"} else "")


def rank_of(score_D: np.ndarray, truth: int) -> int:
    """1 is best; a disease that is not in the base has no rank (a very large one)."""
    return int((score_D > score_D[truth]).sum()) + 1 if truth >= 0 else 10**6


def strict_scores(
    base: KnowledgeBase,
    extra: supplement.Supplement,
    ranking: Ranking,
    truth: int,
    row: dict[str, Any],
) -> np.ndarray:
    """All scores, with the true disease scored from what other articles say of it."""
    score_D = ranking.score_D[: base.num_rare].copy()
    if truth < 0:
        return score_D
    disease = int(row["dx"].removeprefix("OMIM:"))
    pmids = [int(p.removeprefix("PMID:")) for p in row["pmid"]]
    own = extra.disease == disease
    part = supplement.Supplement(
        release=extra.release,
        synonyms={},
        disease=extra.disease[own],
        term=extra.term[own],
        observed=extra.observed[own],
        examined=extra.examined[own],
        pmid=extra.pmid[own],
    )
    left = pooled_frequencies(part, without_pmids=pmids)
    kept = [
        (int(term), left[disease, number])
        for term in base.profiles[truth]
        if (disease, number := int(base.ontology.numbers[term])) in left
    ]
    ratios = differential.profile_ratios(
        base,
        ranking.terms,
        ranking.num_present,
        np.array([term for term, _ in kept], dtype=np.int32),
        np.array([frequency for _, frequency in kept], dtype=np.float32),
    )
    score_D[truth] = ranking.prior_D[truth] + ratios.sum() if kept else -np.inf
    return score_D


def top(prefix: str, ranks: list[int]) -> dict[str, float]:
    values = np.array(ranks)
    return {f"{prefix}top{k}": round(float((values <= k).mean()), 4) for k in (1, 3, 10, 20)}


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a right case has a higher confidence than a wrong one."""
    if positive.all() or not positive.any():
        return float("nan")
    right, wrong = scores[positive], scores[~positive]
    higher = (right[:, None] > wrong[None]).mean() + 0.5 * (right[:, None] == wrong[None]).mean()
    return float(higher)
