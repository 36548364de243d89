"""A folder of model files is complete when its MANIFEST.json is there and every file matches it.

The manifest is written last, so a folder cut short by a crash has none.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST_NAME = "MANIFEST.json"


class ManifestError(ValueError):
    """The folder is incomplete or differs from its manifest; the text says which file and how."""


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, names: Iterable[str], **facts: Any) -> dict[str, Any]:
    """Record size and SHA-256 of each named file in `folder`, with `facts` beside them."""
    manifest: dict[str, Any] = {
        **facts,
        "files": {
            name: {"size": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
            for name in names
        },
    }
    write_json(folder / MANIFEST_NAME, manifest)
    return manifest


def write_json(path: Path, value: Any) -> None:
    """Write so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ManifestError(f"{folder.name} has no {MANIFEST_NAME}") from exc
    except (UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise ManifestError(f"{MANIFEST_NAME} in {folder.name} is not JSON: {exc}") from exc
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ManifestError(f"{MANIFEST_NAME} in {folder.name} must be an object with 'files'")
    return manifest


def verify_manifest(folder: Path, required: Iterable[str]) -> dict[str, Any]:
    """Return the manifest after checking each listed file's size and SHA-256.

    Raises ManifestError if a required file isn't listed, or a listed file is missing, is a
    symbolic link, lies outside the folder, or differs.
    """
    manifest = read_manifest(folder)
    files: Mapping[str, Any] = manifest["files"]
    for name in required:
        if name not in files:
            raise ManifestError(f"{MANIFEST_NAME} in {folder.name} doesn't list {name}")
    for name, expected in files.items():
        _verify_file(folder, name, expected)
    return manifest


def _verify_file(folder: Path, name: str, expected: Any) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ManifestError(f"{MANIFEST_NAME} in {folder.name} names {name!r} outside the folder")
    if not isinstance(expected, dict) or set(expected) < {"size", "sha256"}:
        raise ManifestError(f"{MANIFEST_NAME} in {folder.name} lacks size or sha256 of {name}")
    if path.is_symlink() or not path.is_file():
        raise ManifestError(f"{folder.name}/{name} is missing or not a plain file")
    if (size := path.stat().st_size) != expected["size"]:
        raise ManifestError(
            f"{folder.name}/{name} has {size} bytes, its manifest says {expected['size']}"
        )
    if (digest := sha256_of(path)) != expected["sha256"]:
        raise ManifestError(
            f"{folder.name}/{name} has SHA-256 {digest}, its manifest says {expected['sha256']}"
        )
