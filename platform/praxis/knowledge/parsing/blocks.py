"""Blocks: the structure that every format is read into, and the limits that every reader keeps.

Imported by the child process: standard library only.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["heading", "paragraph", "item", "row", "code"]
KINDS: tuple[str, ...] = get_args(Kind)

MAX_PAGES = 5_000
MAX_CHARACTERS = 60_000_000


class Refused(Exception):
    """The file can't or mustn't be read; `sentences.sentence(code, values)` says why."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code)
        self.code, self.values = code, values


@dataclass(frozen=True)
class Block:
    """One piece of a page: a heading of a level from 1 to 6, a paragraph, a list item, a record
    (a table row with its column names), or preformatted text."""

    kind: Kind
    text: str
    level: int = 0


@dataclass
class Page:
    """What a reader yields. `number` counts from 1; `total` is known only where pages exist."""

    number: int
    total: int | None
    blocks: list[Block]
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


# Characters a person can't see but a model reads: Unicode tags, zero-width and bidirectional
# controls, variation selectors, fillers. They carry hidden instructions and break searching.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\U0001bca0-\U0001bca3]"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BULLET = re.compile(r"^(?:[-–•·▪●○*]\s+)+")


def strip_invisible(text: str) -> tuple[str, int]:
    """The text without what the eye can't see, and how many such characters it held."""
    return _INVISIBLE.subn("", text)


def clean_line(text: str) -> str:
    """Composed characters, single spaces, no control characters, no invisible ones."""
    text = _INVISIBLE.sub("", _CONTROL.sub("", unicodedata.normalize("NFC", text)))
    return " ".join(text.split())


def clean_lines(text: str) -> str:
    """Like `clean_line`, but line breaks and a line's indentation are kept."""
    text = _INVISIBLE.sub("", _CONTROL.sub("", unicodedata.normalize("NFC", text)))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def without_bullet(text: str) -> str:
    """A list item without its mark; numbers stay, because other sentences refer to them."""
    return _BULLET.sub("", text)


def record(header: list[str], cells: list[str]) -> str:
    """A table row that can be read without its table: `Name: Kettle; Price: 30`."""
    parts = []
    for index, cell in enumerate(cells):
        if value := clean_line(cell):
            name = clean_line(header[index]) if index < len(header) else ""
            parts.append(f"{name}: {value}" if name else value)
    return "; ".join(parts)


def table_blocks(rows: list[list[str]]) -> list[Block]:
    """The first row names the columns; a table of one row is a row without names."""
    if len(rows) == 1:
        return [Block("row", text)] if (text := record([], rows[0])) else []
    return [Block("row", text) for cells in rows[1:] if (text := record(rows[0], cells))]
