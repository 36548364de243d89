"""Keeping a set of processes alive: their output in one place, crashes restarted, stopped in order."""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FrameType

from praxis.local.processes import (
    ForkedProcess,
    Process,
    fork_process,
    kill_session,
    start_process,
)

LONGEST_BACKOFF_SECONDS = 30
STEADY_SECONDS = 60
"""A process that ran so long starts its back-off anew when it crashes."""
LAST_LINES = 8
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95)


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM reached the supervisor."""


class ChildFailed(Exception):
    """A process that must run to its end, or become ready, did not."""


@dataclass(eq=False)
class Child:
    """A supervised process, over all its restarts."""

    name: str
    spawn: Callable[[int], Process]
    """Starts it with the given descriptor as its output."""
    stage: int
    """The stages stop from the highest to the lowest."""
    grace_seconds: float = 10
    process: Process | None = None
    started_at: float = 0.0
    restart_at: float | None = None
    backoff_seconds: float = 1
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


def program(*argv: str, env: dict[str, str] | None = None) -> Callable[[int], Process]:
    """Spawns another program; its environment is this process's at that moment, plus `env`."""

    def spawn(output: int) -> subprocess.Popen[bytes]:
        return start_process(argv, stdout=output, env={**os.environ, **(env or {})})

    return spawn


class Supervisor:
    """Runs children from one thread, so that they can be forked and tied to it."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._unfinished: dict[int, tuple[Child, bytes]] = {}
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._stops = 0
        self.tenders: list[Callable[[], None]] = []
        """Called about once a second, for what is watched in another way."""

    # Signals

    def listen(self) -> None:
        """From here on Ctrl-C and SIGTERM raise `StopRequested` in the main thread, once."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._stops += 1
        if self._stops == 1:
            raise StopRequested

    @property
    def in_a_hurry(self) -> bool:
        """Asked to stop a second time."""
        return self._stops > 1

    # Output

    def say(self, text: str, *, name: str = "praxis") -> None:
        label = f"{name:<8}|"
        if self._colours:
            colour = 1 if name == "praxis" else COLOURS[sum(name.encode()) % len(COLOURS)]
            label = f"\x1b[{colour}m{label}\x1b[0m"
        for line in text.splitlines():
            print(f"{label} {line}", flush=True)  # noqa: T201

    # Starting

    def start(self, child: Child) -> Child:
        if child not in self.children:
            self.children.append(child)
        read_end, write_end = os.pipe()
        try:
            child.process = child.spawn(write_end)
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        child.started_at = time.monotonic()
        child.restart_at = None
        os.set_blocking(read_end, False)
        self._unfinished[read_end] = (child, b"")
        self._selector.register(read_end, selectors.EVENT_READ)
        return child

    def forked(self, name: str, work: Callable[[], None]) -> Callable[[int], Process]:
        """Spawns a copy of this process that does `work`."""

        def spawn(output: int) -> ForkedProcess:
            return fork_process(lambda: self._in_child(work), name=f"praxis-{name}", stdout=output)

        return spawn

    def _in_child(self, work: Callable[[], None]) -> None:
        self._selector.close()
        for descriptor in self._unfinished:
            os.close(descriptor)
        work()

    # Running

    def run_to_end(self, child: Child) -> None:
        """Start a child that ends by itself; raises `ChildFailed` unless it succeeds."""
        self.start(child)
        assert child.process
        while child.process.poll() is None:
            self.pump(0.1)
        self._drain()
        self.children.remove(child)
        if code := child.process.poll():
            raise ChildFailed(f"{child.name} {_ending(code)}.")

    def wait_until(self, ready: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Look after the children until `ready()`; False when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if time.monotonic() > deadline:
                return False
            self.pump(0.1)
            self.tend()
        return True

    def run_forever(self) -> None:
        """Until `StopRequested`."""
        while True:
            self.pump(1.0)
            self.tend()

    def pump(self, seconds: float) -> None:
        """Pass on what the children say, for at most so long."""
        for key, _ in self._selector.select(seconds):
            self._read(key.fd)

    def tend(self) -> None:
        """Notice crashes, and start again what has waited long enough."""
        now = time.monotonic()
        for child in self.children:
            if child.restart_at is not None:
                if now >= child.restart_at:
                    self.start(child)
            elif child.process is not None and (code := child.process.poll()) is not None:
                kill_session(child.process.pid)
                self._drain()
                if now - child.started_at > STEADY_SECONDS:
                    child.backoff_seconds = 1
                self.say(
                    f"{child.name} {_ending(code)}; "
                    f"it is started again in {child.backoff_seconds:.0f} s."
                )
                for line in child.last_lines:
                    self.say(f"    {line}", name=child.name)
                child.restart_at = now + child.backoff_seconds
                child.backoff_seconds = min(child.backoff_seconds * 2, LONGEST_BACKOFF_SECONDS)
        for tender in self.tenders:
            tender()

    # Stopping

    def stop(self) -> None:
        """Stop every child, stage by stage; what does not end within its grace is killed."""
        for stage in sorted({child.stage for child in self.children}, reverse=True):
            self._stop_together([child for child in self.children if child.stage == stage])
        self.children.clear()

    def _stop_together(self, children: Iterable[Child]) -> None:
        running = [child for child in children if child.process and child.process.poll() is None]
        for child in running:
            assert child.process
            child.process.send_signal(signal.SIGTERM)
        deadline = {child: time.monotonic() + child.grace_seconds for child in running}
        while running:
            self.pump(0.05)
            for child in list(running):
                assert child.process
                if child.process.poll() is not None:
                    running.remove(child)
                elif time.monotonic() > deadline[child] or self.in_a_hurry:
                    self.say(f"{child.name} did not stop in time and is killed.")
                    kill_session(child.process.pid)
                    child.process.wait()
        for child in children:
            if child.process:
                kill_session(child.process.pid)
        self._drain()

    # Reading

    def _drain(self) -> None:
        for descriptor in list(self._unfinished):
            self._read(descriptor)

    def _read(self, descriptor: int) -> None:
        child, rest = self._unfinished[descriptor]
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            lines, rest = [line for line in (*lines, rest) if line], b""
            self._selector.unregister(descriptor)
            os.close(descriptor)
            del self._unfinished[descriptor]
        else:
            self._unfinished[descriptor] = (child, rest)
        for raw in lines:
            # A progress bar writes over itself: its last state is the line.
            if line := raw.decode(errors="replace").rstrip().rpartition("\r")[2]:
                child.last_lines.append(line)
                self.say(line, name=child.name)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"stopped with exit code {code}"
