"""The writing in a page that is a picture, by PaddleOCR's models on onnxruntime.

The models come inside the wheel `rapidocr`, so nothing is fetched.
"""

from functools import lru_cache
from statistics import median
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from .blocks import Refused

DOTS_PER_INCH = 150
LONGEST_SIDE = 2_400
"""In pixels: a page that claims to be huge is rendered no larger."""
SUREST_LEFT_OUT = 0.5
"""Of the recogniser's confidence; below it is a smudge rather than a word."""


def has_picture(page: pdfium.PdfPage) -> bool:
    return any(item.type == raw.FPDF_PAGEOBJ_IMAGE for item in page.get_objects(max_depth=3))


def lines_of(page: pdfium.PdfPage) -> list[str]:
    """The lines from top to bottom, with an empty one where a paragraph ends."""
    width, height = page.get_size()
    scale = min(DOTS_PER_INCH / 72, LONGEST_SIDE / max(width, height, 1))
    try:
        found = _engine()(page.render(scale=scale).to_numpy(), use_cls=False)
    except MemoryError:
        raise Refused("memory") from None
    if found.txts is None:
        return []
    return _in_reading_order(
        [
            (min(y for _, y in box), max(y for _, y in box), min(x for x, _ in box), text)
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
            if score > SUREST_LEFT_OUT
        ]
    )


def _in_reading_order(pieces: list[tuple[float, float, float, str]]) -> list[str]:
    """`pieces`: top, bottom, left, text. Those at one height are one line."""
    if not pieces:
        return []
    usual = median(bottom - top for top, bottom, _, _ in pieces)
    rows: list[list[tuple[float, float, float, str]]] = []
    for piece in sorted(pieces):
        middle = (piece[0] + piece[1]) / 2
        if rows and rows[-1][0][0] <= middle <= rows[-1][0][1]:
            rows[-1].append(piece)
        else:
            rows.append([piece])
    lines: list[str] = []
    for above, row in zip([None, *rows], rows, strict=False):
        if above is not None and row[0][0] - above[0][1] > 0.9 * usual:
            lines.append("")
        lines.append(" ".join(text for _, _, _, text in sorted(row, key=lambda each: each[2])))
    return lines


@lru_cache(maxsize=1)
def _engine() -> Any:
    """Loaded for the first picture only: it takes two seconds and much of the memory."""
    from .child import allow_more_memory

    allow_more_memory()
    from rapidocr import RapidOCR

    one_thread = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            **{f"EngineConfig.onnxruntime.{name}": value for name, value in one_thread.items()},
        }
    )
