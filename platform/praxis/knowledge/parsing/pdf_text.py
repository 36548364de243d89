"""PDF by pdfium, page by page; pages that are pictures by OCR. Runs in the child process."""

import re
from collections.abc import Iterator
from statistics import median
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from . import page_pictures
from .blocks import (
    MAX_PAGES,
    Block,
    Page,
    Refused,
    clean_line,
    strip_invisible,
    table_blocks,
    without_bullet,
)
from .page_ranges import ranges
from .pdf_hidden import remove_hidden
from .pdf_tables import Table, find_tables

MOST_MARGIN_LINES = 3
"""Between two pages of one table: a running title and a page number."""
_ITEM = re.compile(r"^(?:[-–•·▪●○*]|\d{1,3}[.)]|\(\w{1,3}\)|[a-z]\))\s+")
_NUMBERED_HEADING = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+\S.{1,90}$")
_CHAPTER = re.compile(
    r"^(?:第[一二三四五六七八九十百零\d]+[章节条篇]|(?:chapter|section|article|part)\s+[\dIVXLC]+\b)",
    re.IGNORECASE,
)


def read(data: bytes) -> Iterator[Page]:
    try:
        document = pdfium.PdfDocument(data)
        total = len(document)
    except pdfium.PdfiumError as error:
        code = getattr(error, "err_code", None)
        encrypted = code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        raise Refused("pdf_encrypted" if encrypted else "pdf_broken") from None
    if total == 0:
        raise Refused("pdf_broken")
    if total > MAX_PAGES:
        raise Refused("too_many_pages", pages=total, limit=MAX_PAGES)
    titles = _outline_titles(document)
    unreadable: list[int] = []
    recognised: list[int] = []
    hidden = invisible = 0
    table: Table | None = None
    for number in range(1, total + 1):
        regions: list[str | Table] = []
        try:
            page = document[number - 1]
            hidden += remove_hidden(page)
            regions = _regions(page)
            if regions == [""] and page_pictures.has_picture(page):
                regions = ["\n".join(page_pictures.lines_of(page))]
                if regions != [""]:
                    recognised.append(number)
        except pdfium.PdfiumError:
            pass  # the page is told as unreadable
        blocks: list[Block] = []
        before = table
        for region in regions:
            if isinstance(region, Table):
                table = region.continuing(before) if before else region
                blocks += table_blocks(table.rows)
                before = None
                continue
            invisible += strip_invisible(region)[1]
            lines = [clean_line(_readable(line)) for line in region.split("\n")]
            blocks += _blocks(lines, titles)
            if len(lines) > MOST_MARGIN_LINES:
                before = table = None
        if not blocks:
            unreadable.append(number)
        if len(unreadable) == total:
            raise Refused("no_text_layer")
        notes: list[tuple[str, dict[str, Any]]] = []
        if number == total:
            for code, value in (("hidden_text", hidden), ("invisible_characters", invisible)):
                if value:
                    notes.append((code, {"characters": value}))
            for code, numbers in (
                ("recognised_pages", recognised),
                ("unreadable_pages", unreadable),
            ):
                if numbers:
                    notes.append((code, {"pages": ranges(numbers)}))
        yield Page(number, total, blocks, notes)


def _regions(page: pdfium.PdfPage) -> list[str | Table]:
    """What stands on a page, from top to bottom; without tables all of it as one text."""
    words = page.get_textpage()
    tables = find_tables(page, words)
    if not tables:
        return [words.get_text_range(errors="replace").strip()]
    width, height = page.get_size()
    regions: list[str | Table] = []

    def add_text(left: float, bottom: float, right: float, top: float) -> None:
        text = words.get_text_bounded(left, bottom, right, top, errors="replace").strip()
        if text:
            regions.append(text)

    above = height
    for table in tables:
        left, bottom, right, top = table.box
        add_text(0, top + 1, width, above)
        add_text(0, bottom, left - 1, top)
        regions.append(table)
        add_text(right + 1, bottom, width, top)
        above = bottom - 1
    add_text(0, 0, width, above)
    return regions


def _readable(line: str) -> str:
    """pdfium marks a hyphen at the end of a line by U+FFFE or U+0002."""
    return re.sub("[\ufffe\x02]", "-", line)


def _outline_titles(document: pdfium.PdfDocument) -> dict[str, int]:
    """Titles of the bookmarks, folded, with their level; a line that equals one is a heading."""
    titles: dict[str, int] = {}
    try:
        for bookmark in document.get_toc(max_depth=6):
            if title := clean_line(bookmark.get_title() or ""):
                titles.setdefault(title.casefold(), min(bookmark.level + 1, 6))
    except pdfium.PdfiumError:  # bookmarks are often broken where the pages are not
        return titles
    return titles


def _blocks(lines: list[str], titles: dict[str, int]) -> Iterator[Block]:
    """Paragraphs from lines: one ends at an empty line, a heading, a list mark, or a short line
    that closes a sentence."""
    widths = [len(line) for line in lines if line]
    full = median(widths) if widths else 0
    open_kind, open_lines = "paragraph", list[str]()

    def closed() -> Iterator[Block]:
        if open_lines:
            text = _joined(open_lines)
            yield (
                Block("item", without_bullet(text))
                if open_kind == "item"
                else Block("paragraph", text)
            )
            open_lines.clear()

    for line in lines:
        if not line:
            yield from closed()
            open_kind = "paragraph"
            continue
        if level := _heading_level(line, titles):
            yield from closed()
            open_kind = "paragraph"
            yield Block("heading", line, level)
            continue
        if _ITEM.match(line):
            yield from closed()
            open_kind = "item"
        open_lines.append(line)
        if len(line) < 0.75 * full and line[-1] in ".!?:。！？：":
            yield from closed()
            open_kind = "paragraph"
    yield from closed()


def _heading_level(line: str, titles: dict[str, int]) -> int:
    """From 1 to 6, or 0 for a line that is no heading."""
    if level := titles.get(line.casefold()):
        return level
    if line[-1] in ".,;:。，；：" or len(line) > 100:
        return 0
    if _CHAPTER.match(line) and len(line) < 60:
        return 1
    if (numbered := _NUMBERED_HEADING.match(line)) and not _looks_like_item(line):
        return min(numbered[1].count(".") + 1, 6)
    return 0


def _looks_like_item(line: str) -> bool:
    """`2. wash your hands` or `12 items` and the like: no capital letter after the number."""
    words = line.split(" ", 1)[1]
    return not (words[0].isupper() or "\u3400" <= words[0] <= "\u9fff") or len(words) > 70


def _joined(lines: list[str]) -> str:
    text = lines[0]
    for line in lines[1:]:
        if text.endswith("-") and text[-2:-1].isalpha() and line[0].islower():
            text = text[:-1] + line
        elif _is_cjk(text[-1]) and _is_cjk(line[0]):
            text += line
        else:
            text += " " + line
    return text


def _is_cjk(sign: str) -> bool:
    return "\u3000" <= sign <= "\u9fff" or "\uff00" <= sign <= "\uffef"
