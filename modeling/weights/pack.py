"""The trained part of the model as it is shipped: int8 shards beside this module.

    python -m modeling.weights.pack --from ADAPTER --facts FACTS.json

ADAPTER is the folder that a training run leaves: `adapter_model.safetensors`, and
`experts.safetensors` and `base.safetensors` where those parts were trained. As shipped, the tensors
bear transformers' names of the mixture or, with top_k 0, of the dense model (`model.layers.N. …`)
and are of four kinds: `X.lora_A` (rank, in) and `X.lora_B` (out, rank), whose product is added to
the base's `X.weight`, scaling already multiplied in; the routed experts' `mlp.experts.gate_up_proj`
(E, 2W, H) and `down_proj` (E, H, W); the routers' `mlp.gate.weight` (E, H) and
`mlp.gate.e_score_correction_bias` (E,); and norms, which replace the base's. The facts state what is
in REQUIRED_FACTS.

Matrices and experts are stored in int8 with one float16 scale for each row of the last dimension;
routers, biases and norms in float32, because they are small and the choice of experts hangs on them.

Shapes: E = routed experts, W = width of one routed expert, H = hidden width.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from modeling.weights.assemble import SHIPPED
from modeling.weights.manifest import read_manifest, verify_manifest, write_manifest

MAX_SHARD_BYTES = 16 * 2**20
# Room for a shard's header: names and offsets of its tensors.
_SHARD_BUDGET = MAX_SHARD_BYTES - 2**18
_SCALE = ".scale"
REQUIRED_FACTS = ("model", "base_sha256", "licence", "data", "recipe", "top_k")

FloatArray = npt.NDArray[np.float32]

_NORM = r"(?:input_layernorm|post_attention_layernorm)\.weight"
_LINEAR = r"(?:self_attn\.[qkvo]_proj|mlp\.(?:shared_experts\.)?(?:gate|up|down)_proj)"
_NAME = re.compile(
    rf"model\.(?:norm\.weight|layers\.\d+\.(?:{_NORM}|{_LINEAR}\.lora_[AB]"
    r"|mlp\.gate\.(?:weight|e_score_correction_bias)|mlp\.experts\.(?:gate_up|down)_proj))"
)
_QUANTISED = re.compile(r".*(?:\.lora_[AB]|\.mlp\.experts\.(?:gate_up|down)_proj)")


class NotPackable(ValueError):
    """The trained tensors can't be shipped as they are; the text says which and why."""


def pack(tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any], folder: Path) -> None:
    """Replace `folder` by shards of at most MAX_SHARD_BYTES and a manifest that is written last."""
    _check(tensors, facts)
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    names = []
    for number, shard in enumerate(_shards(tensors)):
        names.append(f"trained-{number:03}.safetensors")
        save_file(shard, temporary / names[-1])
    shapes = {name: list(values.shape) for name, values in tensors.items()}
    write_manifest(temporary, names, format=1, shapes=shapes, **facts)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def unpack(folder: Path) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """The tensors in float32 and the manifest; raises ManifestError if a shard isn't as packed."""
    manifest = verify_manifest(folder, ())
    stored: dict[str, npt.NDArray[Any]] = {}
    for name in sorted(manifest["files"]):
        stored.update(load_file(folder / name))
    tensors = {
        name: values.astype(np.float32) * stored[name + _SCALE].astype(np.float32)[..., None]
        if values.dtype == np.int8
        else values.astype(np.float32)
        for name, values in stored.items()
        if not name.endswith(_SCALE)
    }
    return tensors, manifest


