"""Pages joined to one canonical text, with the place of every block and page in it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .blocks import Page

_COMPACT = ("item", "row")


@dataclass
class Reading:
    """What a document version keeps of its file, or of some neighbouring pages of it."""

    text: str = ""
    blocks: list[list[Any]] = field(default_factory=list)
    """`[kind, start, end, level]`, in order, without overlap."""
    page_starts: list[int] = field(default_factory=list)
    notes: list[list[Any]] = field(default_factory=list)


class Assembly:
    """Takes page after page and gives up what has come together since the last time.

    `position`, `num_pages` and `previous`: of what an earlier one gave up already, for going on
    there. Every offset counts from the beginning of the whole text.
    """

    def __init__(self, *, position: int = 0, num_pages: int = 0, previous: str = "") -> None:
        self.position = position
        self.num_pages = num_pages
        self.previous = previous
        """Kind of the last block."""
        self._parts: list[str] = []
        self._taken = Reading()

    def add(self, page: Page) -> None:
        """Blocks stand apart by an empty line; the items of one list and the rows of one table
        don't."""
        for index, block in enumerate(page.blocks):
            if self.position:
                compact = block.kind in _COMPACT and block.kind == self.previous
                self._append("\n" if compact else "\n\n")
            if page.total is not None and index == 0:
                self._start_page(page.number)
            start = self.position
            self._append(block.text)
            self._taken.blocks.append([block.kind, start, self.position, block.level])
            self.previous = block.kind
        if page.total is not None and not page.blocks:
            self._start_page(page.number)
        self._taken.notes += [[code, values] for code, values in page.notes]

    def take(self) -> Reading:
        taken, self._taken = self._taken, Reading()
        taken.text, self._parts = "".join(self._parts), []
        return taken

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self.position += len(text)

    def _start_page(self, number: int) -> None:
        self.num_pages += 1
        assert number == self.num_pages
        self._taken.page_starts.append(self.position)


def assemble(pages: Iterable[Page]) -> Reading:
    """All pages at once."""
    assembly = Assembly()
    for page in pages:
        assembly.add(page)
    return assembly.take()
