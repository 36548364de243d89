"""The finished adapter as a folder that can be served, moved and checked."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modeling.training.checkpoint import publish
from modeling.training.recipe import Recipe
from modeling.training.trainer import Result
from modeling.weights.manifest import sha256_of, write_json

ADAPTER = "adapter"
GGUF = "adapter.gguf"
_VERSIONS_OF = ("torch", "transformers", "peft", "accelerate")


def gguf_architecture(model_path: Path) -> str:
    """llama.cpp's name of the architecture: `llama` is `llama`, `glm4_moe` is `glm4moe`."""
    config = json.loads((model_path / "config.json").read_text("utf-8"))
    return str(config["model_type"]).replace("_", "")


def export(recipe: Recipe, result: Result) -> Path:
    """Add the GGUF form and the manifest, and move the folder to `adapter/`."""
    assert result.adapter is not None
    model_path = Path(recipe.model_path)
    final = recipe.output / ADAPTER
    name = recipe.model_name or model_path.name
    config_file = result.adapter / "adapter_config.json"
    if config_file.is_file():
        if recipe.export_gguf:
            # Not at the top: a training host needs no llama.cpp tools unless they are used.
            from modeling.inference.gguf_adapter import export_lora_to_gguf

            architecture = "glm4moe" if recipe.experts else gguf_architecture(model_path)
            export_lora_to_gguf(result.adapter, result.adapter / GGUF, architecture)
        config = json.loads(config_file.read_text("utf-8"))
        # The trainer's own path means nothing on the machine that serves the adapter.
        write_json(config_file, {**config, "base_model_name_or_path": name})
    shutil.rmtree(final, ignore_errors=True)
    publish(
        result.adapter,
        final,
        {
            "format": 1,
            "kind": "lora" if set(recipe.trainable) == {"lora"} else "parts",
            "base_model": name,
            "base_sha256": _weights_hash(model_path),
            "data_sha256": _data_hash(recipe, result),
            "recipe": {
                key: value
                for key, value in recipe.to_dict().items()
                if key not in ("model_path", "data_path", "output_dir", "threads")
            },
            "result": summary(result),
            "versions": {name: importlib.metadata.version(name) for name in _VERSIONS_OF},
        },
    )
    return final


def summary(result: Result) -> dict[str, Any]:
    """The result as JSON values."""
    values = asdict(result)
    del values["adapter"]
    rate = result.tokens / result.seconds if result.seconds else 0.0
    return {**values, "tokens_per_second": rate}


def _data_hash(recipe: Recipe, result: Result) -> str:
    path = Path(recipe.data_path)
    return result.inventory.fingerprint if path.is_dir() else sha256_of(path)


def _weights_hash(model_path: Path) -> str:
    """One hash over the base's weight files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(model_path.glob("*.safetensors")):
        digest.update(sha256_of(path).encode())
    return digest.hexdigest()
