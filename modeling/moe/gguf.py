"""Write a mixture as GGUF: a dense llama file plus routed experts, for llama.cpp's `glm4moe`.

The dense tensors are taken as they are, quantised or not: the feed-forward is renamed to the
shared expert, and the rows of q and k go back from llama.cpp's paired rotary order to the
half-split order that `glm4moe` wants. Moving whole rows of a quantised tensor loses nothing.

Shapes: L = layers, E = routed experts, W = width of one routed expert, H = hidden width.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import numpy.typing as npt
from gguf.quants import dequantize, quantize

from modeling.moe.shape import Experts

if TYPE_CHECKING:  # importing it takes seconds, and only a type is needed
    from transformers import Glm4MoeForCausalLM

ARCHITECTURE = "glm4moe"
SOURCE_ARCHITECTURE = "llama"
FloatArray = npt.NDArray[np.float32]

_RENAMED = {
    "ffn_norm": "post_attention_norm",
    "ffn_gate": "ffn_gate_shexp",
    "ffn_up": "ffn_up_shexp",
    "ffn_down": "ffn_down_shexp",
}
_PERMUTED = {"attn_q": "head_count", "attn_k": "head_count_kv"}
# Written from the mixture's own facts, not copied.
_REPLACED = frozenset({"general.architecture", "general.size_label"})
_SIXTEEN_BITS = (gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16)


Change = Callable[[str, FloatArray], FloatArray]
"""From a tensor's name in the mixture's file and its float32 values (out, in), with q and k in the
half-split order, to its new values of the same shape."""


class NotConvertible(ValueError):
    """The dense GGUF file isn't one that can become a mixture; the text says why."""


@dataclass(frozen=True, kw_only=True)
class LayerExperts:
    """What one layer of the mixture adds to the dense layer, in float32."""

    router_EH: FloatArray
    bias_E: FloatArray
    gate_EWH: FloatArray
    up_EWH: FloatArray
    down_EHW: FloatArray


def fresh_experts(
    experts: Experts, *, layers: int, hidden: int, seed: int, spread: float = 0.02
) -> list[LayerExperts]:
    """New routed experts that add nothing yet: random input projections, zero down-projection."""
    generator = np.random.default_rng(seed)

    def drawn(*shape: int) -> FloatArray:
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(spread)

    number, width = experts.number, experts.width
    return [
        LayerExperts(
            router_EH=drawn(number, hidden),
            bias_E=np.zeros(number, dtype=np.float32),
            gate_EWH=drawn(number, width, hidden),
            up_EWH=drawn(number, width, hidden),
            down_EHW=np.zeros((number, hidden, width), dtype=np.float32),
        )
        for _ in range(layers)
    ]


def experts_of(mixture: Glm4MoeForCausalLM) -> list[LayerExperts]:
    """The routed experts and routers of a mixture, layer by layer.

    Written beside the dense file they give the mixture, if its other weights are the dense ones'.
    """
    layers = []
    for layer in mixture.model.layers:
        gate_up = layer.mlp.experts.gate_up_proj.detach().float().cpu().numpy()
        gate, up = np.split(gate_up, 2, axis=1)
        router = layer.mlp.gate
        layers.append(
            LayerExperts(
                router_EH=router.weight.detach().float().cpu().numpy(),
                bias_E=router.e_score_correction_bias.detach().float().cpu().numpy(),
                gate_EWH=np.ascontiguousarray(gate),
                up_EWH=np.ascontiguousarray(up),
                down_EHW=layer.mlp.experts.down_proj.detach().float().cpu().numpy(),
            )
        )
    return layers


def write_mixture(
    source: Path,
    target: Path,
    layers: list[LayerExperts],
    *,
    top_k: int,
    expert_type: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q8_0,
    change: Change | None = None,
    weight_type: gguf.GGMLQuantizationType | None = None,
) -> None:
    """Write the dense llama file `source` with the routed experts of `layers` to `target`.

    With `change` the tensors of the dense file are dequantised, changed in float32 and quantised
    again, the layers' matrices to `weight_type`, others to the type they had. Without it they keep
    their bytes.

    Routers and biases are float32; the experts' projections have `expert_type`, or float16 where
    a row doesn't divide into its blocks. The file appears at `target` only when it is whole.
    """
    reader = gguf.GGUFReader(source)
    facts = _facts(reader)
    experts = _check(facts, layers, top_k)
    with _writing(target, ARCHITECTURE) as writer:
        _write_facts(writer, reader, facts, experts)
        for tensor in reader.tensors:
            name, data = _converted(tensor, facts)
            kind = tensor.tensor_type
            if change is not None:
                data, kind = _changed(name, data, kind, change, weight_type)
            writer.add_tensor(name, data, raw_dtype=kind)
        for name, values, kind in _new_tensors(layers, expert_type):
            raw = values if kind == gguf.GGMLQuantizationType.F32 else quantize(values, kind)
            writer.add_tensor(name, raw, raw_dtype=kind)


