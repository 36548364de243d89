"""Where an import takes its files from: a web page, a site's map, a ZIP archive, a watched folder.

Each source names what it has before it reads any of it, so that a job can say how far it is. Nothing
is trusted: addresses go through `guarded_http` and stay on the host that was typed, an archive is
judged before it is unpacked and never unpacked to disk, a link in the folder is not followed.
"""

import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urljoin, urlsplit
from urllib.robotparser import RobotFileParser
from xml.etree.ElementTree import Element, ParseError

import httpx
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis import guarded_http
from praxis.knowledge.parsing.formats import MAX_FILE_BYTES, SUFFIXES
from praxis.sentences import Sentence, sentence_of

ROBOT = "PraxisBot"
TIMEOUT_SECONDS = 20
MOST_REDIRECTS = 5
MOST_PAGES = 500
"""Of a site."""
MOST_MAPS = 20
"""Below a site's index of maps."""
MOST_ENTRIES = 2_000
"""Of an archive or a folder."""
MOST_UNPACKED_BYTES = 1024**3
MOST_RATIO = 100
"""Of unpacked to packed size; texts stay far below."""
SETTLED_SECONDS = 5
"""A file of the folder that was changed more recently may still be being written."""

_SUFFIXES = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
}


class SourceRefused(Exception):
    """The source, or one of its files, is not taken; the text says why."""


@dataclass(frozen=True)
class Content:
    file_name: str
    title: str
    """Empty: the file's name."""
    data: bytes


@dataclass(frozen=True)
class Item:
    """Something to import. `read` raises `SourceRefused`."""

    name: str
    read: Callable[[], Content]


# The web -----------------------------------------------------------------------------------------


def web_page(url: str) -> list[Item]:
    return [Item(url, partial(_read_page, url, _Robots()))]


def site(map_url: str) -> list[Item]:
    """The pages that a sitemap (or an index of sitemaps) names, as far as they are of its host."""
    robots = _Robots()
    maps, pages = [map_url], dict[str, None]()
    read = 0
    while maps and read < MOST_MAPS and len(pages) < MOST_PAGES:
        url = maps.pop(0)
        read += 1
        root = _xml(_fetch(url, robots)[1])
        inner = root.tag.endswith("sitemapindex")
        for place in root.iter():
            if place.tag.rpartition("}")[2] != "loc" or not (place.text or "").strip():
                continue
            found = urljoin(url, (place.text or "").strip())
            if _host(found) != _host(map_url):
                continue
            if inner:
                maps.append(found)
            else:
                pages[found] = None
    if not pages:
        raise SourceRefused(_("The sitemap names no page of its own host."))
    return [Item(url, partial(_read_page, url, robots)) for url in list(pages)[:MOST_PAGES]]


def _xml(data: bytes) -> Element:
    try:
        root: Element = fromstring(data, forbid_dtd=True)
    except (DefusedXmlException, ParseError) as error:
        raise SourceRefused(
            _("The sitemap is no XML that can be read, or it declares a DTD, which is not allowed.")
        ) from error
    return root


def _read_page(url: str, robots: "_Robots") -> Content:
    final, data, media_type = _fetch(url, robots)
    suffix = _SUFFIXES.get(media_type)
    if suffix is None:
        raise SourceRefused(
            Sentence(
                gettext_noop("It answers with the kind “%(kind)s”, which can't be read."),
                {"kind": media_type},
            )
        )
    parts = urlsplit(final)
    name = PurePosixPath(parts.path).name or "index"
    stem = name.removesuffix(PurePosixPath(name).suffix) if "." in name else name
    title = f"{parts.hostname}{parts.path}{'?' + parts.query if parts.query else ''}"
    return Content(f"{stem}{suffix}", title.rstrip("/")[:255], data)


