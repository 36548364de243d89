"""Checkpoints that are whole or absent.

A checkpoint is a folder that counts only with a MANIFEST.json holding the size and SHA-256 of every
other file. It is written under another name, flushed to the disk, and renamed into place, so a
process killed at any moment leaves either the old state or the new one. Tensors are safetensors,
everything else JSON: nothing here can execute code when it is read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from modeling.weights.manifest import ManifestError, verify_manifest, write_manifest

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8})")
_FREE_BYTES_KEPT = 64 * 1024 * 1024


FILES = ("trained.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")


class NotEnoughDisk(OSError):
    def __init__(self, directory: Path, needed: int, free: int) -> None:
        super().__init__(
            f"not enough disk space in {directory}: {needed / 1e6:.0f} MB needed, "
            f"{free / 1e6:.0f} MB free; free some space and start the job again, it continues "
            "from its last checkpoint"
        )
        self.needed = needed
        self.free = free


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    trained: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    rng: dict[str, torch.Tensor]
    state: dict[str, Any]


def require_free_space(directory: Path, num_bytes: int) -> None:
    needed = num_bytes + _FREE_BYTES_KEPT
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise NotEnoughDisk(directory, needed, free)


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(part: Path, final: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Complete the folder `part` and move it to `final`, which must not exist.

    Every file reaches the disk before the manifest that vouches for it, and both before the name.
    """
    names = sorted(path.name for path in part.iterdir())
    for name in names:
        sync(part / name)
    write_manifest(part, names, **(facts or {}))
    sync(part)
    os.rename(part, final)
    sync(final.parent)


def save(directory: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """Write one checkpoint, unless that step has one, and delete all but the newest `keep`."""
    directory.mkdir(parents=True, exist_ok=True)
    final = directory / f"step-{snapshot.step:08d}"
    if final.is_dir():
        # A run that is stopped behind a step that it saves anyhow.
        return final
    groups = {
        "trained.safetensors": snapshot.trained,
        "optimizer.safetensors": snapshot.optimizer,
        "rng.safetensors": snapshot.rng,
    }
    num_bytes = sum(
        tensor.numel() * tensor.element_size()
        for tensors in groups.values()
        for tensor in tensors.values()
    )
    require_free_space(directory, num_bytes)
    part = directory / f"part-{final.name}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, tensors in groups.items():
        save_file(tensors, part / name)
    (part / "state.json").write_text(json.dumps(snapshot.state, indent=2) + "\n", "utf-8")
    publish(part, final, {"step": snapshot.step})
    for old in _numbered(directory)[keep:]:
        shutil.rmtree(old)
    return final


def load(path: Path) -> Snapshot:
    """Read a checkpoint that `latest_complete` has accepted."""
    return Snapshot(
        step=int(path.name.removeprefix("step-")),
        trained=load_file(path / "trained.safetensors"),
        optimizer=load_file(path / "optimizer.safetensors"),
        rng=load_file(path / "rng.safetensors"),
        state=json.loads((path / "state.json").read_text("utf-8")),
    )


def tensors_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of an optimiser whose parameters are always the same, in the same order."""
    return {
        f"{number}.{name}": value if value.dim() else value.reshape(1)
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Undo `tensors_of`."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value.reshape(()) if name == "step" else value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def latest_complete(directory: Path) -> Path | None:
    """The newest checkpoint whose every byte is as recorded.

    Damaged ones are moved aside as `damaged-…`, half-written ones are deleted.
    """
    if not directory.is_dir():
        return None
    for leftover in directory.glob("part-*"):
        shutil.rmtree(leftover)
    for path in _numbered(directory):
        try:
            verify_manifest(path, FILES)
        except ManifestError as damage:
            logger.warning("checkpoint set aside: %s", damage)
            _set_aside(path)
        else:
            return path
    return None


def _set_aside(path: Path) -> None:
    number = 1
    while (target := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    os.rename(path, target)


def _numbered(directory: Path) -> list[Path]:
    return sorted(
        (path for path in directory.iterdir() if _NAME.fullmatch(path.name)),
        key=lambda path: path.name,
        reverse=True,
    )
