"""Markdown (CommonMark with tables) by markdown-it-py. Runs in the child process."""

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from .blocks import Block, Page, clean_line, clean_lines, table_blocks
from .html_text import blocks_of_html
from .plain_text import decode, in_parts, notes_of

_FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.*?)\n---[^\S\n]*(?:\n|\Z)", re.DOTALL)


def read(data: bytes) -> Iterator[Page]:
    text, encoding = decode(data)
    notes = notes_of(text, encoding)
    yield from in_parts(_blocks(text.removeprefix("\ufeff").replace("\r\n", "\n")), notes)


def _blocks(text: str) -> Iterator[Block]:
    if front := _FRONT_MATTER.match(text):
        for line in front[1].split("\n"):
            if cleaned := clean_line(line):
                yield Block("row", cleaned)
        text = text[front.end() :]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    position = depth = 0
    while position < len(tokens):
        token = tokens[position]
        if token.type in ("list_item_open", "list_item_close"):
            depth += token.nesting
        if token.type == "table_open":
            end = _closing(tokens, position)
            yield from table_blocks(_rows(tokens[position:end]))
            position = end
        elif token.type == "inline":
            if block := _block_of(token, tokens[position - 1], in_list=depth > 0):
                yield block
        elif token.type in ("fence", "code_block"):
            if code := clean_lines(token.content):
                yield Block("code", code)
        elif token.type == "html_block":
            yield from blocks_of_html(token.content)[0]
        position += 1


def _block_of(token: Token, opening: Token, *, in_list: bool) -> Block | None:
    text = clean_line(_inline(token))
    if not text:
        return None
    if opening.type == "heading_open":
        return Block("heading", text, int(opening.tag[1]))
    return Block("item" if in_list else "paragraph", text)


def _inline(token: Token) -> str:
    """What a reader sees of inline markup: no link targets, no emphasis marks, no HTML tags."""
    parts = []
    for child in token.children or []:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "image":
            parts.append(child.content)
    return "".join(parts)


def _closing(tokens: list[Token], position: int) -> int:
    level = tokens[position].level
    return next(
        index
        for index in range(position + 1, len(tokens))
        if tokens[index].type == "table_close" and tokens[index].level == level
    )


def _rows(tokens: list[Token]) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_inline(token))
    return rows
