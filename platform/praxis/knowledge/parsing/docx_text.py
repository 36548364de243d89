"""Word documents (.docx) by python-docx, after the package was checked. Runs in the child."""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.ns import qn

from .blocks import Block, Page, Refused, clean_line, strip_invisible, table_blocks
from .office_package import check_package
from .plain_text import in_parts


def read(data: bytes) -> Iterator[Page]:
    check_package(data, main_part="word/document.xml", suffix=".docx")
    try:
        document = docx.Document(io.BytesIO(data))
        reading = _Reading(document)
        blocks = list(reading.blocks(document.element.body))
    except (
        PackageNotFoundError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        AttributeError,
        OSError,
    ):
        raise Refused("office_broken") from None
    notes: list[tuple[str, dict[str, object]]] = []
    if reading.hidden:
        notes.append(("hidden_text", {"characters": reading.hidden}))
    if reading.invisible:
        notes.append(("invisible_characters", {"characters": reading.invisible}))
    yield from in_parts(iter(blocks), notes)


SMALLEST_POINTS = 3
"""Of a font that a person can read."""


def _stands_on_colour(node: Any) -> bool:
    """Whether the paragraph or table cell around has a shading, on which white can be read."""
    return any(
        properties.find(qn("w:shd")) is not None
        for parent, child in (("w:p", "w:pPr"), ("w:tc", "w:tcPr"))
        for around in node.iterancestors(qn(parent))
        if (properties := around.find(qn(child))) is not None
    )


class _Reading:
    """Walks the XML itself: python-docx's `paragraph.text` leaves out tracked insertions."""

    def __init__(self, document: Any) -> None:
        self.hidden = 0
        self.invisible = 0
        self._styles = {style.style_id: style for style in document.styles}

    def blocks(self, parent: Any) -> Iterator[Block]:
        for element in parent.iterchildren():
            if element.tag == qn("w:p"):
                if block := self._paragraph(element):
                    yield block
            elif element.tag == qn("w:tbl"):
                yield from table_blocks(self._rows(element))
            elif element.tag in (qn("w:sdt"), qn("w:sdtContent"), qn("w:ins")):
                yield from self.blocks(element)

    def _paragraph(self, element: Any) -> Block | None:
        text = clean_line(self._text(element))
        if not text:
            return None
        if level := self._heading_level(element):
            return Block("heading", text, level)
        properties = element.find(qn("w:pPr"))
        numbered = properties is not None and properties.find(qn("w:numPr")) is not None
        is_item = numbered or self._style_name(element).startswith("list")
        return Block("item" if is_item else "paragraph", text)

    def _rows(self, table: Any) -> list[list[str]]:
        rows = []
        for row in table.iter(qn("w:tr")):
            if row.getparent() is not table:
                continue  # a table inside a cell is part of that cell's text
            cells = [
                " ".join(self._text(paragraph) for paragraph in cell.iter(qn("w:p")))
                for cell in row.iter(qn("w:tc"))
                if cell.getparent() is row
            ]
            if any(cells):
                rows.append(cells)
        return rows

    def _text(self, paragraph: Any) -> str:
        parts: list[str] = []
        for node in paragraph.iter(qn("w:t"), qn("w:tab"), qn("w:br"), qn("w:noBreakHyphen")):
            if node.tag != qn("w:t"):
                parts.append("-" if node.tag == qn("w:noBreakHyphen") else " ")
                continue
            text = node.text or ""
            if self._is_hidden(node):
                self.hidden += len(clean_line(text))
                continue
            self.invisible += strip_invisible(text)[1]
            parts.append(text)
        return "".join(parts)

    def _is_hidden(self, node: Any) -> bool:
        properties = node.getparent().find(qn("w:rPr"))
        if properties is None:
            return False
        vanish = properties.find(qn("w:vanish"))
        if vanish is not None and vanish.get(qn("w:val"), "true") not in ("0", "false", "off"):
            return True
        size = properties.find(qn("w:sz"))  # in half points
        half_points = size.get(qn("w:val"), "") if size is not None else ""
        if half_points.isdecimal() and int(half_points) < 2 * SMALLEST_POINTS:
            return True
        colour = properties.find(qn("w:color"))
        shaded = (
            properties.find(qn("w:shd")) is not None
            or properties.find(qn("w:highlight")) is not None
        )
        return (
            colour is not None and colour.get(qn("w:val"), "").upper() == "FFFFFF" and not shaded
        ) and not _stands_on_colour(node)

    def _style_name(self, element: Any) -> str:
        properties = element.find(qn("w:pPr"))
        style = properties.find(qn("w:pStyle")) if properties is not None else None
        known = self._styles.get(style.get(qn("w:val"))) if style is not None else None
        return (known.name or "").lower() if known is not None else ""

    def _heading_level(self, element: Any) -> int:
        name = self._style_name(element)
        if name == "title":
            return 1
        if match := re.fullmatch(r"heading (\d)", name):
            return min(int(match[1]), 6)
        properties = element.find(qn("w:pPr"))
        outline = properties.find(qn("w:outlineLvl")) if properties is not None else None
        if outline is not None and outline.get(qn("w:val"), "9") in "012345":
            return int(outline.get(qn("w:val"))) + 1
        return 0
