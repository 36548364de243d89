"""The training process that a worker starts.

    python -m modeling.training.run --recipe recipe.json [--dry-run]

It writes `metrics.jsonl`, `state.json`, `checkpoints/`, `adapter/` and `result.json` into the
recipe's output directory; docs/reference/training.md describes them and the exit codes.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import fcntl
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Literal, TextIO

import torch
from transformers.utils.logging import disable_progress_bar

from modeling.training import export
from modeling.training.chat import ChatTemplateError
from modeling.training.estimate import dry_run
from modeling.training.recipe import Recipe
from modeling.training.trainer import Metrics, Phase, Result, TrainingError, train
from modeling.weights.manifest import write_json

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_LOCKED = 73
EXIT_INTERRUPTED = 75

STATE = "state.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
CANCEL = "CANCEL"
LOCK = "run.lock"
_SECONDS_TO_SAVE = 120
_PR_SET_PDEATHSIG = 1

RunPhase = Phase | Literal["exporting", "done", "cancelled", "interrupted", "failed"]


class AlreadyRunning(Exception):
    """Another process trains into the same output directory."""


class Stop:
    """Why training should stop, if it should: a signal, a dead parent, or a CANCEL file."""

    def __init__(self, output: Path) -> None:
        self.interrupted = False
        self._cancel = output / CANCEL
        self._parent = os.getppid()

    @property
    def cancelled(self) -> bool:
        return self._cancel.exists()

    def asked(self) -> bool:
        return self.interrupted or self.cancelled

    def listen(self) -> None:
        """Stop on SIGTERM, SIGINT and the parent's death, so that no orphan trains on."""
        signal.signal(signal.SIGTERM, self._interrupt)
        signal.signal(signal.SIGINT, self._interrupt)
        # The kernel reports the end of the *thread* that started us, which may be one of many in
        # a living worker, hence a signal of its own and a look at who the parent is now.
        signal.signal(signal.SIGUSR1, self._parent_signal)
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1)
            self._parent_signal(signal.SIGUSR1, None)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupted = True
        # Without a handler SIGALRM ends the process: a save that hangs doesn't keep it alive.
        signal.alarm(_SECONDS_TO_SAVE)

    def _parent_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getppid() != self._parent:
            self._interrupt(number, frame)


def lock(output: Path) -> TextIO:
    """Hold the output directory; the lock goes with the process, however it ends."""
    file = (output / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(
            f"another process is training into {output}; wait for it or choose another output_dir"
        ) from None
    return file


class Journal:
    """state.json and metrics.jsonl, written by the main process of a run only."""

    def __init__(self, output: Path, *, writes: bool) -> None:
        self._output = output
        self._writes = writes

    def phase(self, phase: RunPhase, message: str = "", *, code: str = "") -> None:
        if self._writes:
            write_json(
                self._output / STATE,
                {"phase": phase, "message": message, "code": code, "at": time.time()},
            )

    def metrics(self, metrics: Metrics) -> None:
        if self._writes:
            with (self._output / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(metrics)) + "\n")

    def result(self, result: Result) -> None:
        if self._writes:
            write_json(self._output / RESULT, export.summary(result))


def cause(error: Exception) -> tuple[str, str]:
    """A code and one sentence for an error whose cause the person can act on."""
    text = str(error)
    if isinstance(error, TrainingError):
        return error.code, text
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "allocate memory" in text
    ):
        return (
            "out_of_memory",
            "the memory ran out; lower max_tokens or the adapter's rank and start a new job",
        )
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "os error 28" in text:
        return (
            "disk_full",
            "the disk is full; free some space and start the job again, it continues from its "
            "last checkpoint",
        )
    if type(error).__name__ == "NotEnoughDisk":
        return "disk_full", text
    if isinstance(error, FileNotFoundError):
        return "missing_file", text
    if isinstance(error, (ChatTemplateError, ValueError)):
        return "invalid_recipe", text
    return "unexpected", f"{type(error).__name__}: {text}"


def execute(recipe: Recipe) -> int:
    """Run one recipe to its end, its interruption or its failure; returns the exit code.

    An unexpected error is recorded and raised again, for the log.
    """
    output = recipe.output
    output.mkdir(parents=True, exist_ok=True)
    main_process = os.environ.get("RANK", "0") == "0"
    stop = Stop(output)
    held = lock(output) if main_process else None
    try:
        stop.listen()
        journal = Journal(output, writes=main_process)
        return _execute(recipe, stop, journal)
    finally:
        signal.alarm(0)
        if held is not None:
            held.close()


def _execute(recipe: Recipe, stop: Stop, journal: Journal) -> int:
    if (recipe.output / RESULT).is_file() and (recipe.output / export.ADAPTER).is_dir():
        journal.phase("done", "the adapter was already complete")
        return EXIT_DONE
    try:
        result = train(
            recipe,
            on_metrics=journal.metrics,
            should_stop=stop.asked,
            on_phase=journal.phase,
        )
        if result.outcome == "stopped":
            if stop.cancelled:
                journal.phase("cancelled", f"cancelled after step {result.step}")
                return EXIT_DONE
            journal.phase("interrupted", f"interrupted after step {result.step}; will continue")
            return EXIT_INTERRUPTED
        journal.phase("exporting")
        if os.environ.get("RANK", "0") == "0":
            export.export(recipe, result)
        journal.result(result)
        journal.phase("done")
        return EXIT_DONE
    except Exception as error:
        code, message = cause(error)
        journal.phase("failed", message, code=code)
        if code == "unexpected":
            raise
        sys.stderr.write(f"{message}\n")
        return EXIT_FAILED


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m modeling.training.run", description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True, help="a recipe as JSON")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="train three steps on the largest sequences and print time and memory as JSON",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    disable_progress_bar()
    try:
        recipe = Recipe.from_json(options.recipe.read_text("utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the recipe {options.recipe} cannot be used: {error}\n")
        return EXIT_FAILED
    if options.dry_run:
        try:
            estimate = dry_run(recipe)
        except Exception as error:
            code, message = cause(error)
            if code == "unexpected":
                raise
            sys.stderr.write(f"{message}\n")
            return EXIT_FAILED
        sys.stdout.write(json.dumps(asdict(estimate)) + "\n")
        return EXIT_DONE
    try:
        return execute(recipe)
    except AlreadyRunning as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_LOCKED


if __name__ == "__main__":
    sys.exit(main())
