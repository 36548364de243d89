"""Starting other programs so that none of them outlives the process that started it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

_PR_SET_PDEATHSIG = 1
# Loaded here because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(death_signal: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Ask the kernel to send this process `death_signal` when its parent dies (Linux only).

    A parent that is gone already (given as `parent`) ends this process at once.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, death_signal)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), death_signal)


def start_process(
    argv: Sequence[str],
    *,
    stdout: int | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own: Ctrl-C reaches the supervisor alone, which stops the
    children in order; a supervisor that is killed takes them along by `death_signal`.

    The kernel ties the child to the *thread* that starts it: call this from one that lives as long.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        env=env,
        cwd=cwd,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        start_new_session=True,
        # After the change of user, which would clear the request.
        preexec_fn=_tied_to(os.getpid(), death_signal),
    )


def _tied_to(parent: int, death_signal: int) -> Callable[[], None]:
    return lambda: die_with_parent(death_signal, parent=parent)


def stop_process(
    process: subprocess.Popen[bytes], *, stop_signal: int = signal.SIGTERM, grace_seconds: float
) -> None:
    """Ask, wait, then kill the whole session of the child."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            kill_session(process.pid)
            process.wait()
    kill_session(process.pid)


def kill_session(session_id: int) -> None:
    """Kill what is left of the session a child was started in (its own children included)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(session_id, signal.SIGKILL)


def end_leftover(pid_file: Path, marker: str, *, stop_signal: int, grace_seconds: float) -> None:
    """End a server that a crashed run left behind, and remove its stale pid file.

    A process counts as ours only if its command line contains `marker`: pids are reused.
    """
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        pid_file.unlink(missing_ok=True)
        return
    try:
        process = psutil.Process(pid)
        ours = any(marker in part for part in process.cmdline())
        if ours:
            # Its parent has just died, so the kernel has asked it to stop already.
            process.send_signal(stop_signal)
            try:
                process.wait(grace_seconds)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(grace_seconds)
    except psutil.NoSuchProcess:
        pass
    pid_file.unlink(missing_ok=True)


def wait_until(
    ready: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = 0.05
) -> bool:
    """True as soon as `ready()` is, False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval_seconds)
    return True
