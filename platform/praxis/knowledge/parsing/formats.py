"""Which files are taken, and whether a file is what its name says; the first look, before parsing.

Imported by the child process: standard library only.
"""

from dataclasses import dataclass
from pathlib import PurePath

from .blocks import Refused

MAX_FILE_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True)
class Format:
    """`name` chooses the reader in `child`; `media_type` is what a download declares."""

    name: str
    media_type: str
    suffixes: tuple[str, ...]


FORMATS = (
    Format("markdown", "text/markdown", (".md", ".markdown")),
    Format("text", "text/plain", (".txt", ".text")),
    Format("html", "text/html", (".html", ".htm", ".xhtml")),
    Format("pdf", "application/pdf", (".pdf",)),
    Format(
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        (".docx",),
    ),
    Format(
        "pptx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        (".pptx",),
    ),
    Format("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", (".xlsx",)),
    Format("csv", "text/csv", (".csv", ".tsv")),
    Format("eml", "message/rfc822", (".eml",)),
    Format("jsonl", "application/jsonl", (".jsonl", ".ndjson")),
)
SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)

_SIGNATURES = (
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "OLE"),
    (b"\x7fELF", "ELF"),
    (b"MZ", "EXE"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"\x1f\x8b", "GZIP"),
    (b"Rar!", "RAR"),
    (b"7z\xbc\xaf\x27\x1c", "7Z"),
    (b"{\\rtf", "RTF"),
)
_OLD_OFFICE = {
    **dict.fromkeys((".doc", ".dot", ".docm", ".dotm"), ".docx"),
    **dict.fromkeys((".ppt", ".pps", ".pptm", ".ppsm", ".potm"), ".pptx"),
    **dict.fromkeys((".xls", ".xlt", ".xlsm", ".xltm", ".xlsb"), ".xlsx"),
}
WITH_PAGES = ("pdf", "pptx")
OFFICE = ("docx", "pptx", "xlsx")
_EXPECTED = {"pdf": "PDF", **dict.fromkeys(OFFICE, "ZIP")}


def format_of(file_name: str) -> Format:
    """By the name's ending. Raises `Refused` for one that is not taken."""
    suffix = PurePath(file_name).suffix.lower()
    for known in FORMATS:
        if suffix in known.suffixes:
            return known
    if newer := _OLD_OFFICE.get(suffix):
        raise Refused("old_office", suffix=suffix, newer=newer)
    raise Refused("unknown_format", suffix=suffix or file_name, known=", ".join(SUFFIXES))


def check_content(known: Format, *, size: int, head: bytes) -> None:
    """Raises `Refused` for an empty or too large file, or one that is not what its name says.

    `head`: the first bytes, 1,024 are enough.
    """
    if size == 0:
        raise Refused("empty_file")
    if size > MAX_FILE_BYTES:
        raise Refused(
            "too_large", megabytes=round(size / 1048576, 1), limit=MAX_FILE_BYTES // 1048576
        )
    found = next((name for magic, name in _SIGNATURES if head.startswith(magic)), None)
    if known.name == "pdf" and found != "PDF" and b"%PDF-" in head[:1024]:
        return  # readers allow bytes before the header
    expected = _EXPECTED.get(known.name)
    if found == "OLE" and known.name in OFFICE:
        raise Refused("encrypted_or_old_office", suffix=known.suffixes[0])
    # "MZ" is two letters that a text may begin with; the text decoder decides on those.
    if found != expected and not (expected is None and found == "EXE"):
        raise Refused("other_content", suffix=known.suffixes[0], found=found or "text")
