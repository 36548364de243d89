"""An answer's Markdown as safe HTML: no image, frame or script; links show where they lead.

The model's text is hostile until it passed here: raw HTML stays text, links keep only web and mail
addresses and show their host, and nothing in the result makes the browser ask another server. The
final HTML is filtered by an allow-list on top of that.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.token import Token

# Zero-width characters, direction overrides, variation selectors and Unicode tags carry text that
# a person can't see; control characters have no business in a message.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_BEGIN, _END = "\ue000", "\ue001"
_MARKS = re.compile(f"[{_BEGIN}{_END}]")
_PIECES = re.compile(rf"({_BEGIN}|{_END}|\[\d{{1,3}}\])")
_BLOCK_START = re.compile(r"\s*(?:(?:[-*+]|\d{1,9}[.)]|#{1,6}|>)\s+)*")
_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6", "h6": "h6"}

_TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "ul", "ol", "li", "blockquote", "code", "pre"),
    *("h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a", "sup", "span"),
}
_ATTRIBUTES = {"a": {"href", "class", "id"}, "span": {"class"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}

_markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
_markdown.disable("image")


def visible(text: str) -> str:
    """The text without characters that a person can't see."""
    return _INVISIBLE.sub("", text)


def render_answer(
    text: str,
    *,
    anchor: str = "",
    citations: Collection[int] = (),
    support: Iterable[Mapping[str, Any]] = (),
) -> SafeString:
    """`citations` are the numbers that `[1]` may refer to, on the same page under `anchor`.

    `support` is that of `contract.Support`: sentences without a citation are marked.
    """
    tokens = _markdown.parse(visible(_with_marks(text, support)))
    _Rewriter(anchor, frozenset(citations)).rewrite(tokens)
    html = _markdown.renderer.render(tokens, _markdown.options, {})
    return mark_safe(  # noqa: S308  (nh3 has just reduced it to the allow-list)
        nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            url_schemes=_SCHEMES,
            link_rel="noopener noreferrer nofollow",
        )
    )


def cited_numbers(text: str) -> set[int]:
    return {int(found) for found in re.findall(r"\[(\d{1,3})\]", text)}


def _with_marks(text: str, support: Iterable[Mapping[str, Any]]) -> str:
    """The source with a mark before and after each unsupported sentence.

    The marks are private characters that Markdown takes for letters; they stand behind list and
    heading signs, which would lose their meaning otherwise.
    """
    text = _MARKS.sub("\ufffd", text)  # of the same length, so the offsets stay right
    parts: list[str] = []
    position = 0
    for start, end in sorted(
        (one["start"], one["end"]) for one in support if one["citation"] is None
    ):
        if not position <= start < end <= len(text):
            continue
        sentence = text[start:end]
        sign = _BLOCK_START.match(sentence)
        lead = sign.end() if sign else 0
        body = sentence[lead:].rstrip()
        parts += [text[position:start], sentence[:lead], _BEGIN, body, _END]
        parts.append(sentence[lead + len(body) :])
        position = end
    return "".join([*parts, text[position:]])


class _Rewriter:
    """Turns text tokens into marked text and citation links, and links into shown addresses."""

    def __init__(self, anchor: str, citations: frozenset[int]) -> None:
        self.anchor, self.citations = anchor, citations
        self.unsupported = False

    def rewrite(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            token.tag = _HEADINGS.get(token.tag, token.tag)
            if token.type in ("fence", "code_block"):
                token.content = self._without_marks(token.content)
                token.info = ""
            if token.children is not None:
                token.children = list(self._inline(token.children))

    def _inline(self, children: Sequence[Token]) -> Iterator[Token]:
        link: list[str | None] = []
        for token in children:
            if token.type == "text":
                # Inside a link `[1]` is a part of the link's text.
                yield _raw("".join(self._text(token.content, cite=not link)))
            elif token.type == "link_open":
                link.append(_shown_address(str(token.attrs.get("href", ""))))
                if link[-1] is not None:
                    token.attrs = {"href": _MARKS.sub("", str(token.attrs["href"]))}
                    yield token
            elif token.type == "link_close":
                address = link.pop() if link else None
                if address is not None:
                    yield token
                    yield _raw(f' <span class="link-host">({escape(address)})</span>')
            elif token.type == "code_inline":
                token.content = self._without_marks(token.content)
                yield token
            else:
                yield token

    def _text(self, content: str, *, cite: bool) -> Iterator[str]:
        for piece in _PIECES.split(content):
            if piece == _BEGIN:
                self.unsupported = True
            elif piece == _END:
                self.unsupported = False
                yield f'<span class="visually-hidden"> ({escape(_("no source"))})</span>'
            elif cite and piece[1:-1].isdigit() and int(piece[1:-1]) in self.citations:
                number = int(piece[1:-1])
                yield f'<sup><a href="#{escape(self.anchor)}-{number}">{number}</a></sup>'
            elif piece and self.unsupported:
                yield f'<span class="unsupported">{escape(piece)}</span>'
            else:
                yield escape(piece)

    def _without_marks(self, content: str) -> str:
        for mark in _MARKS.findall(content):
            self.unsupported = mark == _BEGIN
        return _MARKS.sub("", content)


def _raw(html: str) -> Token:
    return Token("html_inline", "", 0, content=html)


def _shown_address(href: str) -> str | None:
    """Where a link of the model leads; None for one that isn't to the web or to mail."""
    try:
        parts = urlsplit(_MARKS.sub("", href))
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme == "mailto":
        return parts.path or None
    return host if parts.scheme in ("http", "https") and host else None
