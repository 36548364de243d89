"""The ZIP package of an Office file, checked before anything reads it. Runs in the child process."""

import io
import re
import stat
import zipfile

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from .blocks import Refused

MAX_ENTRIES = 2_000
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_RATIO = 150
_RATIO_FREE_BYTES = 10 * 1024 * 1024
"""Small files compress very well; the ratio counts only above this size."""

_RELATIONSHIP = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"


def check_package(data: bytes, *, main_part: str, suffix: str) -> None:
    """Raises `Refused` when `main_part` is missing, and for a bomb, macros, a DTD, parts from elsewhere, or links in the archive.

    Sizes come from the archive's directory, so nothing is unpacked to know them; a directory that
    lies is caught because `zipfile` reads no more than it declares.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError):
        raise Refused("office_broken") from None
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    ratio_limit = max(_RATIO_FREE_BYTES, MAX_RATIO * len(data))
    if len(entries) > MAX_ENTRIES or unpacked > min(MAX_UNPACKED_BYTES, ratio_limit):
        raise Refused("zip_bomb", entries=len(entries), megabytes=unpacked // 1048576)
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names) or any(_forbidden(entry) for entry in entries):
        raise Refused("zip_paths")
    if any(re.search(r"vbaproject|vbadata", name, re.IGNORECASE) for name in names):
        raise Refused("macros")
    if main_part not in names:
        raise Refused("other_content", suffix=suffix, found="ZIP")
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels")):
            _check_xml(archive, entry)


def _forbidden(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.replace("\\", "/").split("/")
    return (
        stat.S_ISLNK(entry.external_attr >> 16)
        or entry.filename.startswith(("/", "\\"))
        or ".." in parts
        or bool(entry.flag_bits & 0x1)
    )


def _check_xml(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    try:
        root = fromstring(archive.read(entry), forbid_dtd=True)
    except DefusedXmlException:
        raise Refused("doctype") from None
    except (ParseError, zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError):
        raise Refused("office_broken") from None
    if entry.filename == "[Content_Types].xml" and any(
        "macroEnabled" in part.get("ContentType", "") for part in root
    ):
        raise Refused("macros")
    if entry.filename.endswith(".rels"):
        for relationship in root.iter(_RELATIONSHIP):
            kind = relationship.get("Type", "").rsplit("/", 1)[-1]
            if relationship.get("TargetMode") == "External" and kind != "hyperlink":
                raise Refused("external", kind=kind or "?")
