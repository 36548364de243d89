"""Word documents (.docx) by python-docx, after the package was checked. Runs in the child."""

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.ns import qn

from .blocks import Block, Page, Refused, clean_line, strip_invisible, table_blocks
from .plain_text import in_parts

MAX_ENTRIES = 2_000
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_RATIO = 150
_RATIO_FREE_BYTES = 10 * 1024 * 1024
"""Small files compress very well; the ratio counts only above this size."""

_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


def check_package(data: bytes) -> None:
    """Raises `Refused` for a bomb, macros, a DTD, parts from elsewhere, or links in the archive.

    Sizes come from the archive's directory, so nothing is unpacked to know them; a directory that
    lies is caught because `zipfile` reads no more than it declares.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError):
        raise Refused("docx_broken") from None
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    ratio_limit = max(_RATIO_FREE_BYTES, MAX_RATIO * len(data))
    if len(entries) > MAX_ENTRIES or unpacked > min(MAX_UNPACKED_BYTES, ratio_limit):
        raise Refused("zip_bomb", entries=len(entries), megabytes=unpacked // 1048576)
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or any(_forbidden(entry) for entry in entries):
        raise Refused("zip_paths")
    if any(re.search(r"vbaproject|vbadata", name, re.IGNORECASE) for name in names):
        raise Refused("macros")
    if "word/document.xml" not in names and "[Content_Types].xml" not in names:
        raise Refused("other_content", suffix=".docx", found="ZIP")
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels")):
            _check_xml(archive, entry)


def _forbidden(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    return (
        stat.S_ISLNK(entry.external_attr >> 16)
        or entry.filename.startswith(("/", "\\"))
        or ".." in parts
        or bool(entry.flag_bits & 0x1)
    )


def _check_xml(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    try:
        root = fromstring(archive.read(entry), forbid_dtd=True)
    except DefusedXmlException:
        raise Refused("doctype") from None
    except (ParseError, zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        raise Refused("docx_broken") from None
    if entry.filename == "[Content_Types].xml" and any(
        "macroEnabled" in part.get("ContentType", "") for part in root
    ):
        raise Refused("macros")
    if entry.filename.endswith(".rels"):
        for relationship in root.iter(_RELATIONSHIP):
            kind = relationship.get("Type", "").rsplit("/", 1)[-1]
            if relationship.get("TargetMode") == "External" and kind != "hyperlink":
                raise Refused("external", kind=kind or "?")


def read(data: bytes) -> Iterator[Page]:
    check_package(data)
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
        raise Refused("docx_broken") from None
    notes: list[tuple[str, dict[str, object]]] = []
    if reading.hidden:
        notes.append(("hidden_text", {"characters": reading.hidden}))
    if reading.invisible:
        notes.append(("invisible_characters", {"characters": reading.invisible}))
    yield from in_parts(iter(blocks), notes)


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
        return vanish is not None and vanish.get(qn("w:val"), "true") not in ("0", "false", "off")

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
