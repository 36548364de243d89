"""Ranks diseases by the likelihood ratio of a person's findings; own implementation.

After Robinson et al., "Interpretable Clinical Genomics with a Likelihood Ratio Paradigm", American
Journal of Human Genetics 107(3), 2020 (LIRICAL), phenotypes only. Every finding t contributes
log P(t | disease) - log P(t) to a disease's score:

* the disease is annotated with t or something below it: P(t | disease) is the highest frequency
  of those annotations;
* only a broader or related annotation, meeting t at their common ancestor m (below the root): the patient has
  something of m's kind, and it is t with probability P(t) / P(m), times RELATED because the link is
  weaker. Then the ratio is RELATED * frequency / P(m): rarer common ancestors count more;
* nothing related: the finding is unexplained and has the ratio UNEXPLAINED;
* t was looked for and is absent: log (1 - P(t | disease)) - log (1 - P(t));
* t was never mentioned: exactly 0.

Legend of the array suffixes: D diseases (OMIM's, then the curated common conditions), T terms,
F findings of a case.
"""

import functools
import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apps.medical import ontology as ontology_module
from apps.medical.common_conditions import CONDITIONS, DIAGNOSES
from apps.medical.ontology import UNKNOWN_FREQUENCY, Annotations, Ontology

RELATED = 0.3
UNEXPLAINED = 0.15
RARE_SHARE = 0.1
"""Prior probability that the disease is one of OMIM's, shared evenly among them."""
NEAR = 0.1
"""A common condition is credited for a related finding only through a kind rarer than this."""
COINCIDENCE = 0.002
"""P(t | common condition) of a finding that only rare diseases are known for."""
OUT_OF_RANGE = 0.05
"""Prior factor of a common condition outside its usual ages."""
ABSENT_CAP = 0.9
"""The highest P(t | disease) that an absent finding may speak against."""
ABSENT_UNKNOWN = 0.3
"""P(t | disease) for an absent finding whose frequency no source gives."""
FOR_OR_AGAINST = 0.1
"""Findings whose log ratio is nearer to 0 than this are neutral."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Column:
    """Diseases that show a term or something below it, with the highest frequency."""

    diseases: NDArray[np.int32]
    frequency: Floats
    known: NDArray[np.bool_]
    """Whether the frequency comes from a source (else UNKNOWN_FREQUENCY was taken)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known about a person. Terms are positions in the ontology's arrays."""

    present: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    age_years: float | None = None
    sex: str = ""
    """"female", "male" or "" (unknown)."""

    @property
    def size(self) -> int:
        return len(self.present) + len(self.absent)


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """One finding's part in a disease's score."""

    term: int
    present: bool
    log_ratio: float

    @property
    def direction(self) -> str:
        if self.log_ratio > FOR_OR_AGAINST:
            return "for"
        return "against" if self.log_ratio < -FOR_OR_AGAINST else "neutral"


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Scores of all diseases for one case."""

    case: Case
    terms: tuple[int, ...]
    """Present then absent findings, those implied by a more specific one left out."""
    num_present: int
    ratios_FD: Floats
    """Natural-log likelihood ratios."""
    prior_D: Floats
    score_D: Floats
    posterior_D: Floats
    order: NDArray[np.intp]
    """The best diseases first, ties by position."""

    def contributions(self, disease: int) -> list[Contribution]:
        return [
            Contribution(
                term=term,
                present=row < self.num_present,
                log_ratio=float(self.ratios_FD[row, disease]),
            )
            for row, term in enumerate(self.terms)
        ]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A finding worth asking for."""

    term: int
    information_bits: float
    """Expected reduction of the differential's entropy."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnowledgeBase:
    """All diseases with the frequencies of their findings; see `load`."""

    ontology: Ontology
    ids: tuple[str, ...]
    """[D]"""
    names: tuple[str, ...]
    num_rare: int
    """The first `num_rare` diseases are OMIM's; the others are the common conditions."""
    columns: tuple[Column, ...]
    """[T]"""
    background_T: Floats
    """P(t) in a person who consults for anything."""
    common_T: Floats
    """P(t) in a person with one of the common conditions."""
    profiles: tuple[NDArray[np.int32], ...]
    """[D] the annotated terms of each disease."""
    profile_frequency: tuple[Floats, ...]
    index: Mapping[str, int] = field(repr=False)

    @property
    def num_diseases(self) -> int:
        return len(self.ids)

    def is_common(self, disease: int) -> bool:
        return disease >= self.num_rare


