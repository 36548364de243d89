"""PDF with a text layer by pypdf, page by page. Runs in the child process."""

import io
import logging
import re
from collections.abc import Iterator
from statistics import median

from pypdf import PdfReader
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from .blocks import MAX_PAGES, Block, Page, Refused, clean_line, without_bullet

_ITEM = re.compile(r"^(?:[-–•·▪●○*]|\d{1,3}[.)]|\(\w{1,3}\)|[a-z]\))\s+")
_NUMBERED_HEADING = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,3})\.?\s+\S.{1,90}$")
_CHAPTER = re.compile(
    r"^(?:第[一二三四五六七八九十百零\d]+[章节条篇]|(?:chapter|section|article|part)\s+[\dIVXLC]+\b)",
    re.IGNORECASE,
)
# What a broken file makes pypdf raise besides its own errors.
_BROKEN = (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError)


def read(data: bytes) -> Iterator[Page]:
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("pdf_encrypted")
        total = len(reader.pages)
        titles = _outline_titles(reader)
    except DependencyError:
        raise Refused("pdf_encrypted") from None
    except (*_BROKEN, RecursionError):
        raise Refused("pdf_broken") from None
    if total == 0:
        raise Refused("pdf_broken")
    if total > MAX_PAGES:
        raise Refused("too_many_pages", pages=total, limit=MAX_PAGES)
    unreadable: list[int] = []
    found_text = False
    for number in range(1, total + 1):
        try:
            lines = reader.pages[number - 1].extract_text().split("\n")
        except LimitReachedError:
            raise Refused("memory") from None
        except (*_BROKEN, RecursionError):
            lines = []
        blocks = list(_blocks([clean_line(line) for line in lines], titles))
        if not blocks:
            unreadable.append(number)
        found_text = found_text or bool(blocks)
        page = Page(number, total, blocks)
        if number == total and found_text and unreadable:
            page.notes.append(("unreadable_pages", {"pages": _ranges(unreadable)}))
        yield page
    if not found_text:
        raise Refused("no_text_layer")


def _outline_titles(reader: PdfReader) -> dict[str, int]:
    """Titles of the bookmarks, folded, with their level; a line that equals one is a heading."""
    titles: dict[str, int] = {}

    def collect(entries: list, level: int) -> None:
        for entry in entries:
            if isinstance(entry, list):
                collect(entry, min(level + 1, 6))
            elif title := clean_line(str(entry.title or "")):
                titles.setdefault(title.casefold(), level)

    try:
        collect(reader.outline, 1)
    except (*_BROKEN, RecursionError):  # bookmarks are often broken where the pages are not
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


def _ranges(pages: list[int]) -> str:
    """`1-3, 7` for [1, 2, 3, 7]; the first twenty ranges."""
    parts: list[list[int]] = []
    for page in pages:
        if parts and page == parts[-1][1] + 1:
            parts[-1][1] = page
        else:
            parts.append([page, page])
    shown = [f"{a}-{b}" if b > a else str(a) for a, b in parts[:20]]
    return ", ".join(shown) + (" …" if len(parts) > 20 else "")
