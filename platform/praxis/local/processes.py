"""Starting other programs so that none of them outlives the process that started it."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, TextIO

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
# Loaded here because nothing may be imported between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class LocalProcess:
    """A program that `manage.py up` runs beside its own, declared by an app:

    class ShopConfig(AppConfig):
        local_processes = [
            LocalProcess(name="shop", argv=(sys.executable, "-m", "apps.shop.endpoint"))
        ]

    It gets the addresses of the services in its environment and is stopped with SIGTERM.
    """

    name: str
    argv: Sequence[str]
    ready_url: str = ""
    """Answers with a 2xx once the program is ready; empty: ready when it has started."""


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


class Process(Protocol):
    """What `subprocess.Popen` and `ForkedProcess` have in common."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, signum: int) -> None: ...


class ForkedProcess:
    """A child made by `fork_process`; as `subprocess.Popen`, for the little that is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        if not wait_until(
            lambda: self.poll() is not None,
            timeout_seconds=float("inf") if timeout is None else timeout,
        ):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        assert self._code is not None
        return self._code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)


def fork_process(work: Callable[[], None], *, name: str, stdout: int) -> ForkedProcess:
    """Run `work` in a copy of this process: what is imported here is shared, not loaded again.

    Only for a parent without threads and without open connections.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return ForkedProcess(pid)
    code = 1
    try:
        os.setsid()
        die_with_parent(parent=parent)
        _name_process(name)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        os.dup2(stdout, 1)
        os.dup2(stdout, 2)
        sys.stdout, sys.stderr = _line_writer(1), _line_writer(2)
        work()
        code = 0
    except SystemExit as wish:
        code = wish.code if isinstance(wish.code, int) else int(wish.code is not None)
    except BaseException:  # noqa: BLE001  (nothing may return into the parent's stack)
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Neither the parent's exit handlers nor its `finally` blocks are this process's.
        os._exit(code)


def _line_writer(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)


def _name_process(name: str) -> None:
    """What `ps` and `top` show as the command; the kernel keeps 15 bytes."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def stop_process(
    process: Process, *, stop_signal: int = signal.SIGTERM, grace_seconds: float
) -> None:
    """Ask, wait, then kill the whole session of the child."""
    if process.poll() is None:
        process.send_signal(stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    kill_session(process.pid)
    process.wait()


def kill_session(session_id: int) -> None:
    """Kill what is left of the session a child was started in, whatever group it is in by now."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session_id:
                os.kill(pid, signal.SIGKILL)


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
        if any(marker in part for part in process.cmdline()):
            # Its parent has just died, so the kernel has asked it to stop already.
            process.send_signal(stop_signal)
            if not wait_until(lambda: _is_gone(process), timeout_seconds=grace_seconds):
                process.kill()
                wait_until(lambda: _is_gone(process), timeout_seconds=grace_seconds)
    except psutil.NoSuchProcess:
        pass
    pid_file.unlink(missing_ok=True)


def _is_gone(process: psutil.Process) -> bool:
    try:
        # A zombie holds nothing any more; whoever should reap it may never do so.
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
