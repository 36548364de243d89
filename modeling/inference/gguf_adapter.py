"""Export a LoRA adapter made by peft to the GGUF form that llama.cpp reads.

Shapes: r = LoRA rank, in / out = width of the adapted linear layer, E = routed experts, W = width of
one routed expert, H = hidden width.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from modeling.training.recipe import EXPERT_PARAMETERS

# Linear layers of transformers' Llama and Glm4Moe, and what llama.cpp calls them.
GGUF_LAYER_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
# Architectures whose GGUF keeps the rows of q and k interleaved for rotary embedding.
PERMUTED_ARCHITECTURES = frozenset({"llama"})

GATE_UP, DOWN = (name.rpartition(".")[2] for name in EXPERT_PARAMETERS)
# peft nests one wrapper in the other where both are adapted; neither is named after its weight.
_EXPERT_KEY = re.compile(
    r"^base_model\.model\.(?:model\.)?layers\.(?P<layer>\d+)\.mlp\.experts"
    r"(?P<inner>\.base_layer)?\.lora_(?P<half>[AB])\.weight$"
)
_PEFT_KEY = re.compile(
    r"^base_model\.model\.(?:model\.)?layers\.(?P<layer>\d+)\.(?P<module>.+)"
    r"\.lora_(?P<half>[AB])\.weight$"
)


class AdapterNotExportable(ValueError):
    """The adapter uses something GGUF adapters can't hold; the text names it."""


