"""One page of a PDF as a picture, with a passage marked. Runs in a child process.

A PDF is as hostile here as when it was read, so the child gives up the same rights before it looks
at the file.
"""

import base64
import io
import json
import sys

import pypdfium2 as pdfium
from PIL import Image, ImageDraw

from .blocks import Refused
from .child import give_up_rights

DOTS_PER_INCH = 110
LONGEST_SIDE = 1_600
"""In pixels: a page that claims to be huge is rendered no larger."""
_MARK = (255, 214, 10, 110)
_SHORTEST_PART = 24
"""Letters of the passage's beginning or end by which a part of it is found on the page."""

Box = tuple[float, float, float, float]


def main() -> None:
    number, passage = int(sys.argv[1]), sys.argv[2]
    Image.preinit()  # imports its formats before the rights are given up
    give_up_rights()
    try:
        picture = render(sys.stdin.buffer.read(), number, passage)
        answer = {"png": base64.b64encode(picture).decode()}
    except Refused as refusal:
        answer = {"refused": refusal.code}
    sys.stdout.write(json.dumps(answer))


def render(data: bytes, number: int, passage: str) -> bytes:
    """The page (from 1) as PNG; `passage` is marked as far as the page's text layer has it."""
    try:
        document = pdfium.PdfDocument(data)
        page = document[number - 1]
        width, height = page.get_size()
        scale = min(DOTS_PER_INCH / 72, LONGEST_SIDE / max(width, height, 1))
        picture = page.render(scale=scale).to_pil().convert("RGB")
        boxes = _boxes(page, passage) if passage else []
    except (pdfium.PdfiumError, IndexError):
        raise Refused("pdf_broken") from None
    marks = Image.new("RGBA", picture.size)
    drawing = ImageDraw.Draw(marks)
    for left, bottom, right, top in boxes:
        drawing.rectangle(
            (left * scale - 1, (height - top) * scale - 1, right * scale + 1, (height - bottom) * scale + 1),
            fill=_MARK,
        )  # fmt: skip
    out = io.BytesIO()
    Image.alpha_composite(picture.convert("RGBA"), marks).convert("RGB").save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


def _boxes(page: pdfium.PdfPage, passage: str) -> list[Box]:
    """Lines of the passage on the page, as left, bottom, right, top in points."""
    words = page.get_textpage()
    letters, places = [], []
    for place in range(words.count_chars()):
        for letter in words.get_text_range(place, 1, errors="replace").casefold():
            if letter.isalnum():
                letters.append(letter)
                places.append(place)
    found = _find("".join(letters), "".join(filter(str.isalnum, passage.casefold())))
    if found is None:
        return []
    first, last = places[found[0]], places[found[1] - 1]
    num_boxes = words.count_rects(first, last - first + 1)
    return [words.get_rect(index) for index in range(num_boxes)]


def _find(page: str, passage: str) -> tuple[int, int] | None:
    """Start and end of the passage among the page's letters, or of what of it is on this page."""
    if not passage:
        return None
    if (whole := page.find(passage)) >= 0:
        return whole, whole + len(passage)
    part = passage[:_SHORTEST_PART]
    if len(part) == _SHORTEST_PART and (begin := page.find(part)) >= 0:
        return begin, min(begin + len(passage), len(page))
    part = passage[-_SHORTEST_PART:]
    if len(part) == _SHORTEST_PART and (end := page.find(part)) >= 0:
        return max(0, end + len(part) - len(passage)), end + len(part)
    return None