_lock = threading.Lock()
_loaded: KnowledgeBase | None = None


def load() -> KnowledgeBase:
    """The knowledge base; thread-safe, built once per process (about 3 s at first use)."""
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = build(*ontology_module.load())
        return _loaded


def build(ontology: Ontology, annotations: Annotations) -> KnowledgeBase:
    by_name = {name: position for position, name in enumerate(ontology.names)}
    num_rare = len(annotations.ids)
    extra = [
        (num_rare + row, by_name[term], frequency)
        for row, condition in enumerate(CONDITIONS)
        for term, frequency in condition.findings.items()
    ]
    diseases, terms, frequencies = (np.array(column) for column in zip(*extra, strict=True))
    disease = np.concatenate([annotations.disease, diseases]).astype(np.int32)
    term = np.concatenate([annotations.term, terms]).astype(np.int32)
    frequency = np.concatenate([annotations.frequency, frequencies]).astype(np.float32)
    num_diseases = num_rare + len(CONDITIONS)
    columns = _columns(ontology, disease, term, frequency)
    background_T, common_T = _background(columns, num_rare)
    starts = np.searchsorted(disease, np.arange(num_diseases + 1))
    ids = annotations.ids + tuple(f"COMMON:{condition.slug}" for condition in CONDITIONS)
    return KnowledgeBase(
        ontology=ontology,
        ids=ids,
        names=annotations.names + tuple(condition.name for condition in CONDITIONS),
        num_rare=num_rare,
        columns=columns,
        background_T=background_T,
        common_T=common_T,
        profiles=tuple(term[a:b] for a, b in itertools.pairwise(starts)),
        profile_frequency=tuple(
            np.nan_to_num(frequency[a:b], nan=UNKNOWN_FREQUENCY)
            for a, b in itertools.pairwise(starts)
        ),
        index={identifier: row for row, identifier in enumerate(ids)},
    )


def _columns(
    ontology: Ontology, disease: NDArray[np.int32], term: NDArray[np.int32], frequency: Floats
) -> tuple[Column, ...]:
    """Every annotation also counts for its term's ancestors; the highest frequency stands."""
    counts = np.array([len(a) for a in ontology.ancestors])
    flat = np.concatenate(ontology.ancestors)
    starts = np.concatenate([[0], np.cumsum(counts)])
    lengths = counts[term]
    rows = np.repeat(np.arange(len(term)), lengths)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    above = flat[starts[term[rows]] + offsets]
    known = ~np.isnan(frequency)
    value = np.where(known, frequency, UNKNOWN_FREQUENCY)
    # The last of equal (term, disease) keys, sorted by value, is the highest.
    by_value = np.argsort(value[rows], kind="stable")
    key = above.astype(np.int64) * (int(disease.max()) + 1) + disease[rows]
    order = by_value[np.argsort(key[by_value], kind="stable")]
    rows, above = rows[order], above[order]
    owner = disease[rows]
    last = np.append((above[1:] != above[:-1]) | (owner[1:] != owner[:-1]), True)
    rows, above, owner = rows[last], above[last], owner[last]
    bounds = np.searchsorted(above, np.arange(len(ontology.names) + 1))
    return tuple(
        Column(owner[a:b], value[rows[a:b]].astype(np.float32), known[rows[a:b]])
        for a, b in itertools.pairwise(bounds)
    )


def _background(columns: Sequence[Column], num_rare: int) -> tuple[Floats, Floats]:
    """[T] P(t) among all (half rare, half common by weight; never 0) and among the common ones."""
    weights = np.array([condition.weight for condition in CONDITIONS])
    weights = weights / weights.sum()
    rare_T = np.zeros(len(columns))
    common_T = np.zeros(len(columns))
    for position, column in enumerate(columns):
        rare = column.diseases < num_rare
        rare_T[position] = column.frequency[rare].sum() / num_rare
        common_T[position] = weights[column.diseases[~rare] - num_rare] @ column.frequency[~rare]
    background_T = np.clip(0.5 * rare_T + 0.5 * common_T, 0.5 / num_rare, 0.999)
    return background_T.astype(np.float32), common_T.astype(np.float32)


