"""What the packaged ontology lacks: synonyms, annotation frequencies and their sources.

`hpo3` carries the Human Phenotype Ontology's terms and which disease is annotated with which term,
but no synonyms, no frequencies and no references. This file, made by the management command
`build_hpo_supplement` from the text files of an older release, adds them. See data/README.md.
"""

import json
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).parent / "data" / "hpo_supplement.npz"


@dataclass(frozen=True, kw_only=True)
class Synonym:
    text: str
    lay: bool
    """An exact layperson's synonym by the ontology's own mark."""


@dataclass(frozen=True, kw_only=True)
class Supplement:
    """Annotation rows are parallel arrays: one row per disease, term and reference."""

    release: str
    synonyms: dict[int, tuple[Synonym, ...]]
    disease: NDArray[np.int32]
    term: NDArray[np.int32]
    observed: NDArray[np.float32]
    """How many patients had the finding; NaN where the source gives no figure."""
    examined: NDArray[np.float32]
    pmid: NDArray[np.int32]
    """0 where the source is not a PubMed article."""


def load(path: Path = PATH) -> Supplement:
    with np.load(path, allow_pickle=False) as arrays:
        texts = json.loads(lzma.decompress(arrays["texts"].tobytes()))
        return Supplement(
            release=texts["release"],
            synonyms={
                int(term): tuple(Synonym(text=text, lay=bool(lay)) for text, lay in rows)
                for term, rows in texts["synonyms"].items()
            },
            disease=arrays["disease"],
            term=arrays["term"],
            observed=arrays["observed"].astype(np.float32),
            examined=arrays["examined"].astype(np.float32),
            pmid=arrays["pmid"],
        )


# Midpoints of the ontology's frequency classes, counted as ten patients.
FREQUENCY_CLASSES = {
    "HP:0040280": 1.0,
    "HP:0040281": 0.9,
    "HP:0040282": 0.55,
    "HP:0040283": 0.17,
    "HP:0040284": 0.025,
    "HP:0040285": 0.0,
}
CLASS_PATIENTS = 10


def parse_frequency(text: str) -> tuple[float, float]:
    """(observed, examined) of an annotation's frequency: `7/13`, `12.5%` or a class; NaN if none."""
    if text in FREQUENCY_CLASSES:
        return FREQUENCY_CLASSES[text] * CLASS_PATIENTS, CLASS_PATIENTS
    if "/" in text:
        observed, examined = (float(part) for part in text.split("/"))
        return (observed, examined) if examined else (np.nan, np.nan)
    if text.endswith("%"):
        return float(text[:-1]) / 100 * CLASS_PATIENTS, CLASS_PATIENTS
    return np.nan, np.nan


def build(obo: Path, annotations: Path, target: Path) -> None:
    """Write the supplement from `hp.obo` and `phenotype.hpoa` of one release."""
    release = ""
    synonyms: dict[str, list[tuple[str, int]]] = {}
    term = ""
    for line in obo.read_text(encoding="utf-8").splitlines():
        if line.startswith("data-version:"):
            release = line.rsplit("/", 1)[-1]
        elif line.startswith("id: HP:"):
            term = str(int(line[7:]))
        elif line.startswith("[Typedef]"):
            break
        elif line.startswith('synonym: "'):
            text, _, rest = line[10:].partition('" ')
            # Plural and spelling variants are made by the matcher's own normalisation.
            if rest.startswith(("EXACT", "RELATED", "NARROW")) and "plural_form" not in rest:
                lay = rest.startswith("EXACT layperson")
                synonyms.setdefault(term, []).append((text, int(lay)))
    rows = []
    for line in annotations.read_text(encoding="utf-8").splitlines():
        cells = line.split("\t")
        if not line.startswith("OMIM:") or cells[10] not in {"P", ""}:
            continue
        observed, examined = parse_frequency(cells[7])
        if cells[2] == "NOT":
            observed, examined = 0.0, CLASS_PATIENTS
        pmids = [ref[5:] for ref in cells[4].split(";") if ref.startswith("PMID:")]
        rows.append(
            (
                int(cells[0][5:]),
                int(cells[3][3:]),
                observed,
                examined,
                int(pmids[0]) if pmids else 0,
            )
        )
    table = np.array(sorted(rows), dtype=np.float64)
    texts = json.dumps({"release": release, "synonyms": synonyms}, ensure_ascii=False)
    np.savez_compressed(
        target,
        texts=np.frombuffer(lzma.compress(texts.encode(), preset=9), dtype=np.uint8),
        disease=table[:, 0].astype(np.int32),
        term=table[:, 1].astype(np.int32),
        observed=table[:, 2].astype(np.float32),
        examined=table[:, 3].astype(np.float32),
        pmid=table[:, 4].astype(np.int32),
    )
