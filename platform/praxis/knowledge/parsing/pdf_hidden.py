"""Text of a PDF page that a person can't see: white, tiny, beside the page, or under a box."""

import ctypes

import pypdfium2 as pdfium
import pypdfium2.raw as raw

SMALLEST_POINTS = 1.5
"""Of the height of a line of text that a person can read."""
_LIGHT = 245
_MAX_OBJECTS = 20_000
"""A page of more objects (a map, a plan) is taken as it is: judging it would take too long."""

Box = tuple[float, float, float, float]


def remove_hidden(page: pdfium.PdfPage) -> int:
    """Take the hidden text off the page; returns how many characters it held.

    Invisible text over a picture stays: that is how a scanner stores what it recognised.
    """
    if raw.FPDFPage_CountObjects(page) > _MAX_OBJECTS:
        return 0
    width, height = page.get_size()
    bottom_left_x, bottom_left_y, *_ = page.get_mediabox()
    sheet = (bottom_left_x, bottom_left_y, bottom_left_x + width, bottom_left_y + height)
    if page.get_rotation() in (90, 270):
        sheet = (bottom_left_x, bottom_left_y, bottom_left_x + height, bottom_left_y + width)
    painted: list[tuple[int, Box, bool]] = []
    """Order, place and darkness of every filled area and picture."""
    pictures: list[Box] = []
    texts: list[tuple[int, pdfium.PdfObject, Box]] = []
    for order, item in enumerate(page.get_objects(max_depth=1)):
        if item.type == raw.FPDF_PAGEOBJ_TEXT:
            texts.append((order, item, item.get_bounds()))
        elif item.type == raw.FPDF_PAGEOBJ_IMAGE:
            pictures.append(item.get_bounds())
            painted.append((order, item.get_bounds(), True))
        elif item.type == raw.FPDF_PAGEOBJ_PATH and _is_filled(item):
            painted.append((order, item.get_bounds(), not _is_light(item)))
    if not texts:
        return 0
    hidden = [
        item for order, item, box in texts if _is_hidden(order, item, box, sheet, painted, pictures)
    ]
    if not hidden:
        return 0
    words = page.get_textpage()
    count = sum(len(_text_of(item, words).strip()) for item in hidden)
    words.close()
    for item in hidden:
        page.remove_obj(item)
    return count


def _is_hidden(
    order: int,
    item: pdfium.PdfObject,
    box: Box,
    sheet: Box,
    painted: list[tuple[int, Box, bool]],
    pictures: list[Box],
) -> bool:
    left, bottom, right, top = box
    if right <= left or top <= bottom:
        return False  # only spaces
    if right < sheet[0] or left > sheet[2] or top < sheet[1] or bottom > sheet[3]:
        return True
    if (
        min(top - bottom, right - left) < SMALLEST_POINTS
        and _font_points(item) < 2 * SMALLEST_POINTS
    ):
        return True
    if raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
        return not any(_covers(picture, box) for picture in pictures)
    if any(after > order and _covers(place, box) for after, place, _ in painted):
        return not any(_covers(picture, box) for picture in pictures)
    before = [dark for at, place, dark in painted if at < order and _covers(place, box)]
    return _is_light(item) and not (before and before[-1])


def _covers(outer: Box, inner: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return (
        outer[0] <= x <= outer[2]
        and outer[1] <= y <= outer[3]
        and outer[2] - outer[0] >= 0.9 * (inner[2] - inner[0])
    )


def _font_points(item: pdfium.PdfObject) -> float:
    size = ctypes.c_float()
    raw.FPDFTextObj_GetFontSize(item, size)
    matrix = item.get_matrix()
    return abs(size.value * (matrix.d or matrix.b))


def _is_filled(item: pdfium.PdfObject) -> bool:
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    return (
        bool(raw.FPDFPath_GetDrawMode(item, mode, stroke))
        and mode.value != 0
        and _alpha(item) > 200
    )


def _alpha(item: pdfium.PdfObject) -> int:
    return _colour(item)[3]


def _is_light(item: pdfium.PdfObject) -> bool:
    red, green, blue, alpha = _colour(item)
    return alpha < 10 or min(red, green, blue) >= _LIGHT


def _colour(item: pdfium.PdfObject) -> tuple[int, int, int, int]:
    parts = [ctypes.c_uint(0), ctypes.c_uint(0), ctypes.c_uint(0), ctypes.c_uint(255)]
    raw.FPDFPageObj_GetFillColor(item, *parts)
    red, green, blue, alpha = (part.value for part in parts)
    return red, green, blue, alpha


def _text_of(item: pdfium.PdfObject, words: pdfium.PdfTextPage) -> str:
    size = raw.FPDFTextObj_GetText(item, words, None, 0)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFTextObj_GetText(item, words, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: max(0, size - 2)].decode("utf-16-le", errors="ignore")
