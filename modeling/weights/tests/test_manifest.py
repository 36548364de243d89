"""What counts as a complete folder of model files."""

import json
from pathlib import Path
from typing import Any

import pytest

from modeling.weights.manifest import ManifestError, verify_manifest, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"first")
    (tmp_path / "b").write_bytes(b"second")
    write_manifest(tmp_path, ["a", "b"], origin="here")
    return tmp_path


def test_it_accepts_what_was_written(folder: Path) -> None:
    manifest = verify_manifest(folder, ["a"])
    assert manifest["origin"] == "here"
    assert set(manifest["files"]) == {"a", "b"}


def test_it_refuses_a_changed_byte(folder: Path) -> None:
    (folder / "b").write_bytes(b"Second")
    with pytest.raises(ManifestError, match="SHA-256"):
        verify_manifest(folder, [])


def test_it_refuses_a_shorter_file(folder: Path) -> None:
    (folder / "b").write_bytes(b"sec")
    with pytest.raises(ManifestError, match="3 bytes, its manifest says 6"):
        verify_manifest(folder, [])


def test_it_refuses_a_missing_file(folder: Path) -> None:
    (folder / "b").unlink()
    with pytest.raises(ManifestError, match="missing"):
        verify_manifest(folder, [])


def test_it_refuses_a_required_file_that_is_not_listed(folder: Path) -> None:
    with pytest.raises(ManifestError, match="doesn't list c"):
        verify_manifest(folder, ["c"])


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "{}",
        json.dumps({"files": {"a": {"size": 5}}}),
        json.dumps({"files": {"a": "5"}}),
        json.dumps({"files": {"../a": {"size": 5, "sha256": "0"}}}),
        json.dumps({"files": {"/etc/passwd": {"size": 5, "sha256": "0"}}}),
    ],
)
def test_it_refuses_a_manifest_that_is_none(content: Any, folder: Path) -> None:
    (folder / "MANIFEST.json").write_text(content, encoding="utf-8")
    with pytest.raises(ManifestError):
        verify_manifest(folder, [])
