"""The training process: killed, interrupted, cancelled, refused.

Processes are forked from a server that has torch imported, so that a start costs milliseconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modeling.moe.shape import Experts
from modeling.training import run
from modeling.training.recipe import Balancing, Recipe, Schedule
from modeling.weights.manifest import verify_manifest

SAVE_EVERY = 3


@pytest.fixture(scope="session")
def start() -> Callable[..., BaseProcess]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["modeling.training.run"])

    def start_process(recipe: Recipe, die_at_fsync: int = 0) -> BaseProcess:
        process = context.Process(target=_execute, args=(recipe.to_json(), die_at_fsync))
        process.start()
        return process

    return start_process


def _execute(recipe: str, die_at_fsync: int) -> None:
    torch.set_num_threads(1)
    run.disable_progress_bar()
    if die_at_fsync:
        _die_at(die_at_fsync)
    sys.exit(run.execute(Recipe.from_json(recipe)))


def _die_at(number: int) -> None:
    """End this process, as kill -9 does, at its n-th flush while a checkpoint is written."""
    flush = os.fsync
    calls = iter(range(1, number))

    def flush_or_die(descriptor: Any) -> None:
        if "/part-" in os.readlink(f"/proc/self/fd/{descriptor}") and next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    setattr(os, "fsync", flush_or_die)  # noqa: B010 - mypy refuses the plain assignment


def finish(process: BaseProcess, seconds: float = 60) -> int:
    process.join(seconds)
    assert process.exitcode is not None, "the process did not end"
    return process.exitcode


def state(recipe: Recipe) -> dict[str, Any]:
    return json.loads((recipe.output / "state.json").read_text())


def metrics(recipe: Recipe) -> list[dict[str, Any]]:
    file = recipe.output / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def step_losses(recipe: Recipe) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in metrics(recipe) if line["loss"] is not None]


def adapter(recipe: Recipe) -> dict[str, torch.Tensor]:
    verify_manifest(recipe.output / "adapter", ["adapter_model.safetensors", "adapter.gguf"])
    return load_file(recipe.output / "adapter" / "adapter_model.safetensors")


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def assert_same_run(recipe: Recipe, whole: Recipe, redone: int) -> None:
    """Same weights, same losses, and no more done again than lies between two checkpoints."""
    expected = dict(step_losses(whole))
    lines = step_losses(recipe)
    for step, loss in lines:
        assert loss == pytest.approx(expected[step], abs=1e-6)
    assert dict(lines).keys() == expected.keys()
    for (before, _), (after, _) in pairwise(lines):
        assert after == before + 1 or before - after < redone
    reference = adapter(whole)
    for name, tensor in adapter(recipe).items():
        torch.testing.assert_close(tensor, reference[name], atol=1e-6, rtol=0)


def killed_run(
    start: Callable[..., BaseProcess],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    kills: int,
) -> None:
    options = {"steps": 12, "save_every_steps": SAVE_EVERY, "max_tokens": 512}
    whole = make_recipe(output_dir=str(tmp_path / "whole"), **options)
    recipe = make_recipe(output_dir=str(tmp_path / "killed"), **options)
    began = time.monotonic()
    assert finish(start(whole)) == 0
    duration = time.monotonic() - began
    generator = random.Random(42)
    for number in range(kills):
        if number % 3 == 2:
            process = start(recipe, die_at_fsync=generator.randrange(1, 13))
            process.join(60)
        else:
            process = start(recipe)
            process.join(generator.uniform(0, duration))
            process.kill()
        process.join()
    assert finish(start(recipe)) == 0
    assert state(recipe)["phase"] == "done"
    assert_same_run(recipe, whole, SAVE_EVERY)


def test_kill_9_at_any_moment_changes_nothing(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    killed_run(start, make_recipe, tmp_path, kills=5)


@pytest.mark.slow
def test_kill_9_thirty_times_changes_nothing(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    killed_run(start, make_recipe, tmp_path, kills=30)


@pytest.mark.parametrize("fsync", [2, 6, 12])
def test_kill_9_inside_a_save_changes_nothing(
    start: Callable[..., BaseProcess],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    fsync: int,
) -> None:
    whole = make_recipe(output_dir=str(tmp_path / "whole"), export_gguf=True)
    recipe = make_recipe()
    assert finish(start(whole)) == 0
    assert finish(start(recipe, die_at_fsync=fsync)) == -signal.SIGKILL
    assert finish(start(recipe)) == 0
    assert_same_run(recipe, whole, SAVE_EVERY)


def test_it_writes_the_adapter_the_result_and_the_state(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe()
    assert finish(start(recipe)) == 0
    assert state(recipe)["phase"] == "done"
    result = json.loads((recipe.output / "result.json").read_text())
    assert result["outcome"] == "completed"
    assert result["eval_loss"] == metrics(recipe)[-1]["eval_loss"]
    assert set(metrics(recipe)[0]) == {
        "step",
        "steps",
        "loss",
        "eval_loss",
        "learning_rate",
        "tokens_per_second",
        "tokens",
        "supervised_tokens",
        "seconds",
        "eta_seconds",
        "memory_bytes",
        "at",
    }
    before = (recipe.output / "adapter" / "MANIFEST.json").read_bytes()
    assert finish(start(recipe)) == 0
    assert (recipe.output / "adapter" / "MANIFEST.json").read_bytes() == before


def test_sigterm_saves_and_asks_to_be_continued(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    options = {"steps": 24, "save_every_steps": 1000}
    whole = make_recipe(output_dir=str(tmp_path / "whole"), **options)
    recipe = make_recipe(**options)
    assert finish(start(whole)) == 0
    process = start(recipe)
    until(lambda: len(step_losses(recipe)) >= 5)
    process.terminate()
    assert finish(process) == run.EXIT_INTERRUPTED
    assert state(recipe)["phase"] == "interrupted"
    assert finish(start(recipe)) == 0
    # Nothing is done twice, although no regular save lay in between.
    assert_same_run(recipe, whole, redone=1)


def test_a_cancel_file_stops_it(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe]
) -> None:
    recipe = make_recipe(steps=5000)
    process = start(recipe)
    until(lambda: len(step_losses(recipe)) >= 2)
    (recipe.output / "CANCEL").touch()
    assert finish(process) == 0
    assert state(recipe)["phase"] == "cancelled"
    assert not (recipe.output / "adapter").exists()
    assert not (recipe.output / "result.json").exists()


def test_a_second_process_on_one_directory_is_refused(
    start: Callable[..., BaseProcess],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = make_recipe(steps=5000)
    process = start(recipe)
    until(lambda: len(step_losses(recipe)) >= 1)
    file = tmp_path / "recipe.json"
    file.write_text(recipe.to_json())
    assert run.main(["--recipe", str(file)]) == run.EXIT_LOCKED
    assert "another process is training into" in capsys.readouterr().err
    assert process.is_alive()
    assert state(recipe)["phase"] != "failed"
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"model_path": "/nowhere"}, "missing_file", "model_path /nowhere does not exist"),
        ({"data_path": "/nowhere"}, "missing_file", "data_path /nowhere does not exist"),
        ({"max_tokens": 16}, "no_usable_data", "no conversation in the data set can be trained"),
        (
            {"lora": {"target_modules": ["nope"]}},
            "invalid_recipe",
            "Target modules {'nope'} not found",
        ),
        (
            {"lora": {"alpha": 10**30}, "schedule": {"learning_rate": 1.0, "warmup_share": 0.0}},
            "non_finite_loss",
            "lower the learning rate",
        ),
    ],
)
def test_a_failure_is_one_sentence_in_the_state(
    start: Callable[..., BaseProcess],
    make_recipe: Callable[..., Recipe],
    changes: dict[str, Any],
    code: str,
    message: str,
) -> None:
    recipe = Recipe.from_dict({**make_recipe(steps=50).to_dict(), **changes})
    assert finish(start(recipe)) == run.EXIT_FAILED
    assert state(recipe)["phase"] == "failed"
    assert state(recipe)["code"] == code
    assert message in state(recipe)["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: tried 9 bytes"),
            "out_of_memory",
        ),
        (OSError(28, "No space left on device"), "disk_full"),
        (KeyError("x"), "unexpected"),
    ],
)
def test_causes_have_codes(error: Exception, code: str) -> None:
    assert run.cause(error)[0] == code


def test_an_unreadable_recipe_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"model_path": "m", "data_path": "d", "output_dir": "o", "epoch": 1}')
    assert run.main(["--recipe", str(file)]) == run.EXIT_FAILED
    assert "unknown field epoch; allowed are" in capsys.readouterr().err


def test_it_does_not_outlive_the_process_that_started_it(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(
        steps=100_000, save_every_steps=100_000, schedule=Schedule(learning_rate=1e-3)
    )
    file = tmp_path / "recipe.json"
    file.write_text(recipe.to_json())
    # The trainer is started by a thread that ends at once; that alone must not end it.
    script = (
        "import subprocess, sys, threading, time\n"
        "def begin():\n"
        "    child = subprocess.Popen([sys.executable, '-m', 'modeling.training.run',"
        f" '--recipe', {str(file)!r}])\n"
        "    print(child.pid, flush=True)\n"
        "thread = threading.Thread(target=begin); thread.start(); thread.join()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(lambda: len(step_losses(recipe)) >= 3, 90)
        assert state(recipe)["phase"] in ("training", "saving")
    finally:
        parent.kill()
        parent.communicate()
    until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 30)
    assert state(recipe)["phase"] == "interrupted"


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_do_what_one_does(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """Three sequences a step: the second process has none for the last round."""
    options = {"steps": 30, "max_tokens": 128, "sequences_per_step": 3, "save_every_steps": 1000}
    one = make_recipe(output_dir=str(tmp_path / "one"), **options)
    two = make_recipe(output_dir=str(tmp_path / "two"), **options)
    assert finish(start(one)) == 0
    file = tmp_path / "recipe.json"
    file.write_text(two.to_json())

    def launch() -> subprocess.Popen[bytes]:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "modeling.training.run", "--recipe", str(file)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    first = launch()
    until(lambda: len(step_losses(two)) >= 2, 90)
    first.kill()
    first.wait()
    until(lambda: state(two)["phase"] == "interrupted", 60)
    until(lambda: not is_locked(two), 60)
    assert launch().wait(100) == 0
    expected = dict(step_losses(one))
    assert dict(step_losses(two)) == pytest.approx(expected, abs=1e-4)
    steps = [step for step, _ in step_losses(two)]
    assert steps == sorted(set(steps)), "a step was done twice"
    reference = adapter(one)
    for name, tensor in adapter(two).items():
        torch.testing.assert_close(tensor, reference[name], atol=1e-3, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_divided_weights_learn_as_whole_ones_do(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """With checkpoints on the way, which hold the whole weights."""
    options = {
        "max_tokens": 128,
        "sequences_per_step": 2,
        "save_every_steps": 3,
        "trainable": {"lora": 1.0, "norms": 1.0},
    }
    whole = make_recipe(output_dir=str(tmp_path / "whole"), steps=6, **options)
    divided = make_recipe(output_dir=str(tmp_path / "divided"), steps=6, **options)
    assert finish(start(whole)) == 0
    file = tmp_path / "recipe.json"
    file.write_text(divided.to_json())
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launched = subprocess.run(
        [sys.executable, *launcher, "-m", "modeling.training.tests.sharded_run", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=250,
        check=False,
    )
    assert launched.returncode == 0
    assert dict(step_losses(divided)) == pytest.approx(dict(step_losses(whole)), abs=1e-4)
    reference = adapter(whole)
    for name, tensor in adapter(divided).items():
        torch.testing.assert_close(tensor, reference[name], atol=1e-3, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_balance_a_mixture_as_one_does(
    start: Callable[..., BaseProcess], make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    options = {
        "steps": 5,
        "max_tokens": 128,
        "sequences_per_step": 3,
        "experts": Experts(number=4, width=16, top_k=2),
        "trainable": {"lora": 1.0, "experts": 1.0, "routers": 1.0},
        "balancing": Balancing(gamma=0.01, loss_weight=0.05),
        "schedule": Schedule(learning_rate=1e-3),
        "export_gguf": False,
    }
    one = make_recipe(output_dir=str(tmp_path / "one"), **options)
    two = make_recipe(output_dir=str(tmp_path / "two"), **options)
    assert finish(start(one)) == 0
    file = tmp_path / "recipe.json"
    file.write_text(two.to_json())
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launched = subprocess.run(
        [sys.executable, *launcher, "-m", "modeling.training.run", "--recipe", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
        check=False,
    )
    assert launched.returncode == 0
    assert dict(step_losses(two)) == pytest.approx(dict(step_losses(one)), abs=1e-5)
    reference = load_file(one.output / "adapter" / "experts.safetensors")
    weights = load_file(two.output / "adapter" / "experts.safetensors")
    for name, tensor in weights.items():
        if name.endswith("e_score_correction_bias"):
            assert torch.equal(tensor, reference[name]), name
            assert tensor.abs().max() > 0
        else:
            torch.testing.assert_close(tensor, reference[name], atol=1e-3, rtol=1e-2)


def is_locked(recipe: Recipe) -> bool:
    try:
        run.lock(recipe.output).close()
    except run.AlreadyRunning:
        return True
    return False
