"""Tables of a PDF page by the lines that are drawn around their cells. Runs in the child process.

A table without lines, or with horizontal ones only, can't be told from text and is read as such.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from .blocks import clean_line

_NEAR = 2.0
"""Points by which lines that are meant to meet may miss each other, and the width of a drawn line."""
_SHORTEST = 5.0
_MOST_PATHS = 5_000
_MOST_LINES = 2_000
"""A page with more (a map, a plot) has no table worth the time."""
_FEWEST_FILLED = 4

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points from the page's lower left corner."""


@dataclass(frozen=True)
class Table:
    box: Box
    rows: list[list[str]]
    """From top to bottom, each with all columns; a cell that spans rows stands in each of them, one
    that spans columns in the first."""
    columns: list[float]
    """Where the columns begin, and the last ends."""

    def continuing(self, before: "Table") -> "Table":
        """With the first row of the table on the page before, if this is the rest of it."""
        same = len(self.columns) == len(before.columns) and all(
            abs(here - there) <= _NEAR
            for here, there in zip(self.columns, before.columns, strict=True)
        )
        if not same or self.rows[0] == before.rows[0]:
            return self
        return replace(self, rows=[before.rows[0], *self.rows])


@dataclass(frozen=True)
class _Line:
    """`at`: its place across, `start` to `end`: its extent along."""

    upright: bool
    at: float
    start: float
    end: float

    def covers(self, place: float) -> bool:
        return self.start - _NEAR <= place <= self.end + _NEAR

    def meets(self, other: "_Line") -> bool:
        return self.upright != other.upright and self.covers(other.at) and other.covers(self.at)


def find_tables(page: pdfium.PdfPage, words: pdfium.PdfTextPage) -> list[Table]:
    """From top to bottom."""
    lines = list(_lines(page))
    if not 4 < len(lines) <= _MOST_LINES:
        return []
    tables = [table for group in _connected(lines) if (table := _table(group, words))]
    outer = [
        each
        for each in tables
        if not any(other is not each and _inside(each.box, other.box) for other in tables)
    ]
    return sorted(outer, key=lambda table: -table.box[3])


def _lines(page: pdfium.PdfPage) -> Iterator[_Line]:
    if page.get_rotation() != 0:
        return
    objects = (
        raw.FPDFPage_GetObject(page, index) for index in range(raw.FPDFPage_CountObjects(page))
    )
    paths = [each for each in objects if raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_PATH]
    if len(paths) > _MOST_PATHS:
        return
    for path in paths:
        mode, stroked = ctypes.c_int(), ctypes.c_int()
        if not raw.FPDFPath_GetDrawMode(path, mode, stroked):
            continue
        if stroked.value:
            yield from _strokes(path)
        elif mode.value:
            yield from _thin_fill(path)


def _strokes(path: raw.FPDF_PAGEOBJECT) -> Iterator[_Line]:
    matrix = raw.FS_MATRIX()
    raw.FPDFPageObj_GetMatrix(path, matrix)
    begin: tuple[float, float] | None = None
    last: tuple[float, float] | None = None
    for index in range(raw.FPDFPath_CountSegments(path)):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        x, y = ctypes.c_float(), ctypes.c_float()
        raw.FPDFPathSegment_GetPoint(segment, x, y)
        point = (
            matrix.a * x.value + matrix.c * y.value + matrix.e,
            matrix.b * x.value + matrix.d * y.value + matrix.f,
        )
        kind = raw.FPDFPathSegment_GetType(segment)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            begin = point
        elif kind == raw.FPDF_SEGMENT_LINETO and last:
            yield from _between(last, point)
        last = point
        if begin and raw.FPDFPathSegment_GetClose(segment):
            yield from _between(point, begin)


