"""HTML by Beautiful Soup on lxml: what a person sees, with its structure. Runs in the child."""

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import Comment, Declaration, Doctype, NavigableString, ProcessingInstruction, Tag

from .blocks import Block, Page, clean_line, clean_lines, strip_invisible, table_blocks
from .plain_text import decode, in_parts

_DROPPED = {
    *("script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "canvas"),
    *("head", "nav", "form", "button", "select", "input", "textarea", "dialog"),
}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font"),
    *("i", "img", "ins", "kbd", "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small"),
    *("span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "br"),
}
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)"
    r"|font-size\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|$)"
    r"|font-size\s*:\s*(?:0?\.\d+|[12](?:\.\d+)?)(?:px|pt)\s*(?:;|$)"
    r"|(?:left|top|text-indent)\s*:\s*-\d{3,}"
    r"|(?:^|;)\s*color\s*:\s*(?:white|#fff(?:fff)?|rgb\(\s*255\s*,\s*255\s*,\s*255\s*\)|transparent)\s*(?:;|$)",
    re.IGNORECASE,
)
_NO_SIZE = re.compile(
    r"(?:^|[;\s])(?:max-)?(?:width|height)\s*:\s*(?:0(?:\.0+)?[a-z%]*|1(?:px)?)\s*(?:;|$|!)",
    re.IGNORECASE,
)
_DECLARED = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?([A-Za-z0-9_:-]+)", re.IGNORECASE)
_MAX_DEPTH = 400


def read(data: bytes) -> Iterator[Page]:
    text, encoding = _decode(data)
    blocks, hidden = blocks_of_html(text)
    notes: list[tuple[str, dict[str, object]]] = []
    if encoding:
        notes.append(("encoding", {"encoding": encoding}))
    if hidden:
        notes.append(("hidden_text", {"characters": hidden}))
    if removed := strip_invisible(text.removeprefix("\ufeff"))[1]:
        notes.append(("invisible_characters", {"characters": removed}))
    yield from in_parts(iter(blocks), notes)


def _decode(data: bytes) -> tuple[str, str]:
    """The declared encoding if it fits, else as for plain text."""
    if declared := _DECLARED.search(data[:4096]):
        name = declared[1].decode("ascii").lower()
        if name in ("gb2312", "gbk"):
            name = "gb18030"
        try:
            return data.decode(name), "" if name in ("utf-8", "utf8") else name.upper()
        except (LookupError, UnicodeDecodeError):
            return decode(data)
    return decode(data)


def blocks_of_html(markup: str) -> tuple[list[Block], int]:
    """The visible blocks, and how many characters of hidden text were left out."""
    soup = BeautifulSoup(markup, "lxml")
    hidden = _remove_hidden(soup)
    reading = _Reading()
    reading.walk(soup.body or soup, 0)
    reading.flush()
    title = clean_line(soup.title.get_text()) if soup.title else ""
    if title and not any(block.kind == "heading" for block in reading.blocks):
        reading.blocks.insert(0, Block("heading", title, 1))
    return reading.blocks, hidden


def _remove_hidden(soup: BeautifulSoup) -> int:
    """Take what nobody sees out of the tree; returns how many characters were read otherwise."""
    count = 0
    for tag in soup.find_all(_is_hidden):
        if tag.decomposed:  # with what was around it
            continue
        if not tag.find_parent(list(_DROPPED)):
            images = [tag] if tag.name == "img" else tag.find_all("img")
            told = [tag.get_text(" "), *(str(image.get("alt") or "") for image in images)]
            count += sum(len(clean_line(text)) for text in told)
        tag.decompose()
    return count


class _Reading:
    """The blocks so far and the inline text that the next block boundary will close."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._inline: list[str] = []
        self._list_depth = 0

    def flush(self) -> None:
        if text := clean_line("".join(self._inline)):
            self.blocks.append(Block("item" if self._list_depth else "paragraph", text))
        self._inline = []

    def walk(self, element: Tag, depth: int) -> None:
        if depth > _MAX_DEPTH:
            self._inline.append(element.get_text(" "))
            return
        for child in element.children:
            if isinstance(child, Comment | Declaration | Doctype | ProcessingInstruction):
                continue
            if isinstance(child, NavigableString):
                self._inline.append(str(child))
            elif isinstance(child, Tag):
                self._tag(child, depth)

    def _tag(self, tag: Tag, depth: int) -> None:
        name = tag.name
        if name in _DROPPED:
            return
        elif name == "br":
            self._inline.append(" ")
        elif name == "img":
            self._inline.append(str(tag.get("alt") or ""))
        elif name in _INLINE:
            self.walk(tag, depth + 1)
        else:
            self.flush()
            if re.fullmatch(r"h[1-6]", name):
                if text := clean_line(self._visible_text(tag)):
                    self.blocks.append(Block("heading", text, int(name[1])))
            elif name == "pre":
                if code := clean_lines(tag.get_text()):
                    self.blocks.append(Block("code", code))
            elif name == "table":
                self._table(tag, depth)
            else:
                inside = name in ("li", "dd", "dt")
                self._list_depth += inside
                self.walk(tag, depth + 1)
                self.flush()
                self._list_depth -= inside

    def _table(self, table: Tag, depth: int) -> None:
        if table.find("table"):  # a table for layout: its cells are blocks of their own
            for cell in table.find_all(["td", "th", "caption"]):
                if cell.find_parent("table") is table:
                    self.walk(cell, depth + 1)
                    self.flush()
            return
        if caption := table.find("caption"):
            self.blocks.append(Block("paragraph", clean_line(caption.get_text(" "))))
        rows = [
            [self._visible_text(cell) for cell in row.find_all(["td", "th"])]
            for row in table.find_all("tr")
        ]
        self.blocks += table_blocks([row for row in rows if row])

    def _visible_text(self, tag: Tag) -> str:
        for inner in tag.find_all(list(_DROPPED)):
            inner.decompose()
        return tag.get_text(" ")


def _is_hidden(tag: Tag) -> bool:
    style = str(tag.get("style") or "")
    if tag.name == "img" and (_NO_SIZE.search(style) or _is_pixel(tag)):
        return True
    return (
        tag.has_attr("hidden")
        or str(tag.get("aria-hidden", "")).lower() == "true"
        or bool(style and _HIDING.search(style) and "background" not in style.lower())
    )


def _is_pixel(image: Tag) -> bool:
    """Drawn so small that nobody sees it; its `alt` would be read all the same."""
    sizes = (str(image.get(side) or "").strip().removesuffix("px") for side in ("width", "height"))
    return any(size in ("0", "1") for size in sizes)
