"""A version's text as the document page shows it: blocks in groups, pages, and the cited span."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from praxis.knowledge.models import DocumentVersion

PART_CHARACTERS = 60_000
"""A long document is shown in parts of about this size; a part holds whole blocks."""
_NUMBER = re.compile(r"\(?[0-9a-z]{1,3}[.)、]")


@dataclass(frozen=True)
class Segment:
    """A run of text inside a block. `first`: the cited span begins here."""

    text: str
    marked: bool = False
    first: bool = False


@dataclass(frozen=True)
class ShownBlock:
    kind: str
    level: int
    """Of the HTML heading, below the page's own two levels."""
    page: int | None
    """Set on the first block of a page."""
    segments: list[Segment]
    numbered: bool
    """A list item that carries its own number, so it needs no bullet."""


@dataclass(frozen=True)
class ShownGroup:
    """Neighbouring blocks that make one list, one table, or stand alone."""

    kind: str
    blocks: list[ShownBlock]


@dataclass(frozen=True)
class Part:
    number: int
    total: int
    groups: list[ShownGroup]
    has_passage: bool


def part_of(version: DocumentVersion, *, number: int | None, span: tuple[int, int] | None) -> Part:
    """The part asked for, else the one in which the span begins, else the first."""
    bounds = _part_bounds(version.blocks)
    if number is None:
        number = 1
        if span is not None:
            number = sum(version.blocks[first][1] <= span[0] for first, _ in bounds) or 1
    number = max(1, min(number, len(bounds)))
    first, last = bounds[number - 1]
    shown = list(_shown(version, first, last, span))
    groups = [
        ShownGroup(kind, [block for _, block in members])
        for (kind, _), members in groupby(enumerate(shown), key=_group_key)
    ]
    has_passage = any(segment.first for block in shown for segment in block.segments)
    return Part(number, len(bounds), groups, has_passage)


def _group_key(numbered: tuple[int, ShownBlock]) -> tuple[str, int]:
    """Items and rows stay together until another kind or a new page; the rest stands alone."""
    index, block = numbered
    alone = block.kind not in ("item", "row") or block.page is not None
    return block.kind, index if alone else -1


def _part_bounds(blocks: list[list[Any]]) -> list[tuple[int, int]]:
    """First and past-the-last block of each part; one empty part for a text without blocks."""
    bounds = []
    first = 0
    for index, (_, _, end, _) in enumerate(blocks):
        if end - blocks[first][1] >= PART_CHARACTERS:
            bounds.append((first, index + 1))
            first = index + 1
    if first < len(blocks) or not bounds:
        bounds.append((first, len(blocks)))
    return bounds


def _shown(
    version: DocumentVersion, first: int, last: int, span: tuple[int, int] | None
) -> Iterator[ShownBlock]:
    pages = {start: number for number, start in enumerate(version.page_starts, 1)}
    for kind, start, end, level in version.blocks[first:last]:
        yield ShownBlock(
            kind=kind,
            level=min(level + 2, 6),
            page=pages.get(start),
            segments=_segments(version.text, start, end, span),
            numbered=kind == "item" and _NUMBER.match(version.text, start, end) is not None,
        )


def _segments(text: str, start: int, end: int, span: tuple[int, int] | None) -> list[Segment]:
    if span is None or span[0] >= end or span[1] <= start:
        return [Segment(text[start:end])]
    begin, stop = max(start, span[0]), min(end, span[1])
    # A span that begins in the gap before this block is first seen here.
    first = span[0] >= start or not text[span[0] : start].strip()
    pieces = [
        Segment(text[start:begin]),
        Segment(text[begin:stop], marked=True, first=first),
        Segment(text[stop:end]),
    ]
    return [piece for piece in pieces if piece.text]