def _thin_fill(path: raw.FPDF_PAGEOBJECT) -> Iterator[_Line]:
    """Word processors draw a line as a filled rectangle."""
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not raw.FPDFPageObj_GetBounds(path, left, bottom, right, top):
        return
    width, height = right.value - left.value, top.value - bottom.value
    if min(width, height) <= _NEAR:
        x, y = (left.value + right.value) / 2, (bottom.value + top.value) / 2
        if width > height:
            yield from _between((left.value, y), (right.value, y))
        else:
            yield from _between((x, bottom.value), (x, top.value))


def _between(first: tuple[float, float], second: tuple[float, float]) -> Iterator[_Line]:
    (x, y), (other_x, other_y) = first, second
    if abs(x - other_x) < 0.5 and abs(y - other_y) >= _SHORTEST:
        yield _Line(True, (x + other_x) / 2, min(y, other_y), max(y, other_y))
    elif abs(y - other_y) < 0.5 and abs(x - other_x) >= _SHORTEST:
        yield _Line(False, (y + other_y) / 2, min(x, other_x), max(x, other_x))


def _connected(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Lines that meet each other, directly or through others."""
    left = set(lines)
    while left:
        group, waiting = [], [left.pop()]
        while waiting:
            line = waiting.pop()
            group.append(line)
            met = [other for other in left if line.meets(other) or _continues(line, other)]
            left.difference_update(met)
            waiting += met
        yield group


def _continues(line: _Line, other: _Line) -> bool:
    """Whether the two are pieces of one: each cell may be drawn by itself."""
    return (
        line.upright == other.upright
        and abs(line.at - other.at) <= _NEAR
        and line.start <= other.end + _NEAR
        and other.start <= line.end + _NEAR
    )


def _table(lines: Sequence[_Line], words: pdfium.PdfTextPage) -> Table | None:
    across = [line for line in lines if not line.upright]
    upright = [line for line in lines if line.upright]
    columns = _places(line.at for line in upright)
    edges = _places(line.at for line in across)[::-1]
    if len(columns) < 3 or len(edges) < 3:
        return None
    rows: list[list[str]] = []
    for row, (top, bottom) in enumerate(pairwise(edges)):
        cells = [""] * (len(columns) - 1)
        column = 0
        while column < len(cells):
            after = column + 1
            middle = (top + bottom) / 2
            while after < len(cells) and not _drawn(upright, columns[after], middle):
                after += 1
            centre = (columns[column] + columns[column + 1]) / 2
            if row and not _drawn(across, top, centre):
                cells[column] = rows[-1][column]
            else:
                below = row + 1
                while below < len(edges) - 1 and not _drawn(across, edges[below], centre):
                    below += 1
                cells[column] = _text_in(
                    words, (columns[column], edges[below], columns[after], top)
                )
            column = after
        rows.append(cells)
    filled = sum(bool(cell) for cells in rows for cell in cells)
    told = sum(sum(map(bool, cells)) > 1 for cells in rows)
    if filled < _FEWEST_FILLED or told * 2 < len(rows):
        return None
    return Table((columns[0], edges[-1], columns[-1], edges[0]), rows, columns)


def _places(values: Iterator[float]) -> list[float]:
    """Ascending, those that are near each other as one."""
    groups: list[list[float]] = []
    for value in sorted(values):
        if groups and value - groups[-1][-1] <= _NEAR:
            groups[-1].append(value)
        else:
            groups.append([value])
    return [fmean(group) for group in groups]


def _drawn(lines: Sequence[_Line], at: float, place: float) -> bool:
    return any(abs(line.at - at) <= _NEAR and line.covers(place) for line in lines)


def _text_in(words: pdfium.PdfTextPage, box: Box) -> str:
    left, bottom, right, top = box
    # A sign that touches the box would count as inside.
    text = words.get_text_bounded(left + 1, bottom + 1, right - 1, top - 1, errors="replace")
    return clean_line(text)


def _inside(inner: Box, outer: Box) -> bool:
    return (
        outer[0] - _NEAR <= inner[0]
        and outer[1] - _NEAR <= inner[1]
        and inner[2] <= outer[2] + _NEAR
        and inner[3] <= outer[3] + _NEAR
    )
