"""Pages joined to one canonical text, with the place of every block and page in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .blocks import Page

_COMPACT = ("item", "row")


@dataclass
class Reading:
    """What a document version keeps of its file."""

    text: str = ""
    blocks: list[list[Any]] = field(default_factory=list)
    """`[kind, start, end, level]`, in order, without overlap."""
    page_starts: list[int] = field(default_factory=list)
    notes: list[list[Any]] = field(default_factory=list)


def assemble(pages: Iterable[Page]) -> Reading:
    """Blocks stand apart by an empty line; the items of one list and the rows of one table don't."""
    reading = Reading()
    parts: list[str] = []
    position = 0
    previous = ""
    for page in pages:
        for index, block in enumerate(page.blocks):
            if parts:
                gap = "\n" if block.kind in _COMPACT and block.kind == previous else "\n\n"
                parts.append(gap)
                position += len(gap)
            if page.total is not None and index == 0:
                _start_page(reading, page.number, position)
            parts.append(block.text)
            end = position + len(block.text)
            reading.blocks.append([block.kind, position, end, block.level])
            position, previous = end, block.kind
        if page.total is not None and not page.blocks:
            _start_page(reading, page.number, position)
        reading.notes += [[code, values] for code, values in page.notes]
    reading.text = "".join(parts)
    return reading


def _start_page(reading: Reading, number: int, position: int) -> None:
    assert number == len(reading.page_starts) + 1
    reading.page_starts.append(position)
