"""JSON lines: each object becomes a record; long values become paragraphs. Runs in the child."""

import json
from collections.abc import Iterator
from typing import Any

from .blocks import Block, Page, Refused, clean_line
from .plain_text import blocks_of_text, decode, in_parts, notes_of

LONG_CHARACTERS = 300
_TITLES = ("title", "name", "question", "subject")
_MAX_DEPTH = 20


def read(data: bytes) -> Iterator[Page]:
    text, encoding = decode(data)
    yield from in_parts(_blocks(text.removeprefix("\ufeff")), notes_of(text, encoding))


def _blocks(text: str) -> Iterator[Block]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise Refused("jsonl_broken", line=number) from None
        if not isinstance(value, dict):
            raise Refused("jsonl_broken", line=number)
        yield from blocks_of_object(value)


def blocks_of_object(value: dict[str, Any]) -> Iterator[Block]:
    """One record of the short fields; a field with long text stands alone, under the title."""
    fields = list(_fields(value, "", 0))
    long = [text for _, text in fields if len(text) > LONG_CHARACTERS]
    if long:
        titles = {name.lower(): text for name, text in fields}
        title = next((titles[name] for name in _TITLES if name in titles), "")
        if title and len(title) <= LONG_CHARACTERS:
            yield Block("heading", clean_line(title), 2)
    if short := "; ".join(
        f"{clean_line(name)}: {clean_line(text)}"
        for name, text in fields
        if len(text) <= LONG_CHARACTERS and clean_line(text)
    ):
        yield Block("row", short)
    for text in long:
        yield from blocks_of_text(text)


def _fields(value: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _fields(inner, f"{name} {key}".strip(), depth + 1)
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        if all(not isinstance(each, dict | list) for each in value):
            yield name, ", ".join(_written(each) for each in value)
        else:
            for inner in value:
                yield from _fields(inner, name, depth + 1)
    elif (text := _written(value)).strip():
        yield name, text


def _written(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