def quantise_rows(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """int8 values (…, n) and the float16 scale (…) of each row; exact for rows of zeros."""
    values = values.astype(np.float32)
    scale = (np.abs(values).max(axis=-1) / 127).astype(np.float16)
    # A scale below float16's smallest step would round to 0 and lose the row.
    scale = np.where((scale == 0) & values.any(axis=-1), np.finfo(np.float16).tiny, scale)
    scale = scale.astype(np.float16)
    divisor = np.where(scale == 0, 1, scale).astype(np.float32)[..., None]
    return np.clip(np.rint(values / divisor), -127, 127).astype(np.int8), scale


def _shards(tensors: Mapping[str, npt.NDArray[Any]]) -> Iterator[dict[str, npt.NDArray[Any]]]:
    shard: dict[str, npt.NDArray[Any]] = {}
    used = 0
    for name in sorted(tensors):
        parts = _stored(name, tensors[name])
        size = sum(part.nbytes for part in parts.values())
        if size > _SHARD_BUDGET:
            raise NotPackable(f"{name} takes {size} bytes; a shard holds {_SHARD_BUDGET}")
        if shard and used + size > _SHARD_BUDGET:
            yield shard
            shard, used = {}, 0
        shard |= parts
        used += size
    yield shard


def _stored(name: str, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    if not _QUANTISED.fullmatch(name):
        return {name: np.ascontiguousarray(values, dtype=np.float32)}
    quantised, scale = quantise_rows(values)
    return {name: quantised, name + _SCALE: scale}


def _check(tensors: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
    if missing := [name for name in REQUIRED_FACTS if name not in facts]:
        raise NotPackable(f"the facts lack {', '.join(missing)}")
    for name, values in tensors.items():
        if not _NAME.fullmatch(name):
            raise NotPackable(f"{name} is not a tensor that can be shipped; see {__name__}")
        if not np.isfinite(values).all():
            raise NotPackable(f"{name} has values that are not finite")
        if name.endswith(("lora_A", "lora_B")):
            other = name[:-1] + ("B" if name.endswith("A") else "A")
            if other not in tensors:
                raise NotPackable(f"{name} has no {other}")
    has_experts = any(name.endswith("mlp.experts.down_proj") for name in tensors)
    if has_experts != bool(facts["top_k"]):
        raise NotPackable(
            f"top_k is {facts['top_k']!r} and there are {'' if has_experts else 'no '}routed "
            "experts (mlp.experts.down_proj); a dense model has top_k 0 and none"
        )


def tensors_of(adapter: Path) -> dict[str, FloatArray]:
    """What a training run left, under the names and with the scaling that `pack` wants."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    scaling = config["lora_alpha"] / config["r"]
    tensors: dict[str, FloatArray] = {}
    for name, values in load_file(adapter / "adapter_model.safetensors").items():
        plain = name.removeprefix("base_model.model.").removesuffix(".weight")
        factor = scaling if plain.endswith("lora_B") else 1.0
        tensors[plain] = values.astype(np.float32) * np.float32(factor)
    for file in ("experts.safetensors", "base.safetensors"):
        if (adapter / file).is_file():
            # numpy knows no bfloat16, in which the experts are saved.
            with safe_open(adapter / file, "pt") as stored:
                for name in stored.keys():  # noqa: SIM118 - safe_open is no mapping
                    tensors[name] = stored.get_tensor(name).float().numpy()
    return tensors


def kept(tensors: Mapping[str, FloatArray], share: float) -> dict[str, FloatArray]:
    """The feed-forward blocks only `share` of the way from the base's weights to the trained ones.

    Models between the two keep more of what the base can do (Wortsman et al., "Robust fine-tuning of
    zero-shot models", CVPR 2022). Attention, which learnt to copy from a dialogue, is left as trained.
    Of a mixture no such mean exists, because the base has no routed experts: raises NotPackable.
    """
    if not 0 < share <= 1:
        raise NotPackable(f"the share that is kept must be above 0 and at most 1; got {share}")
    if any(".mlp.experts." in name for name in tensors):
        raise NotPackable("of routed experts all is kept, because the base has none; keep 1")
    return {
        name: values * np.float32(share) if re.search(r"\.mlp\..*\.lora_B$", name) else values
        for name, values in tensors.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m modeling.weights.pack", description="Pack trained weights for shipping."
    )
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="ADAPTER")
    parser.add_argument("--facts", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=SHIPPED)
    parser.add_argument(
        "--kept", type=float, default=1.0, help="the share of the feed-forward's change to ship"
    )
    options = parser.parse_args(arguments)
    try:
        facts = json.loads(options.facts.read_text(encoding="utf-8"))
        tensors = tensors_of(options.source)
        if options.kept != 1:
            tensors = kept(tensors, options.kept)
            facts["feed_forward_kept"] = options.kept
        pack(tensors, facts, options.to)
    except (NotPackable, OSError, json.JSONDecodeError) as exc:
        sys.stderr.write(f"Nothing is packed: {exc}\n")
        return 1
    files = read_manifest(options.to)["files"]
    total = sum(entry["size"] for entry in files.values())
    sys.stdout.write(f"{len(files)} shards, {total / 1e6:.1f} MB in {options.to}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
