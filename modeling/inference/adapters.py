"""LoRA adapters on disk: which are loaded, and what is checked before one is."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling.weights.manifest import ManifestError, verify_manifest, write_json

ADAPTER_FILE = "adapter.gguf"
REQUIRED_FILES = (ADAPTER_FILE, "adapter_config.json")
LOADED_FILE = "loaded.json"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
# A GGUF may carry a chat template, which is a program. An adapter needs none of that.
_ALLOWED_KEYS = re.compile(
    r"GGUF\..+|general\.(architecture|type|name|alignment|file_type|quantization_version)"
    r"|adapter\.(type|lora\.alpha)"
)


class AdapterRefused(ValueError):
    """The adapter isn't loaded; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    name: str
    folder: Path
    sha256: str

    @property
    def gguf_path(self) -> Path:
        return self.folder / ADAPTER_FILE


def check_adapter(name: str, lora_path: str, adapters_dir: Path, base: Path) -> Adapter:
    """Return the adapter once its name, place, hashes and tensors are all in order.

    Raises AdapterRefused. Reads every byte of the folder's files.
    """
    if not _NAME.fullmatch(name):
        raise AdapterRefused(
            f"lora_name must be 1 to 128 letters, digits or ._:@- and start with a letter or a "
            f"digit, got {name!r}"
        )
    root = adapters_dir.resolve()
    try:
        folder = (root / lora_path).resolve(strict=True)
    except (OSError, ValueError) as exc:
        raise AdapterRefused(f"lora_path {lora_path!r} is not a folder that exists") from exc
    if not folder.is_relative_to(root) or folder == root or not folder.is_dir():
        raise AdapterRefused(
            f"lora_path must be a folder inside the server's adapters folder, got {lora_path!r}"
        )
    try:
        manifest = verify_manifest(folder, REQUIRED_FILES)
    except ManifestError as exc:
        raise AdapterRefused(str(exc)) from exc
    adapter = Adapter(name=name, folder=folder, sha256=manifest["files"][ADAPTER_FILE]["sha256"])
    _check_tensors(adapter.gguf_path, base)
    return adapter


def _check_tensors(path: Path, base: Path) -> None:
    # Imported here: the server needs it only when an adapter is loaded.
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        facts = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, OSError) as exc:
        raise AdapterRefused(f"{path.name} is not a GGUF file that can be read: {exc}") from exc
    if extra := sorted(key for key in facts if not _ALLOWED_KEYS.fullmatch(key)):
        raise AdapterRefused(f"{path.name} carries metadata an adapter must not: {extra[0]}")
    if facts.get("general.type") != "adapter" or facts.get("adapter.type") != "lora":
        raise AdapterRefused(f"{path.name} is not a LoRA adapter (general.type, adapter.type)")
    architecture, shapes = base_tensor_shapes(base)
    if facts.get("general.architecture") != architecture:
        raise AdapterRefused(
            f"{path.name} is for the architecture {facts.get('general.architecture')!r}, "
            f"the base is {architecture!r}"
        )
    if not reader.tensors:
        raise AdapterRefused(f"{path.name} holds no tensors")
    halves = {tensor.name: [int(size) for size in tensor.shape] for tensor in reader.tensors}
    for name, shape in halves.items():
        _check_half(path.name, name, shape, halves, shapes)


def _check_half(
    file: str,
    name: str,
    shape: list[int],
    halves: dict[str, list[int]],
    base_shapes: dict[str, list[int]],
) -> None:
    """GGUF writes shapes innermost first: A is (in, r), B is (r, out), the base (in, out).

    For routed experts all three have the number of experts behind.
    """
    target, _, half = name.rpartition(".")
    if half not in {"lora_a", "lora_b"} or target not in base_shapes:
        raise AdapterRefused(f"{file} adapts {name!r}, which the base doesn't have")
    other = halves.get(f"{target}.lora_{'b' if half == 'lora_a' else 'a'}")
    base_shape = base_shapes[target]
    place, rank_place = (0, 1) if half == "lora_a" else (1, 0)
    fits = (
        len(shape) == len(base_shape) >= 2
        and shape[place] == base_shape[place]
        and shape[2:] == base_shape[2:]
        and other is not None
        and other[1 - rank_place] == shape[rank_place]
    )
    if not fits:
        raise AdapterRefused(
            f"{name} in {file} has shape {shape}, which doesn't fit the base's {base_shape}"
        )


def base_tensor_shapes(base: Path) -> tuple[str, dict[str, list[int]]]:
    """Architecture and tensor shapes of the base GGUF, kept beside it after the first reading.

    Reading 49 000 vocabulary entries in Python takes most of a second.
    """
    cache = base.with_suffix(".tensors.json")
    size = base.stat().st_size
    if cache.is_file():
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["size"] == size:
            return kept["architecture"], kept["shapes"]
    import gguf

    reader = gguf.GGUFReader(base)
    architecture = reader.fields["general.architecture"].contents()
    shapes = {tensor.name: [int(width) for width in tensor.shape] for tensor in reader.tensors}
    write_json(cache, {"size": size, "architecture": architecture, "shapes": shapes})
    return str(architecture), shapes


def remember_loaded(adapters_dir: Path, adapters: Iterable[Adapter]) -> None:
    root = adapters_dir.resolve()
    write_json(
        adapters_dir / LOADED_FILE,
        [
            {"lora_name": adapter.name, "lora_path": str(adapter.folder.relative_to(root))}
            for adapter in adapters
        ],
    )


def remembered(adapters_dir: Path) -> list[dict[str, Any]]:
    """Name and path of each adapter that was loaded when the server last changed them."""
    path = adapters_dir / LOADED_FILE
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [
            {"lora_name": str(entry["lora_name"]), "lora_path": str(entry["lora_path"])}
            for entry in entries
        ]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as exc:
        raise AdapterRefused(
            f"{path} must be a list of objects with lora_name and lora_path ({exc}); "
            f"correct it or delete it"
        ) from exc
