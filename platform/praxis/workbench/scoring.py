"""How well a ranking meets what was expected of it: nDCG, recall, reciprocal rank."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol
from uuid import UUID

DEPTH = 100
"""Passages of a ranking that are looked at."""
SAME_PASSAGE = 0.5
"""Share of a quote's word triples that a passage holds when it is that passage."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
_Triples = set[tuple[str, ...]]


class Ranked(Protocol):
    @property
    def document_id(self) -> UUID: ...
    @property
    def text(self) -> str: ...


class Expected(Protocol):
    @property
    def document_id(self) -> UUID: ...
    @property
    def quote(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of one question; all from 0 to 1."""

    ndcg10: float
    recall10: float
    recall50: float
    mrr: float
    """1 / place of the first that was expected."""
    places: tuple[int | None, ...]
    """From 1, of each that was expected; None beyond `DEPTH`."""

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


FIGURES = ("ndcg10", "recall10", "recall50", "mrr")


def score(ranking: Sequence[Ranked], expected: Sequence[Expected]) -> Score:
    """`ranking` best first; `expected` must not be empty.

    Where whole documents alone are expected, places count documents (a document's place is that of
    its best passage), else passages.
    """
    items = ranking
    if not any(each.quote for each in expected):
        best: dict[UUID, Ranked] = {}
        for passage in ranking:
            best.setdefault(passage.document_id, passage)
        items = list(best.values())
    places = tuple(_place(items[:DEPTH], each) for each in expected)
    found = [place for place in places if place is not None]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(expected), 10) + 1))
    gained = sum(1 / math.log2(place + 1) for place in found if place <= 10)
    return Score(
        # Two quotes may stand in one passage, which then counts for both.
        ndcg10=min(1.0, gained / ideal),
        recall10=sum(place <= 10 for place in found) / len(expected),
        recall50=sum(place <= 50 for place in found) / len(expected),
        mrr=1 / min(found) if found else 0.0,
        places=places,
    )


def mean(scores: Iterable[Score]) -> dict[str, float]:
    """Of each figure over the questions; empty without any."""
    listed = list(scores)
    if not listed:
        return {}
    return {
        name: round(sum(getattr(each, name) for each in listed) / len(listed), 4)
        for name in FIGURES
    }


def meets(passage: Ranked, expected: Expected) -> bool:
    return passage.document_id == expected.document_id and holds(passage.text, expected.quote)


def holds(text: str, quote: str) -> bool:
    """Whether the text is the quoted passage, also when it begins or ends elsewhere."""
    wanted = _triples(quote)
    return not wanted or len(wanted & _triples(text)) >= SAME_PASSAGE * len(wanted)


def _place(items: Sequence[Ranked], expected: Expected) -> int | None:
    return next((place for place, passage in enumerate(items, 1) if meets(passage, expected)), None)


def _triples(text: str) -> _Triples:
    words = [word.lower() for word in _WORD.findall(text)]
    if len(words) < 3:
        return {tuple(words)} if words else set()
    return set(zip(words, words[1:], words[2:], strict=False))
