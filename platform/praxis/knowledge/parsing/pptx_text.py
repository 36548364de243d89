"""Presentations (.pptx) by python-pptx: a slide is a page. Runs in the child process."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pptx
from pptx.exc import PackageNotFoundError
from pptx.util import Pt

from .blocks import MAX_PAGES, Block, Kind, Page, Refused, clean_line, strip_invisible, table_blocks
from .office_package import check_package
from .page_ranges import ranges

_SMALLEST = Pt(3)


def read(data: bytes) -> Iterator[Page]:
    check_package(data, main_part="ppt/presentation.xml", suffix=".pptx")
    try:
        slides = list(pptx.Presentation(io.BytesIO(data)).slides)
        if len(slides) > MAX_PAGES:
            raise Refused("too_many_pages", pages=len(slides), limit=MAX_PAGES)
        reading = _Reading()
        hidden: list[int] = []
        for number, slide in enumerate(slides, 1):
            if slide._element.get("show") == "0":
                hidden.append(number)
                page = Page(number, len(slides), [])
            else:
                page = Page(number, len(slides), list(reading.slide(slide)))
            if number == len(slides):
                page.notes = reading.notes()
                if hidden:
                    page.notes.append(("hidden_slides", {"pages": ranges(hidden)}))
            yield page
    except (PackageNotFoundError, zipfile.BadZipFile, KeyError, ValueError, AttributeError):
        raise Refused("office_broken") from None


class _Reading:
    def __init__(self) -> None:
        self.hidden = self.invisible = 0

    def notes(self) -> list[tuple[str, dict[str, Any]]]:
        notes: list[tuple[str, dict[str, Any]]] = []
        if self.hidden:
            notes.append(("hidden_text", {"characters": self.hidden}))
        if self.invisible:
            notes.append(("invisible_characters", {"characters": self.invisible}))
        return notes

    def slide(self, slide: Any) -> Iterator[Block]:
        """The title first, then the shapes from top to bottom, then what the speaker notes."""
        title = slide.shapes.title
        if title is not None and (text := clean_line(title.text_frame.text)):
            yield Block("heading", text, 2)
        others = [
            shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id
        ]
        for shape in sorted(others, key=lambda each: (each.top or 0, each.left or 0)):
            yield from self._shape(shape)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            for paragraph in slide.notes_slide.notes_text_frame.paragraphs:
                if text := clean_line(paragraph.text):
                    yield Block("paragraph", text)

    def _shape(self, shape: Any) -> Iterator[Block]:
        if shape.shape_type is not None and hasattr(shape, "shapes"):  # a group
            for inner in shape.shapes:
                yield from self._shape(inner)
        elif getattr(shape, "has_table", False):
            yield from table_blocks([[cell.text for cell in row.cells] for row in shape.table.rows])
        elif shape.has_text_frame:
            if shape._element.xpath(".//p:cNvPr[@hidden='1']"):
                self.hidden += len(clean_line(shape.text_frame.text))
                return
            paragraphs = [
                text for each in shape.text_frame.paragraphs if (text := self._text(each))
            ]
            kind: Kind = "item" if len(paragraphs) > 1 else "paragraph"
            for text in paragraphs:
                yield Block(kind, text)

    def _text(self, paragraph: Any) -> str:
        parts: list[str] = []
        for run in paragraph.runs:
            if run.font.size is not None and run.font.size < _SMALLEST:
                self.hidden += len(clean_line(run.text))
                continue
            self.invisible += strip_invisible(run.text)[1]
            parts.append(run.text)
        return clean_line("".join(parts))
