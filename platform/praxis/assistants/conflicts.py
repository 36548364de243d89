"""Documents that contradict each other on what was asked.

Two documents conflict where each has a sentence about the asked point, the two sentences say nearly
the same in words, and differ in a figure of the same unit or in a negation. The check is lexical, so
it sees "30 days" against "14 days" and "can" against "can't", and stays silent about what it can't
compare. Which of them holds is not decided here: the reader is shown both, with their dates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from praxis.assistants.contract import Claim, Conflict, Passage
from praxis.assistants.sentences import content_words, denies, figures, split_sentences

ALIKE = 0.6
"""Of the words of the shorter sentence that the other one must hold, figures aside; where a negation
is all the difference, of those of the longer one: "most" may not be what "some" are."""
ON_THE_POINT = 0.5
"""Of the question's words that each sentence must hold, headings included."""
RELEVANT = 0.5
"""Least relevance of a passage that may contradict another one."""
LONGEST = 400
"""Characters of a sentence; longer ones are lists and tables, which differ for other reasons."""

_QUANTITY = re.compile(
    r"(?P<figure>\d+(?:[.,:/-]\d+)*|\b[a-z]+\b)\s*(?P<unit>%|[€$£¥]|[^\W\d_]+)?", re.I
)


@dataclass(frozen=True)
class _Statement:
    passage: Passage
    text: str
    start: int
    end: int

    @cached_property
    def quantities(self) -> dict[str, str]:
        """Unit to figure, as digits; a unit that occurs twice tells nothing and is left out, and so
        does a figure of the title or the heading, which is a part of a name ("type 2")."""
        found: dict[str, set[str]] = {}
        named = figures(f"{self.passage.title} {self.passage.heading}")
        for match in _QUANTITY.finditer(self.text):
            if figure := figures(match["figure"]) - named:
                unit = next(iter(content_words(match["unit"] or "")), match["unit"] or "")
                found.setdefault(unit, set()).update(figure)
        return {unit: one.pop() for unit, one in found.items() if len(one) == 1}

    @cached_property
    def words(self) -> set[str]:
        return {word for word in content_words(self.text) if not figures(word)}

    @cached_property
    def subject(self) -> set[str]:
        return self.words | set(content_words(f"{self.passage.title} {self.passage.heading}"))

    def value_against(self, other: "_Statement") -> str | None:
        """What this one says where the other one says something else; None without a difference."""
        shorter, longer = sorted((len(self.words), len(other.words)))
        shared = len(self.words & other.words)
        if shorter < 2 or shared < ALIKE * shorter:
            return None
        for unit, figure in self.quantities.items():
            if other.quantities.get(unit, figure) != figure:
                return f"{figure} {unit}".strip() if unit.isalpha() else f"{figure}{unit}"
        alike = self.quantities == other.quantities and shared >= ALIKE * longer
        if alike and denies(self.text) != denies(other.text):
            return self.text
        return None


def find_conflict(question: str, passages: Sequence[Passage]) -> Conflict | None:
    """The statements of different documents that can't all hold, the newest first."""
    asked = set(content_words(question))
    if not asked:
        return None
    statements = [
        statement
        for passage in passages
        if passage.score >= RELEVANT
        for statement in _statements(passage)
        if len(asked & statement.subject) >= ON_THE_POINT * len(asked) and asked & statement.words
    ]
    claims: dict[str, Claim] = {}
    for one in statements:
        for other in statements:
            if one.passage.document_id == other.passage.document_id:
                continue
            if one.passage.document_id in claims:
                break
            if (value := one.value_against(other)) is not None:
                claims[one.passage.document_id] = _claim(one, value)
    if len(claims) < 2:
        return None
    newest_first = sorted(
        claims.values(), key=lambda claim: (claim.dated, -claim.citation), reverse=True
    )
    return Conflict(claims=tuple(newest_first))


def _statements(passage: Passage) -> list[_Statement]:
    return [
        _Statement(passage, each.text, passage.start + each.start, passage.start + each.end)
        for each in split_sentences(passage.text)
        if len(each.text) <= LONGEST and not each.text.endswith(("?", "？"))
    ]


def _claim(statement: _Statement, value: str) -> Claim:
    passage = statement.passage
    return Claim(
        citation=passage.number,
        value=value,
        quote=statement.text,
        source_start=statement.start,
        source_end=statement.end,
        title=passage.title,
        version=passage.version,
        dated=passage.dated,
        url=passage.url,
    )