@functools.lru_cache(maxsize=512)
def observed_ratio(base: KnowledgeBase, term: int) -> Floats:
    """[D] log likelihood ratio of the finding being present. Cached: don't change it in place."""
    ratio_D = np.full(base.num_diseases, np.log(UNEXPLAINED), dtype=np.float32)
    by_chance = max(UNEXPLAINED * float(base.common_T[term]), COINCIDENCE)
    unexplained = min(by_chance / float(base.background_T[term]), UNEXPLAINED)
    ratio_D[base.num_rare :] = np.log(unexplained)
    for ancestor in base.ontology.ancestors[term]:
        if ancestor == base.ontology.root:
            continue
        column = base.columns[ancestor]
        kind = float(base.background_T[ancestor])
        # A frequency of 0 (excluded by the source) explains nothing.
        value = np.log(np.maximum(column.frequency, 1e-4)) - np.log(kind)
        if ancestor != term:
            value += np.log(RELATED)
            if kind > NEAR:
                value[column.diseases >= base.num_rare] = -np.inf
        ratio_D[column.diseases] = np.maximum(ratio_D[column.diseases], value)
    return ratio_D


def absent_ratio(base: KnowledgeBase, term: int) -> Floats:
    """[D] log likelihood ratio of the finding being looked for and absent."""
    column = base.columns[term]
    probability_D = np.full(base.num_diseases, 0.0, dtype=np.float32)
    probability_D[column.diseases] = np.where(
        column.known, np.minimum(column.frequency, ABSENT_CAP), ABSENT_UNKNOWN
    )
    background = min(float(base.background_T[term]), 0.5)
    return (np.log1p(-probability_D) - np.log1p(-background)).astype(np.float32)


def profile_ratios(
    base: KnowledgeBase,
    terms: Sequence[int],
    num_present: int,
    profile: NDArray[np.int32],
    frequency: Floats,
) -> Floats:
    """[F] what `rank` would give a rare disease that had this profile instead of its own.

    `frequency` is NaN where no source gives one. Measures what the knowledge base is worth without
    some of its annotations.
    """
    known = ~np.isnan(frequency)
    value = np.where(known, frequency, UNKNOWN_FREQUENCY)
    under: dict[int, tuple[float, bool]] = {}
    for row, own in enumerate(profile):
        for ancestor in base.ontology.ancestors[own]:
            best = under.get(int(ancestor), (-1.0, False))
            under[int(ancestor)] = max(best, (float(value[row]), bool(known[row])))
    ratios = np.empty(len(terms), dtype=np.float32)
    for row, term in enumerate(terms):
        if row < num_present:
            best_ratio = np.log(UNEXPLAINED)
            for ancestor in base.ontology.ancestors[term]:
                if int(ancestor) in under and ancestor != base.ontology.root:
                    shared = -np.log(base.background_T[ancestor])
                    shared += 0.0 if ancestor == term else np.log(RELATED)
                    found = np.log(max(under[int(ancestor)][0], 1e-4)) + shared
                    best_ratio = max(best_ratio, found)
            ratios[row] = best_ratio
        else:
            share, is_known = under.get(term, (0.0, True))
            share = min(share, ABSENT_CAP) if is_known else ABSENT_UNKNOWN
            background = min(float(base.background_T[term]), 0.5)
            ratios[row] = np.log1p(-share) - np.log1p(-background)
    return ratios


def prior(base: KnowledgeBase, case: Case, *, rare_share: float = RARE_SHARE) -> Floats:
    """[D] log prior: rare diseases alike, common ones by weight, fit to sex and age."""
    weights = np.array([condition.weight for condition in CONDITIONS])
    for row, condition in enumerate(CONDITIONS):
        if condition.sex and case.sex and condition.sex != case.sex:
            weights[row] *= 1e-6
        youngest, oldest = condition.ages
        if case.age_years is not None and not youngest <= case.age_years <= oldest + 1:
            weights[row] *= OUT_OF_RANGE
    rare = np.full(base.num_rare, max(rare_share, 1e-12) / base.num_rare)
    common = max(1 - rare_share, 1e-12) * weights / weights.sum()
    return np.log(np.concatenate([rare, common])).astype(np.float32)


