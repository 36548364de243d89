"""Workbooks (.xlsx) by openpyxl: each sheet a heading, each row a record. Runs in the child."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from .blocks import Block, Page, Refused, record, strip_invisible
from .office_package import check_package
from .plain_text import in_parts

MAX_COLUMNS = 500
_MAX_EMPTY_ROWS = 1_000
"""After so many empty rows the rest of a sheet is taken to be empty: some declare a million."""


def read(data: bytes) -> Iterator[Page]:
    check_package(data, main_part="xl/workbook.xml", suffix=".xlsx")
    notes: list[tuple[str, dict[str, Any]]] = []
    try:
        yield from in_parts(_blocks(data, notes), notes)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError):
        raise Refused("office_broken") from None


def _blocks(data: bytes, notes: list[tuple[str, dict[str, Any]]]) -> Iterator[Block]:
    """Adds to `notes` before the last block is taken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of what it does not know
        workbook = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    hidden = [sheet.title for sheet in workbook.worksheets if sheet.sheet_state != "visible"]
    invisible = 0
    for sheet in workbook.worksheets:
        if sheet.sheet_state != "visible":
            continue
        yield Block("heading", sheet.title, 2)
        header: list[str] | None = None
        alone, empty = True, 0
        for values in sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS):
            cells = [_written(value) for value in values]
            if not any(cells):
                empty += 1
                if empty > _MAX_EMPTY_ROWS:
                    break
                continue
            empty = 0
            invisible += sum(strip_invisible(cell)[1] for cell in cells)
            if header is None:
                header = cells
                continue
            alone = False
            if text := record(header, cells):
                yield Block("row", text)
        if header is not None and alone and (text := record([], header)):
            yield Block("row", text)
    if hidden:
        notes.append(("hidden_sheets", {"names": ", ".join(hidden)}))
    if invisible:
        notes.append(("invisible_characters", {"characters": invisible}))


def _written(value: object) -> str:
    """As a person would write the cell: dates without a midnight, whole numbers without `.0`."""
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
