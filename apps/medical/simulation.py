"""Cases drawn from the annotations, to train and test the confidence head. Seeded.

A case starts from a disease and its findings by frequency. Then it is made as untidy as real
ones: findings become vaguer (an ancestor) or slightly wrong (a sibling), unrelated ones are added,
some are denied, and often part of what the knowledge base says about the disease is taken away, or
all of it (a disease that nobody has described yet). Published cases are not used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.medical import differential
from apps.medical.common_conditions import CONDITIONS
from apps.medical.differential import Case, KnowledgeBase, Ranking

COMMON_SHARE = 0.35
UNKNOWN_DISEASE_SHARE = 0.15
THINNED_SHARE = 0.6
VAGUER = 0.25
SIBLING = 0.12
UNRELATED_PER_FINDING = 0.12
DENIED_MEAN = 1.0
MEAN_FINDINGS = 7.0


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A ranked case; `truth` is the disease it was drawn from, -1 if that is unknown to the base."""

    truth: int
    ranking: Ranking


def simulate(base: KnowledgeBase, *, cases: int, seed: int) -> Iterator[Simulated]:
    generator = np.random.default_rng(seed)
    weights = np.array([condition.weight for condition in CONDITIONS])
    weights = weights / weights.sum()
    children = _children(base)
    parent = {child: above for above, below in children.items() for child in below}
    while cases > 0:
        if generator.random() < COMMON_SHARE:
            disease = base.num_rare + int(generator.choice(len(weights), p=weights))
        else:
            disease = int(generator.integers(base.num_rare))
        present = _draw_findings(base, disease, parent, children, generator)
        if not present:
            continue
        absent = _draw_denied(base, disease, present, generator)
        case = Case(present=tuple(present), absent=tuple(absent))
        ranking = differential.rank(base, case)
        yield _with_worse_knowledge(base, disease, ranking, generator)
        cases -= 1


def _children(base: KnowledgeBase) -> dict[int, list[int]]:
    """Terms by their nearest ancestor (the one with the most ancestors itself)."""
    depth = np.array([len(ancestors) for ancestors in base.ontology.ancestors])
    found: dict[int, list[int]] = {}
    for term, ancestors in enumerate(base.ontology.ancestors):
        if len(others := ancestors[ancestors != term]):
            found.setdefault(int(others[np.argmax(depth[others])]), []).append(term)
    return found


def _draw_findings(
    base: KnowledgeBase,
    disease: int,
    parent: dict[int, int],
    children: dict[int, list[int]],
    generator: np.random.Generator,
) -> list[int]:
    terms, frequency = base.profiles[disease], base.profile_frequency[disease]
    shown = terms[generator.random(len(terms)) < frequency]
    count = 1 + generator.poisson(generator.choice([1.5, 4.0, MEAN_FINDINGS + 3]))
    shown = generator.permutation(shown)[:count]
    found: list[int] = []
    for term in map(int, shown):
        draw = generator.random()
        if draw < VAGUER and len(base.ontology.ancestors[parent.get(term, term)]) > 3:
            term = parent[term]
        elif draw < VAGUER + SIBLING and term in parent:
            term = int(generator.choice(children[parent[term]]))
        found.append(term)
    for _ in range(generator.poisson(UNRELATED_PER_FINDING * max(len(found), 1))):
        other = int(generator.integers(len(base.ids)))
        found.append(int(generator.choice(base.profiles[other])))
    return list(dict.fromkeys(found))


def _draw_denied(
    base: KnowledgeBase, disease: int, present: list[int], generator: np.random.Generator
) -> list[int]:
    own = dict(zip(base.profiles[disease], base.profile_frequency[disease], strict=True))
    implied = {int(a) for term in present for a in base.ontology.ancestors[term]}
    denied = []
    for _ in range(generator.poisson(DENIED_MEAN)):
        # Half of what is asked about belongs to the disease itself.
        source = disease if generator.random() < 0.5 else int(generator.integers(len(base.ids)))
        term = int(generator.choice(base.profiles[source]))
        if term not in implied and generator.random() >= own.get(term, 0.0):
            denied.append(term)
    return denied


def _with_worse_knowledge(
    base: KnowledgeBase, disease: int, ranking: Ranking, generator: np.random.Generator
) -> Simulated:
    if disease >= base.num_rare:
        return Simulated(truth=disease, ranking=ranking)
    ratios_FD, prior_D = ranking.ratios_FD.copy(), ranking.prior_D.copy()
    truth = disease
    if generator.random() < UNKNOWN_DISEASE_SHARE:
        prior_D[disease] = -50.0
        truth = -1
    elif generator.random() < THINNED_SHARE:
        kept = generator.random(len(base.profiles[disease])) < generator.uniform(0.2, 0.9)
        ratios_FD[:, disease] = differential.profile_ratios(
            base,
            ranking.terms,
            ranking.num_present,
            base.profiles[disease][kept],
            base.profile_frequency[disease][kept],
        )
    thinned = differential.from_ratios(
        case=ranking.case,
        terms=ranking.terms,
        num_present=ranking.num_present,
        ratios_FD=ratios_FD,
        prior_D=prior_D,
    )
    return Simulated(truth=truth, ranking=thinned)


def training_set(
    base: KnowledgeBase, *, cases: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and 0/1 labels of every case's first candidates, with findings dropped at random."""
    from apps.medical import confidence

    features, labels = [], []
    for number, simulated in enumerate(simulate(base, cases=cases, seed=seed)):
        ranking = simulated.ranking
        candidates = ranking.order[: confidence.CANDIDATES]
        keep_SF = confidence.finding_masks(ranking, samples=1, seed=seed + number)
        features.append(confidence.features(base, ranking, candidates, keep_SF)[0])
        labels.append((candidates == simulated.truth).astype(np.float32))
    return np.concatenate(features), np.concatenate(labels)
