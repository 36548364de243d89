"""The trainer as a child process: start it, follow what it writes, and stop it.

The two talk through files in the run's output directory (see `modeling.training.run`), so the
trainer needs no database and a worker that dies leaves nothing half said.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from praxis.local.processes import kill_session, start_process

NICENESS = 10
"""The chat's processes go first."""
POLL_SECONDS = 0.5
STOPPED_TO_RESUME = 75
"""Exit code of a trainer that was asked to stop by SIGTERM and saved a checkpoint."""
LOCKED = 73
"""Exit code of a trainer whose output directory another one still holds."""

CANCEL_SECONDS = 45.0
"""How long the trainer may take to notice its CANCEL file, which it looks for at every step."""
STOP_SECONDS = 20.0
"""How long it may take to save a checkpoint while the worker shuts down."""
PAUSE_SECONDS = 120.0
"""How long it may take when nobody waits; a batch on a slow machine takes half a minute."""


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one run lie."""

    directory: Path

    @property
    def recipe(self) -> Path:
        return self.directory / "recipe.json"

    @property
    def data(self) -> Path:
        return self.directory / "data.jsonl"

    @property
    def log(self) -> Path:
        return self.directory / "trainer.log"

    @property
    def output(self) -> Path:
        return self.directory / "output"

    @property
    def metrics(self) -> Path:
        return self.output / "metrics.jsonl"

    @property
    def state(self) -> Path:
        return self.output / "state.json"

    @property
    def result(self) -> Path:
        return self.output / "result.json"

    @property
    def adapter(self) -> Path:
        return self.output / "adapter"

    @property
    def cancel(self) -> Path:
        return self.output / "CANCEL"


def start(files: RunFiles, *, module: str, source_root: Path) -> subprocess.Popen[bytes]:
    """Start the trainer on the recipe that lies in `files`; it dies with the calling thread.

    `module` is run with `--recipe`, and speaks as `modeling.training.run` does.
    """
    files.output.mkdir(parents=True, exist_ok=True)
    files.cancel.unlink(missing_ok=True)
    with files.log.open("ab") as log:
        process = start_process(
            [sys.executable, "-m", module, "--recipe", str(files.recipe)],
            stdout=log,
            # Threads that spin while they wait make training three times slower beside a busy chat.
            env={
                "OMP_WAIT_POLICY": "passive",
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "PYTHONUNBUFFERED": "1",
            },
            cwd=source_root,
        )
    # Before it has started a thread: threads inherit the niceness of the one that starts them.
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    return process


def follow(
    process: subprocess.Popen[bytes],
    files: RunFiles,
    *,
    on_metrics: Callable[[list[dict[str, Any]]], None],
    on_state: Callable[[str, str], None],
    check: Callable[[], None],
) -> int:
    """Wait for the trainer and return its exit code.

    New lines of the metrics go to `on_metrics`, a changed phase and its message to `on_state`.
    What `check` raises is passed on; whatever is raised, the trainer is dead when it leaves here.
    """
    metrics = MetricsReader(files.metrics)
    shown: tuple[str, str] | None = None
    try:
        while True:
            exit_code = process.poll()
            if lines := metrics.read():
                on_metrics(lines)
            if (state := read_state(files)) and state != shown:
                shown = state
                on_state(*state)
            if exit_code is not None:
                return exit_code
            check()
            time.sleep(POLL_SECONDS)
    finally:
        kill_session(process.pid)
        process.wait()


def cancel(process: subprocess.Popen[bytes], files: RunFiles) -> None:
    """Ask by file, then by SIGTERM, then kill; the trainer is dead on return."""
    files.cancel.touch()
    if not _ended(process, CANCEL_SECONDS):
        stop(process, STOP_SECONDS)


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let the trainer save a checkpoint, and kill it if that takes longer."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        _ended(process, seconds)
    kill_session(process.pid)
    process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


class MetricsReader:
    """Reads the whole lines that were added to a metrics file since the last call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    # A resumed trainer cut the file back to its checkpoint.
                    self._offset = 0
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(_objects(whole))


def _objects(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        # A line that a kill cut in the middle may have been completed by the next attempt's.
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                yield value


def read_state(files: RunFiles) -> tuple[str, str] | None:
    """The trainer's phase and message, or None before it wrote one."""
    try:
        state = json.loads(files.state.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return str(state.get("phase", "")), str(state.get("message", ""))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why the trainer failed: a code for the program and a sentence for people; may be empty."""

    code: str
    message: str


def read_failure(files: RunFiles) -> Failure:
    try:
        state = json.loads(files.state.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return Failure(code="", message="")
    if state.get("phase") != "failed":
        return Failure(code="", message="")
    return Failure(code=str(state.get("code", "")), message=str(state.get("message", "")))


def read_result(files: RunFiles) -> dict[str, Any]:
    """The figures that a finished trainer wrote."""
    result: dict[str, Any] = json.loads(files.result.read_text("utf-8"))
    return result


def log_tail(files: RunFiles, *, lines: int) -> str:
    """The last lines of the trainer's output, in bounded memory."""
    try:
        with files.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - lines * 400))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
