from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from modeling.training import checkpoint
from modeling.training.checkpoint import FILES, NotEnoughDisk, Snapshot, latest_complete, load, save
from modeling.weights.manifest import MANIFEST_NAME


def snapshot(step: int) -> Snapshot:
    return Snapshot(
        step=step,
        trained={"a": torch.full((3, 2), float(step))},
        optimizer={"a|exp_avg": torch.ones(3, 2), "a|step": torch.tensor(float(step))},
        rng={"cpu.0": torch.get_rng_state()},
        state={"step": step, "cursor": [0, step]},
    )


def test_it_reads_back_what_was_saved(tmp_path: Path) -> None:
    saved = snapshot(7)
    read = load(save(tmp_path, saved, keep=2))
    assert (read.step, read.state) == (7, saved.state)
    for name in ("trained", "optimizer", "rng"):
        tensors, expected = getattr(read, name), getattr(saved, name)
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[key], expected[key]) for key in expected)


def test_the_newest_ones_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        save(tmp_path, snapshot(step), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


@pytest.mark.parametrize("name", [*FILES, MANIFEST_NAME])
@pytest.mark.parametrize("damage", ["deleted", "cut", "changed"])
def test_a_damaged_checkpoint_is_set_aside(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, snapshot(1), keep=3)
    newest = save(tmp_path, snapshot(2), keep=3)
    file = newest / name
    content = file.read_bytes()
    if damage == "deleted":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[:-5])
    else:
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    found = latest_complete(tmp_path)
    assert found is not None and found.name == "step-00000001"
    assert (tmp_path / "damaged-step-00000002-1").is_dir()
    assert name in caplog.text
    # The step is saved again under its own name, and the damaged one stays to be looked at.
    save(tmp_path, snapshot(2), keep=3)
    assert latest_complete(tmp_path) == newest


def test_without_any_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert latest_complete(tmp_path / "absent") is None
    assert latest_complete(tmp_path) is None


def test_half_written_ones_are_removed(tmp_path: Path) -> None:
    part = tmp_path / "part-step-00000005"
    part.mkdir()
    (part / "trained.safetensors").write_bytes(b"half")
    assert latest_complete(tmp_path) is None
    assert not part.exists()


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, snapshot(1), keep=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 99, 1_000_000))
    with pytest.raises(NotEnoughDisk, match="67 MB needed, 1 MB free; free some space"):
        save(tmp_path, snapshot(2), keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


class Killed(BaseException):
    """Stands for a process that ends at once."""


@pytest.mark.parametrize("fsync", range(1, 9))
def test_ending_inside_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync: int
) -> None:
    save(tmp_path, snapshot(1), keep=2)
    calls = iter(range(1, fsync))
    flush: Callable[[int], None] = checkpoint.os.fsync

    def end_at_last(descriptor: int) -> None:
        if next(calls, None) is None:
            raise Killed
        flush(descriptor)

    monkeypatch.setattr(checkpoint.os, "fsync", end_at_last)
    with contextlib.suppress(Killed):
        save(tmp_path, snapshot(2), keep=2)
    monkeypatch.undo()
    found = latest_complete(tmp_path)
    assert found is not None
    step = load(found).step
    assert load(found).trained["a"][0, 0] == step
    assert step == (2 if fsync >= 7 else 1)
