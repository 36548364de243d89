"""Has a child process read a file, and takes nothing from it on trust."""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

from .blocks import KINDS, MAX_CHARACTERS, Block, Page, Refused
from .fork_server import KILL, READ
from .formats import Format

WALL_SECONDS = 60
"""Of a file; where the format has pages, of each of them."""
MOST_WALL_SECONDS = 1_800
_MAX_LINE_BYTES = 4 * MAX_CHARACTERS
_READ_BYTES = 1 << 18
# `-m praxis.…` would import the platform with its settings and secrets; this imports `parsing` only.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv.pop(1)); from parsing.fork_server import main; main()"
)
_servers = threading.local()


def read_file(
    file: IO[bytes], known: Format, *, seconds: float = WALL_SECONDS
) -> Generator[Page, None, None]:
    """Pages as the child finds them. `file` needs a file descriptor, at its start.

    Raises `blocks.Refused`. Closing the iterator ends the child. A thread reads one file at a time.
    """
    server = _server()
    source, sink = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as pages:
        try:
            server.start(known.name, file.fileno(), sink)
        finally:
            os.close(sink)
        ended = False
        try:
            num_characters = 0
            deadline = _Deadline(seconds)
            for line in _lines(pages, deadline):
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
                raise _death(server.outcome())
        finally:
            server.stop_reader()


class _ForkServer:
    """The process that forks the readers of this thread; see `fork_server`."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-c", _BOOTSTRAP),
                    *(str(Path(__file__).parents[1]), str(theirs.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={"LANG": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                cwd="/",
                start_new_session=True,
            )
        self._control = ours
        self._reading = False

    @property
    def usable(self) -> bool:
        # A pool process is forked from one that may have had a server.
        return self.pid == os.getpid() and self._process.poll() is None and not self._reading

    def start(self, format_name: str, source: int, sink: int) -> None:
        self._reading = True
        socket.send_fds(self._control, [READ + format_name.encode()], [source, sink])

    def outcome(self) -> int | None:
        """The reader's exit code once it has ended; None when the server itself is gone."""
        try:
            answer = self._control.recv(16)
        except OSError:
            return None
        if not answer:
            return None
        self._reading = False
        return int(answer)

    def stop_reader(self) -> None:
        """Kill the reader unless it has ended; afterwards the server takes the next file."""
        if not self._reading:
            return
        with contextlib.suppress(OSError):
            self._control.sendall(KILL)
        self.outcome()

    def close(self) -> None:
        self._control.close()
        if self.pid == os.getpid():
            self._process.kill()
            self._process.wait()

    def __del__(self) -> None:
        self.close()


def _server() -> _ForkServer:
    server: _ForkServer | None = getattr(_servers, "server", None)
    if server is None or not server.usable:
        server = _servers.server = _ForkServer()
    return server


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


def _death(returncode: int | None) -> Refused:
    """Why the child fell silent without a last word."""
    if returncode == -signal.SIGXCPU:
        return Refused("timeout", seconds=WALL_SECONDS)
    if returncode == -signal.SIGKILL:  # the kernel's, when memory runs out
        return Refused("memory")
    return Refused("crashed")