def export_lora_to_gguf(peft_dir: Path, out_path: Path, base_architecture: str = "llama") -> None:
    """Write `adapter_model.safetensors` of `peft_dir` as one GGUF adapter at `out_path`.

    Needs `adapter_config.json` beside it. For a `llama` base it also needs the number of
    attention and key-value heads, read from the base named in that config (a local folder).
    Raises AdapterNotExportable for anything but plain LoRA on linear layers and on the fused
    weights of routed experts.
    """
    config = json.loads((peft_dir / "adapter_config.json").read_text(encoding="utf-8"))
    _refuse_unsupported(config)
    alpha = _alpha(config)
    permuted_heads = (
        _head_counts(config, peft_dir) if base_architecture in PERMUTED_ARCHITECTURES else {}
    )
    tensors = load_file(peft_dir / "adapter_model.safetensors")
    if not tensors:
        raise AdapterNotExportable("adapter_model.safetensors holds no tensors")

    out_path.parent.mkdir(parents=True, exist_ok=True)
    temporary = out_path.with_name(f".{out_path.name}.partial")
    writer = gguf.GGUFWriter(temporary, base_architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    of_experts = {key: match for key in tensors if (match := _EXPERT_KEY.match(key))}
    for key in sorted(tensors.keys() - of_experts):
        name, weight = _to_gguf(key, tensors[key], permuted_heads)
        writer.add_tensor(name, weight)
    for layer in sorted({int(match["layer"]) for match in of_experts.values()}):
        halves = {
            (bool(match["inner"]), match["half"]): tensors[key].astype(np.float32)
            for key, match in of_experts.items()
            if int(match["layer"]) == layer
        }
        for name, weight in _experts_to_gguf(halves, config):
            writer.add_tensor(f"blk.{layer}.{name}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(out_path)


def _refuse_unsupported(config: dict[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise AdapterNotExportable(
            f"peft_type must be 'LORA' to export to GGUF, got {config.get('peft_type')!r}"
        )
    for field in ("use_dora", "alpha_pattern", "rank_pattern", "modules_to_save", "lora_bias"):
        if config.get(field):
            raise AdapterNotExportable(
                f"a GGUF adapter can't hold {field}={config[field]!r}; train without it"
            )
    if config.get("bias", "none") != "none":
        raise AdapterNotExportable(
            f"a GGUF adapter can't hold bias={config['bias']!r}; train with bias='none'"
        )


def _alpha(config: dict[str, Any]) -> float:
    """llama.cpp scales by alpha / r; rank-stabilised LoRA scales by alpha / sqrt(r)."""
    alpha, rank = float(config["lora_alpha"]), int(config["r"])
    return alpha * rank**0.5 if config.get("use_rslora") else alpha


def _head_counts(config: dict[str, Any], peft_dir: Path) -> dict[str, int]:
    base = Path(config["base_model_name_or_path"])
    base_config_path = (base if base.is_absolute() else peft_dir / base) / "config.json"
    if not base_config_path.is_file():
        raise AdapterNotExportable(
            f"base_model_name_or_path must be the folder of the base that the adapter was trained "
            f"on, got {config['base_model_name_or_path']!r}; its config.json gives the head counts"
        )
    base_config = json.loads(base_config_path.read_text(encoding="utf-8"))
    heads = int(base_config["num_attention_heads"])
    return {
        "self_attn.q_proj": heads,
        "self_attn.k_proj": int(base_config.get("num_key_value_heads") or heads),
    }


def _to_gguf(
    key: str, weight: npt.NDArray[Any], permuted_heads: dict[str, int]
) -> tuple[str, npt.NDArray[np.float32]]:
    match = _PEFT_KEY.match(key)
    if match is None or match["module"] not in GGUF_LAYER_NAMES:
        raise AdapterNotExportable(
            f"tensor {key!r} isn't LoRA on one of: {', '.join(GGUF_LAYER_NAMES)}"
        )
    module, half = match["module"], match["half"]
    weight = weight.astype(np.float32)
    if half == "B" and module in permuted_heads:
        weight = interleave_rotary_rows(weight, permuted_heads[module])
    name = f"blk.{match['layer']}.{GGUF_LAYER_NAMES[module]}.weight.lora_{half.lower()}"
    return name, np.ascontiguousarray(weight)


def _experts_to_gguf(
    halves: Mapping[tuple[bool, str], npt.NDArray[np.float32]], config: dict[str, Any]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """One layer's factors, by (inner wrapper, half), under llama.cpp's names without the layer.

    peft stacks the experts: A is (E r, in), expert after expert, and B (out, r E), in which the
    expert changes fastest. llama.cpp wants (E, r, in) and (E, out, r), and keeps gate and up apart.
    """
    rank = int(config["r"])
    for inner, parameter in _which_parameter(halves, config).items():
        a_stacked, b_stacked = halves[inner, "A"], halves[inner, "B"]
        number = len(a_stacked) // rank
        a = a_stacked.reshape(number, rank, -1)
        b = b_stacked.reshape(len(b_stacked), rank, number).transpose(2, 0, 1)
        parts = ("down",) if parameter == DOWN else ("gate", "up")
        for part, rows in zip(parts, np.split(b, len(parts), axis=1), strict=True):
            yield f"ffn_{part}_exps.weight.lora_a", a
            yield f"ffn_{part}_exps.weight.lora_b", np.ascontiguousarray(rows)


def _which_parameter(
    halves: Mapping[tuple[bool, str], npt.NDArray[np.float32]], config: dict[str, Any]
) -> dict[bool, str]:
    """The weight that each wrapper, the outer (False) and the inner, adapts."""
    named = [
        name.rpartition(".")[2]
        for name in config.get("target_parameters") or ()
        if name.endswith(EXPERT_PARAMETERS)
    ]
    wrappers = sorted({inner for inner, _half in halves})
    if len(named) != len(wrappers):
        raise AdapterNotExportable(
            f"target_parameters names {named or 'no expert weights'}, the file has factors for "
            f"{len(wrappers)} of {', '.join(EXPERT_PARAMETERS)}"
        )
    if len(wrappers) == 1:
        return {wrappers[0]: named[0]}
    # gate_up_proj maps H to 2 W, down_proj W to H.
    outer_is_gate_up = len(halves[False, "B"]) == 2 * halves[True, "A"].shape[1]
    return {False: GATE_UP, True: DOWN} if outer_is_gate_up else {False: DOWN, True: GATE_UP}


def interleave_rotary_rows(
    weight: npt.NDArray[np.float32], num_heads: int
) -> npt.NDArray[np.float32]:
    """Reorder output rows (out, r) from transformers' half-split to llama.cpp's paired rotary.

    Within each head, row i of the first half and row i of the second become neighbours.
    """
    rows, rank = weight.shape
    halves = weight.reshape(num_heads, 2, rows // num_heads // 2, rank)
    return halves.swapaxes(1, 2).reshape(rows, rank)