def _fetch(url: str, robots: "_Robots") -> tuple[str, bytes, str]:
    """Final address, body and media type. Raises `SourceRefused`."""
    host = _host(url)
    for _hop in range(MOST_REDIRECTS + 1):
        if not robots.allow(url):
            raise SourceRefused(_("The site's robots.txt forbids reading this page."))
        answer = _get(url, MAX_FILE_BYTES)
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            url = urljoin(url, answer.headers["location"])
            if _host(url) != host:
                raise SourceRefused(
                    Sentence(
                        gettext_noop(
                            "It redirects to another host (%(host)s); import from that one."
                        ),
                        {"host": _host(url)},
                    )
                )
            continue
        if answer.status != 200:
            raise SourceRefused(
                Sentence(
                    gettext_noop("The server answers with %(status)s."), {"status": answer.status}
                )
            )
        if len(answer.body) > MAX_FILE_BYTES:
            raise SourceRefused(
                Sentence(
                    gettext_noop("It is larger than %(limit)s MB."),
                    {"limit": MAX_FILE_BYTES // 1048576},
                )
            )
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return url, answer.body, media_type
    raise SourceRefused(_("It redirects too often."))


def _get(url: str, most_bytes: int) -> guarded_http.Response:
    try:
        return guarded_http.get(
            url,
            headers={"user-agent": ROBOT, "accept-encoding": "gzip"},
            timeout_seconds=TIMEOUT_SECONDS,
            most_bytes=most_bytes,
            allowed=settings.IMPORT_ALLOWED_NETWORKS,
        )
    except guarded_http.AddressRefused as refusal:
        raise SourceRefused(sentence_of(refusal)) from refusal
    except httpx.HTTPError as error:
        raise SourceRefused(
            Sentence(
                gettext_noop("The server can't be reached (%(cause)s)."),
                {"cause": type(error).__name__},
            )
        ) from error


class _Robots:
    """The robots.txt of each host, read once."""

    def __init__(self) -> None:
        self._rules: dict[str, RobotFileParser] = {}

    def allow(self, url: str) -> bool:
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc}"
        if root not in self._rules:
            rules = RobotFileParser()
            answer = _get(f"{root}/robots.txt", 512 * 1024)
            # As RFC 9309 has it: without the file all is allowed, with a broken server nothing.
            if answer.status >= 500:
                lines = ["User-agent: *", "Disallow: /"]
            elif answer.status == 200:
                lines = answer.body.decode("utf-8", "replace").splitlines()
            else:
                lines = []
            rules.parse(lines)
            self._rules[root] = rules
        return self._rules[root].can_fetch(ROBOT, url)


def _host(url: str) -> str:
    return (urlsplit(url).netloc or "").lower()


# An archive --------------------------------------------------------------------------------------


def archive(file: IO[bytes]) -> list[Item]:
    """The readable files of a ZIP, judged by its directory before anything is unpacked."""
    try:
        opened = zipfile.ZipFile(file)
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise SourceRefused(_("The file is no ZIP archive, or it is damaged.")) from error
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > MOST_ENTRIES:
        raise SourceRefused(
            Sentence(
                gettext_noop("The archive has %(number)s files; at most %(limit)s are taken."),
                {"number": len(entries), "limit": MOST_ENTRIES},
            )
        )
    if unpacked > MOST_UNPACKED_BYTES or unpacked > MOST_RATIO * max(packed, 10_000):
        raise SourceRefused(
            Sentence(
                gettext_noop(
                    "The archive unpacks to far more than its size (%(megabytes)s MB), which is not allowed."
                ),
                {"megabytes": unpacked // 1048576},
            )
        )
    return [
        Item(entry.filename, partial(_unpack, opened, entry))
        for entry in entries
        if not entry.filename.startswith("__MACOSX/")
    ]


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Content:
    name = entry.filename.replace("\\", "/")
    path = PurePosixPath(name)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise SourceRefused(_("It is a symbolic link, which is not followed."))
    if path.is_absolute() or ".." in path.parts:
        raise SourceRefused(_("Its name leads out of the archive, which is not allowed."))
    if entry.flag_bits & 1:
        raise SourceRefused(_("It is encrypted. Pack it again without a password."))
    if path.suffix.lower() == ".zip":
        raise SourceRefused(_("It is an archive in the archive. Upload it by itself."))
    _check_size(entry.file_size)
    try:
        with opened.open(entry) as unpacked:
            # What the directory says about the size need not be true.
            data = unpacked.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise SourceRefused(_("It can't be unpacked; the archive is damaged.")) from error
    _check_size(len(data))
    return Content(path.name, str(path.with_suffix(""))[:255], data)


def _check_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise SourceRefused(
            Sentence(
                gettext_noop("It is larger than %(limit)s MB."),
                {"limit": MAX_FILE_BYTES // 1048576},
            )
        )


# A folder ----------------------------------------------------------------------------------------


def folder(root: Path) -> list[Item]:
    """The settled, readable files below a folder; links are named, but not followed."""
    return [Item(name, partial(_read_file, root, name)) for name, _ in files_in(root)]


def files_in(root: Path) -> list[tuple[str, os.stat_result]]:
    """Names relative to `root`, sorted; of what ends as a readable file does."""
    found = sorted(_walk(root, ""))[:MOST_ENTRIES]
    now = time.time()
    return [(name, facts) for name, facts in found if now - facts.st_mtime > SETTLED_SECONDS]


def _walk(root: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(root / below) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(root, f"{name}/")
            elif PurePosixPath(name).suffix.lower() in SUFFIXES:
                yield name, entry.stat(follow_symlinks=False)


def _read_file(root: Path, name: str) -> Content:
    try:
        descriptor = os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if (root / name).is_symlink():
            raise SourceRefused(_("It is a symbolic link, which is not followed.")) from error
        raise SourceRefused(
            Sentence(gettext_noop("It can't be opened (%(cause)s)."), {"cause": error.strerror})
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise SourceRefused(_("It is no regular file."))
        _check_size(facts.st_size)
        return Content(
            PurePosixPath(name).name,
            str(PurePosixPath(name).with_suffix(""))[:255],
            file.read(MAX_FILE_BYTES + 1),
        )