def upcycle_gguf(source: Path, target: Path, experts: Experts, *, seed: int) -> None:
    """The dense file as a mixture that answers alike, with new experts drawn by `seed`."""
    facts = _facts(gguf.GGUFReader(source))
    layers = fresh_experts(
        experts,
        layers=facts["block_count"],
        hidden=facts["embedding_length"],
        seed=seed,
    )
    write_mixture(source, target, layers, top_k=experts.top_k)


def unpaired_rotary_rows(rows: npt.NDArray[Any], num_heads: int) -> npt.NDArray[Any]:
    """Rows (out, bytes or weights) from llama.cpp's paired rotary order to the half-split order."""
    out, width = rows.shape
    pairs = rows.reshape(num_heads, out // num_heads // 2, 2, width)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(out, width)


def paired_rotary_rows(rows: npt.NDArray[Any], num_heads: int) -> npt.NDArray[Any]:
    """The inverse of `unpaired_rotary_rows`."""
    out, width = rows.shape
    halves = rows.reshape(num_heads, 2, out // num_heads // 2, width)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(out, width)


def write_changed_dense(
    source: Path, target: Path, change: Change, *, weight_type: gguf.GGMLQuantizationType
) -> None:
    """Write the dense llama file `source` with its tensors changed in float32 to `target`.

    `change` sees q and k in the half-split order, as in `write_mixture`; the file keeps llama.cpp's
    paired order. The layers' matrices get `weight_type`, the embedding table and
    the head only if that has 16 bits; others keep the type they had.
    """
    reader = gguf.GGUFReader(source)
    facts = _facts(reader)
    with _writing(target, SOURCE_ARCHITECTURE) as writer:
        _copy_keys(writer, reader, SOURCE_ARCHITECTURE)
        for tensor in reader.tensors:
            heads = _PERMUTED.get(tensor.name.split(".")[-2])
            num_heads = int(facts[f"attention.{heads}"]) if heads else 0
            data = tensor.data
            if num_heads:
                data = unpaired_rotary_rows(data, num_heads)
            data, kind = _changed(tensor.name, data, tensor.tensor_type, change, weight_type)
            if num_heads:
                data = paired_rotary_rows(data, num_heads)
            writer.add_tensor(tensor.name, data, raw_dtype=kind)


def _facts(reader: gguf.GGUFReader) -> dict[str, Any]:
    """The keys of the architecture, without its prefix."""
    architecture = reader.fields["general.architecture"].contents()
    if architecture != SOURCE_ARCHITECTURE:
        raise NotConvertible(
            f"the file has architecture {architecture!r}; only {SOURCE_ARCHITECTURE!r} can become "
            "a mixture"
        )
    prefix = f"{architecture}."
    facts = {
        name.removeprefix(prefix): field.contents()
        for name, field in reader.fields.items()
        if name.startswith(prefix)
    }
    if facts.get("expert_count"):
        raise NotConvertible(
            f"the file has {facts['expert_count']} experts already; give a dense one"
        )
    head_size = facts["embedding_length"] // facts["attention.head_count"]
    rotated = facts.get("rope.dimension_count", head_size)
    if rotated != facts.get("attention.key_length", head_size):
        raise NotConvertible(
            f"{rotated} of a head's {head_size} values are rotated; only models that rotate all "
            "can become a mixture"
        )
    if any(tensor.name.endswith(".bias") for tensor in reader.tensors):
        raise NotConvertible("the file has bias tensors; only models without can become a mixture")
    return facts


def _check(facts: dict[str, Any], layers: list[LayerExperts], top_k: int) -> Experts:
    if len(layers) != facts["block_count"]:
        raise NotConvertible(
            f"experts for {len(layers)} layers were given, the file has {facts['block_count']}"
        )
    number, width, hidden = layers[0].gate_EWH.shape
    experts = Experts(number=number, width=width, top_k=top_k)
    if hidden != facts["embedding_length"]:
        raise NotConvertible(
            f"the experts are for a hidden width of {hidden}, the file has "
            f"{facts['embedding_length']}"
        )
    if facts["feed_forward_length"] % width:
        raise NotConvertible(
            f"the dense feed-forward is {facts['feed_forward_length']} wide, which isn't a "
            f"multiple of the routed experts' width {width}"
        )
    return experts


@contextmanager
def _writing(target: Path, architecture: str) -> Iterator[gguf.GGUFWriter]:
    """A writer whose file appears at `target` only when it is whole."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    writer = gguf.GGUFWriter(temporary, architecture)
    try:
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _copy_keys(writer: gguf.GGUFWriter, reader: gguf.GGUFReader, architecture: str) -> None:
    """The dense file's keys, those of its architecture under the new one's name."""
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in _REPLACED:
            continue
        key = name.replace(f"{SOURCE_ARCHITECTURE}.", f"{architecture}.", 1)
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, sub_type=element)


def _write_facts(
    writer: gguf.GGUFWriter, reader: gguf.GGUFReader, facts: dict[str, Any], experts: Experts
) -> None:
    head_size = facts["embedding_length"] // facts["attention.head_count"]
    _copy_keys(writer, reader, ARCHITECTURE)
    for name, length in (
        ("attention.key_length", head_size),
        ("attention.value_length", head_size),
        ("rope.dimension_count", head_size),
    ):
        if name not in facts:
            writer.add_uint32(f"{ARCHITECTURE}.{name}", length)
    writer.add_leading_dense_block_count(0)
    writer.add_expert_count(experts.number)
    writer.add_expert_used_count(experts.top_k)
    writer.add_expert_feed_forward_length(experts.width)
    writer.add_expert_shared_count(facts["feed_forward_length"] // experts.width)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_weights_norm(True)
    writer.add_expert_weights_scale(1.0)
    writer.add_nextn_predict_layers(0)


def _converted(tensor: gguf.ReaderTensor, facts: dict[str, Any]) -> tuple[str, npt.NDArray[Any]]:
    parts = tensor.name.split(".")
    if parts[0] != "blk":
        return tensor.name, tensor.data
    module = parts[2]
    data = tensor.data
    if module in _PERMUTED:
        data = unpaired_rotary_rows(data, int(facts[f"attention.{_PERMUTED[module]}"]))
    parts[2] = _RENAMED.get(module, module)
    return ".".join(parts), data


def _changed(
    name: str,
    data: npt.NDArray[Any],
    kind: gguf.GGMLQuantizationType,
    change: Change,
    weight_type: gguf.GGMLQuantizationType | None,
) -> tuple[npt.NDArray[Any], gguf.GGMLQuantizationType]:
    if not name.startswith("blk.") and data.ndim == 2:
        # The embedding table and the head, a fifth of all weights: nothing changes them. A file of 16
        # bits is for who wants the weights as they are, so it rounds no product with them to 8 bits.
        if weight_type in _SIXTEEN_BITS:
            return quantize(dequantize(data, kind), weight_type), weight_type
        return data, kind
    before = dequantize(data, kind)
    after = change(name, before)
    if after.shape != before.shape:
        raise NotConvertible(f"the change of {name} has shape {after.shape}, not {before.shape}")
    if weight_type is not None and after.ndim == 2:
        kind = weight_type
    return (after if kind == gguf.GGMLQuantizationType.F32 else quantize(after, kind)), kind


def _new_tensors(
    layers: list[LayerExperts], expert_type: gguf.GGMLQuantizationType
) -> Iterator[tuple[str, FloatArray, gguf.GGMLQuantizationType]]:
    block, _ = gguf.GGML_QUANT_SIZES[expert_type]
    for number, layer in enumerate(layers):
        prefix = f"blk.{number}"
        yield f"{prefix}.ffn_gate_inp.weight", layer.router_EH, gguf.GGMLQuantizationType.F32
        yield f"{prefix}.exp_probs_b.bias", layer.bias_E, gguf.GGMLQuantizationType.F32
        for name, values in (
            ("ffn_gate_exps", layer.gate_EWH),
            ("ffn_up_exps", layer.up_EWH),
            ("ffn_down_exps", layer.down_EHW),
        ):
            fits = values.shape[-1] % block == 0
            kind = expert_type if fits else gguf.GGMLQuantizationType.F16
            yield f"{prefix}.{name}.weight", values, kind
