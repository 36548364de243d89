"""Pages of PDF files as pictures with a passage marked: rendered in a child process, then cached.

The caller has checked the reader's right to the version; the cache's key holds the version, the
page and the span, so what one reader caused to be rendered is only ever given for the same request.
"""

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from django.core.cache import cache

from praxis.knowledge.models import DocumentVersion
from praxis.knowledge.parsing.blocks import Refused

SECONDS = 20
KEPT_SECONDS = 3600
LONGEST_PASSAGE = 4_000
# As in `parsing.sandbox`: the child imports `parsing` only, without settings and secrets.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv.pop(1)); from parsing.page_image import main; main()"
)


def has_pictures(version: DocumentVersion) -> bool:
    return bool(version.page_starts) and version.file_name.lower().endswith(".pdf")


def page_picture(version: DocumentVersion, number: int, span: tuple[int, int] | None) -> bytes:
    """PNG of a page (from 1) with `version.text[start:end]` marked. Raises `Refused`."""
    passage = version.text[slice(*span)][:LONGEST_PASSAGE] if span else ""
    digest = hashlib.sha256(passage.encode()).hexdigest()[:16]
    key = f"page-picture:{version.pk}:{number}:{digest}"
    picture: bytes | None = cache.get(key)
    if picture is None:
        picture = _rendered(version, number, passage)
        cache.set(key, picture, KEPT_SECONDS)
    return picture


def _rendered(version: DocumentVersion, number: int, passage: str) -> bytes:
    package = str(Path(__file__).parent)
    try:
        with version.file.open("rb") as file:
            child = subprocess.run(
                [sys.executable, "-I", "-c", _BOOTSTRAP, package, str(number), passage],
                stdin=file.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd="/",
                start_new_session=True,
                timeout=SECONDS,
                check=True,
            )
        answer = json.loads(child.stdout)
        if "refused" in answer:
            raise Refused(str(answer["refused"]))
        return base64.b64decode(answer["png"], validate=True)
    except subprocess.TimeoutExpired:
        raise Refused("timeout", seconds=SECONDS) from None
    except (subprocess.CalledProcessError, FileNotFoundError, ValueError, KeyError):
        raise Refused("crashed") from None
