"""Starts the child process that reads a file, and takes nothing from it on trust."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

from .blocks import KINDS, MAX_CHARACTERS, Block, Page, Refused
from .formats import Format

WALL_SECONDS = 60
"""Of a file; where the format has pages, of each of them."""
MOST_WALL_SECONDS = 1_800
_MAX_LINE_BYTES = 4 * MAX_CHARACTERS
_READ_BYTES = 1 << 18
# `-m praxis.…` would import the platform with its settings and secrets; this imports `parsing` only.
_BOOTSTRAP = "import sys; sys.path.append(sys.argv.pop(1)); from parsing.child import main; main()"


def read_file(
    file: IO[bytes], known: Format, *, seconds: float = WALL_SECONDS
) -> Generator[Page, None, None]:
    """Pages as the child finds them. `file` needs a file descriptor, at its start.

    Raises `blocks.Refused`. Closing the iterator ends the child.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOTSTRAP, str(Path(__file__).parents[1]), known.name],
        stdin=file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        ended = False
        num_characters = 0
        deadline = _Deadline(seconds)
        for line in _lines(child.stdout, deadline):
            message = _parse(line)
            if "refused" in message:
                raise Refused(str(message["refused"]), **message["values"])
            if ended := "end" in message:
                break
            page = _page(message)
            num_characters += sum(len(block.text) for block in page.blocks)
            if num_characters > MAX_CHARACTERS:
                raise Refused("too_much_text", limit=MAX_CHARACTERS)
            if page.total is not None:
                deadline.renew()
            yield page
        if not ended:
            raise _death(child)
    finally:
        child.stdout.close()
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._last = time.monotonic() + MOST_WALL_SECONDS
        self.renew()

    def renew(self) -> None:
        self._at = min(time.monotonic() + self.seconds, self._last)

    @property
    def seconds_left(self) -> float:
        return self._at - time.monotonic()


def _lines(pipe: IO[bytes], deadline: _Deadline) -> Iterator[bytes]:
    """Whole lines until the pipe ends. Raises `Refused` at the deadline, or for an endless line."""
    descriptor = pipe.fileno()
    waiting = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            seconds_left = deadline.seconds_left
            if seconds_left <= 0 or not selector.select(seconds_left):
                raise Refused("timeout", seconds=round(deadline.seconds))
            piece = os.read(descriptor, _READ_BYTES)
            if not piece:
                return
            waiting += piece
            if b"\n" in piece:
                *lines, rest = bytes(waiting).split(b"\n")
                waiting = bytearray(rest)
                yield from lines
            elif len(waiting) > _MAX_LINE_BYTES:
                raise Refused("too_much_text", limit=MAX_CHARACTERS)


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        raise Refused("crashed") from None
    if not isinstance(message, dict):
        raise Refused("crashed")
    return message


def _page(message: dict[str, Any]) -> Page:
    try:
        found = [Block(kind, text, level) for kind, text, level in message["blocks"]]
        page = Page(
            int(message["page"]),
            message["total"],
            found,
            [(str(code), dict(values)) for code, values in message["notes"]],
        )
    except (KeyError, TypeError, ValueError):
        raise Refused("crashed") from None
    if any(block.kind not in KINDS or not block.text for block in found):
        raise Refused("crashed")
    return page


def _death(child: subprocess.Popen[bytes]) -> Refused:
    """Why the child fell silent without a last word."""
    try:
        returncode = child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return Refused("crashed")
    if returncode == -signal.SIGXCPU:
        return Refused("timeout", seconds=WALL_SECONDS)
    if returncode == -signal.SIGKILL:  # the kernel's, when memory runs out
        return Refused("memory")
    return Refused("crashed")
