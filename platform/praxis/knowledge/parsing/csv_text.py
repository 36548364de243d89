"""CSV and TSV: each row becomes a record that names its columns. Runs in the child process."""

import csv
from collections.abc import Iterator

from .blocks import Block, Page, Refused, record
from .plain_text import decode, in_parts, notes_of

_SNIFFED = 16_384
_MAX_FIELD = 1_000_000


def read(data: bytes) -> Iterator[Page]:
    text, encoding = decode(data)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    yield from in_parts(_blocks(text), notes_of(text, encoding))


def _blocks(text: str) -> Iterator[Block]:
    csv.field_size_limit(_MAX_FIELD)
    try:
        rows = (row for row in csv.reader(_lines(text), _dialect(text)) if any(map(str.strip, row)))
        header = next(rows, [])
        alone = True
        for cells in rows:
            alone = False
            if content := record(header, cells):
                yield Block("row", content)
        if alone and (content := record([], header)):
            yield Block("row", content)
    except csv.Error as error:
        raise Refused("csv_broken", problem=str(error)) from None


def _lines(text: str) -> Iterator[str]:
    """Line by line with the line break, as `csv.reader` wants it, without a copy of the text."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _dialect(text: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(text[:_SNIFFED].rpartition("\n")[0] or text, ",;\t|")
    except csv.Error:  # one column, or cells too uneven to tell
        return csv.excel