def rank(base: KnowledgeBase, case: Case, *, rare_share: float = RARE_SHARE) -> Ranking:
    """`rare_share=1` ranks OMIM's diseases as if nothing else existed."""
    present = base.ontology.most_specific(case.present)
    absent = tuple(dict.fromkeys(case.absent))
    rows = [observed_ratio(base, term) for term in present]
    rows += [absent_ratio(base, term) for term in absent]
    ratios_FD = np.stack(rows) if rows else np.zeros((0, base.num_diseases), dtype=np.float32)
    return from_ratios(
        case=case,
        terms=(*present, *absent),
        num_present=len(present),
        ratios_FD=ratios_FD,
        prior_D=prior(base, case, rare_share=rare_share),
    )


def from_ratios(
    *,
    case: Case,
    terms: tuple[int, ...],
    num_present: int,
    ratios_FD: Floats,
    prior_D: Floats,
) -> Ranking:
    score_D = prior_D + ratios_FD.sum(axis=0)
    posterior_D = np.exp(score_D - score_D.max())
    return Ranking(
        case=case,
        terms=terms,
        num_present=num_present,
        ratios_FD=ratios_FD,
        prior_D=prior_D,
        score_D=score_D,
        posterior_D=posterior_D / posterior_D.sum(),
        order=np.argsort(-score_D, kind="stable"),
    )


def next_questions(
    base: KnowledgeBase,
    ranking: Ranking,
    *,
    asked_before: Collection[int] = (),
    candidates: int = 20,
    limit: int = 3,
) -> list[Question]:
    """Findings not yet discussed whose answer is expected to narrow the differential most."""
    top = ranking.order[:candidates]
    # Flattened: the raw posterior is over-confident, and a certain differential has no question.
    weight = ranking.posterior_D[top].astype(np.float64) ** 0.5
    weight /= weight.sum()
    discussed = set(ranking.terms) | set(asked_before)
    implied = {int(a) for term in ranking.case.present for a in base.ontology.ancestors[term]}
    asked = sorted({int(term) for disease in top for term in base.profiles[disease]})
    asked = [
        term
        for term in asked
        if term not in implied
        and not any(base.ontology.is_within(term, absent) for absent in ranking.case.absent)
        and term not in discussed
        and base.ontology.names[term] not in DIAGNOSES
    ]
    if not asked:
        return []
    probability = np.stack([_presence(base, term)[top] for term in asked]).astype(np.float64)
    yes = probability @ weight
    gain = _entropy(weight) - (
        yes * _entropy(probability * weight / yes[:, None])
        + (1 - yes) * _entropy((1 - probability) * weight / (1 - yes)[:, None])
    )
    best = np.argsort(-gain, kind="stable")[:limit]
    return [Question(term=asked[i], information_bits=float(gain[i])) for i in best]


def _presence(base: KnowledgeBase, term: int) -> Floats:
    """[D] P(t | disease), with the background where the disease says nothing."""
    column = base.columns[term]
    value = np.full(base.num_diseases, base.background_T[term] * 0.5, dtype=np.float32)
    value[column.diseases] = np.maximum(column.frequency, value[column.diseases])
    return np.clip(value, 1e-4, 0.98)


def _entropy(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """In bits, over the last axis."""
    safe = np.clip(weights, 1e-12, 1.0)
    return -(safe * np.log2(safe)).sum(axis=-1)


def typical_unmentioned(
    base: KnowledgeBase, ranking: Ranking, disease: int, *, limit: int = 5
) -> list[tuple[int, float]]:
    """Frequent findings of the disease that were not discussed: they counted for exactly nothing."""
    discussed = {int(a) for term in ranking.terms for a in base.ontology.ancestors[term]} | set(
        ranking.terms
    )
    terms, frequency = base.profiles[disease], base.profile_frequency[disease]
    best = np.argsort(-frequency, kind="stable")
    return [(int(terms[i]), float(frequency[i])) for i in best if int(terms[i]) not in discussed][
        :limit
    ]
