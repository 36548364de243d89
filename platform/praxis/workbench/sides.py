"""One search of the workbench as its page shows it; two of them stand side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext_lazy

from praxis.accounts.models import Workspace
from praxis.knowledge.search import Found, SearchResult, passage_url, relevance
from praxis.knowledge.search_settings import SearchSettings
from praxis.workbench.models import Expectation, GoldenQuestion
from praxis.workbench.scoring import DEPTH, Score, meets, score

SHOWN = 20

STEPS = {
    "embed": gettext_lazy("vector of the question"),
    "search": gettext_lazy("both legs"),
    "fuse": gettext_lazy("fusion"),
    "rerank": gettext_lazy("reranking"),
    "context": gettext_lazy("context"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A candidate in its place."""

    place: int
    found: Found
    url: str
    relevance: float
    left_out: bool
    """Not relevant enough for the settings, so that no assistant would see it."""
    passage_expected: bool
    document_expected: bool
    other_place: int | None = None
    """Where the other side has it; None when it is not among its candidates."""

    @property
    def moved(self) -> int | None:
        """Places up (above 0) or down against the other side."""
        return None if self.other_place is None else self.other_place - self.place


@dataclass(frozen=True, kw_only=True)
class Step:
    name: str
    milliseconds: float
    start: float
    """In per cent of the whole; `width` likewise."""
    width: float


@dataclass(kw_only=True)
class Side:
    """`key` is `a` or `b`, as the form's fields are prefixed."""

    key: str
    result: SearchResult
    stored: SearchSettings
    rows: list[Row] = field(default_factory=list)
    score: Score | None = None
    """Against the golden set; None when the question is not in it."""

    @property
    def changes(self) -> list[tuple[str, Any]]:
        """The settings that are not as stored."""
        stored = self.stored.to_dict()
        return [
            (name, value)
            for name, value in self.result.explanation.settings.to_dict().items()
            if value != stored[name]
        ]

    @property
    def values(self) -> str:
        """The settings as the forms post them."""
        return json.dumps(self.result.explanation.settings.to_dict())

    @property
    def shown(self) -> list[Row]:
        return self.rows[:SHOWN]

    @property
    def steps(self) -> list[Step]:
        spent = self.result.explanation.milliseconds
        whole = self.total_milliseconds or 1
        steps, start = [], 0.0
        for name, label in STEPS.items():
            if name in spent:
                width = 100 * spent[name] / whole
                steps.append(
                    Step(name=str(label), milliseconds=spent[name], start=start, width=width)
                )
                start += width
        return steps

    @property
    def total_milliseconds(self) -> float:
        return sum(self.result.explanation.milliseconds.values())


def side_of(
    key: str,
    result: SearchResult,
    *,
    stored: SearchSettings,
    workspace: Workspace,
    golden: GoldenQuestion | None,
) -> Side:
    explanation = result.explanation
    expected = list(golden.expected.all()) if golden else []
    passing = {found.chunk_id for found in result.found}
    rows = [
        Row(
            place=place,
            found=found,
            url=passage_url(workspace, found.document_id, found.version_id, found.start, found.end),
            relevance=relevance(explanation.searched, found),
            left_out=found.chunk_id not in passing,
            passage_expected=_is_expected(found, [each for each in expected if each.quote]),
            document_expected=_is_expected(found, [each for each in expected if not each.quote]),
        )
        for place, found in enumerate(explanation.candidates[:DEPTH], 1)
    ]
    return Side(
        key=key,
        result=result,
        stored=stored,
        rows=rows,
        score=score(result.found, expected) if expected else None,
    )


def facing(side: Side, other: Side) -> list[Row]:
    """The rows with their place on the other side."""
    places = {row.found.chunk_id: row.place for row in other.rows}
    return [replace(row, other_place=places.get(row.found.chunk_id)) for row in side.rows]


def _is_expected(found: Found, expected: Sequence[Expectation]) -> bool:
    return any(meets(found, each) for each in expected)
