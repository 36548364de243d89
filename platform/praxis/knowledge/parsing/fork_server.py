"""Forks a reader for each file: what the readers import is loaded once, not for every document.

`sandbox` starts it (with `-c`, in a process without secrets) and speaks to it over a pair of
sockets that keep messages apart: one letter and, to read, the format's name with two descriptors.
It answers with the exit code when the reader has ended. Only one reader at a time; the worker that asks reads one document at a time too.
"""

import gc
import os
import select
import signal
import socket
import sys
from importlib import import_module
from typing import NoReturn

from . import child

READ, KILL = b"r", b"k"
_MOST_NAME_BYTES = 40


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    # The end of the worker closes its side; a reader dies with this process (see `child`).
    while request := _request(control):
        letter, name, descriptors = request
        if letter == KILL:
            continue  # it ended by itself in the meantime
        import_module(f".{child.READERS[name]}", __package__)
        gc.freeze()
        reader = os.fork()
        if reader == 0:
            control.close()
            _read(name, *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        status = _outcome(control, reader)
        if status is None:
            return
        control.sendall(b"%d" % status)


def _request(control: socket.socket) -> tuple[bytes, str, list[int]] | None:
    try:
        message, descriptors, _, _ = socket.recv_fds(control, 1 + _MOST_NAME_BYTES, 2)
    except OSError:
        return None
    return (message[:1], message[1:].decode(), descriptors) if message else None


def _outcome(control: socket.socket, reader: int) -> int | None:
    """The reader's exit code, negative for a signal; None when the worker is gone."""
    ended = os.pidfd_open(reader)
    try:
        waiting = True
        while waiting:
            ready, _, _ = select.select([control.fileno(), ended], [], [])
            waiting = ended not in ready
            if waiting:
                request = _request(control)
                os.kill(reader, signal.SIGKILL)
                if request is None:
                    return None
    finally:
        os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])


def _read(name: str, source: int, sink: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        os.dup2(source, 0)
        os.dup2(sink, 1)
        os.closerange(3, max(source, sink) + 1)
        child.main(name)
        code = 0
    finally:
        # Not `sys.exit`: the parent's clean-up is not the reader's.
        os._exit(code)
