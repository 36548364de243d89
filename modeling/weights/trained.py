"""The shipped model, put together for the CPU engine: the dense base, its changes, its experts.

Shards with routed experts make a mixture (architecture glm4moe), shards without stay dense (llama).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import gguf
import numpy as np

from modeling.moe.gguf import (
    Change,
    FloatArray,
    LayerExperts,
    write_changed_dense,
    write_mixture,
)
from modeling.weights.manifest import MANIFEST_NAME, ManifestError, sha256_of, write_json
from modeling.weights.pack import unpack

# transformers' names of what a layer of the dense base becomes, by llama.cpp's.
_LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def assemble_trained(
    dense: Path,
    dense_sha256: str,
    target: Path,
    *,
    shipped: Path,
    kind: gguf.GGMLQuantizationType,
) -> str:
    """Make `target` from the dense GGUF and the shards; returns its SHA-256.

    A file that was made from the same shards and is whole is kept. Raises ManifestError if the
    shards are damaged or were trained on another base.
    """
    record = target.with_suffix(".json")
    made_from = {
        "shards": sha256_of(shipped / MANIFEST_NAME),
        "base_sha256": dense_sha256,
        "type": kind.name,
    }
    if target.is_file() and record.is_file():
        recorded = json.loads(record.read_text(encoding="utf-8"))
        if recorded["made_from"] == made_from and recorded["sha256"] == sha256_of(target):
            return str(recorded["sha256"])
    tensors, facts = unpack(shipped)
    if facts["base_sha256"] != dense_sha256:
        raise ManifestError(
            f"the shipped weights were trained on a base with SHA-256 {facts['base_sha256']}; "
            f"the one installed has {dense_sha256}"
        )
    if facts["top_k"]:
        write_mixture(
            dense,
            target,
            layer_experts(tensors),
            top_k=int(facts["top_k"]),
            expert_type=kind,
            change=merged(tensors),
            weight_type=kind,
        )
    else:
        write_changed_dense(dense, target, merged(tensors), weight_type=kind)
    digest = sha256_of(target)
    write_json(
        record,
        {
            "model": facts["model"],
            "licence": facts["licence"],
            "size": target.stat().st_size,
            "sha256": digest,
            "made_from": made_from,
        },
    )
    return digest


def layer_experts(tensors: dict[str, FloatArray]) -> list[LayerExperts]:
    """The routed experts of every layer, from tensors under transformers' names."""
    number = len([name for name in tensors if name.endswith("mlp.experts.down_proj")])
    layers = []
    for layer in range(number):
        mlp = f"model.layers.{layer}.mlp"
        gate, up = np.split(tensors[f"{mlp}.experts.gate_up_proj"], 2, axis=1)
        layers.append(
            LayerExperts(
                router_EH=tensors[f"{mlp}.gate.weight"],
                bias_E=tensors[f"{mlp}.gate.e_score_correction_bias"],
                gate_EWH=np.ascontiguousarray(gate),
                up_EWH=np.ascontiguousarray(up),
                down_EHW=tensors[f"{mlp}.experts.down_proj"],
            )
        )
    return layers


def merged(tensors: dict[str, FloatArray]) -> Change:
    """Adds the product of the low-rank factors to a matrix, or puts a trained norm in its place."""

    def change(name: str, values: FloatArray) -> FloatArray:
        module = transformers_name(name)
        if (norm := tensors.get(f"{module}.weight")) is not None:
            return norm
        narrow = tensors.get(f"{module}.lora_A")
        if narrow is None:
            return values
        return np.asarray(values + tensors[f"{module}.lora_B"] @ narrow, dtype=np.float32)

    return change


def transformers_name(gguf_name: str) -> str:
    """`blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj`; without the `.weight`."""
    if gguf_name == "output_norm.weight":
        return "model.norm"
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", gguf_name)
    if match is None or match[2] not in _LAYER_NAMES:
        return gguf_name.removesuffix(".weight")
    return f"model.layers.{match[1]}.{_LAYER_NAMES[match[2]]}"


def save_trained(dense: Path, shipped: Path, folder: Path) -> None:
    """Write the shipped model as a Hugging Face folder (bfloat16 safetensors) from the dense folder.

    `AutoModelForCausalLM` and vLLM load it; tokenizer and chat template are the dense base's.
    """
    # Imported here: they cost seconds, and serving doesn't need them.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

    from modeling.moe.upcycle import Experts, upcycle

    tensors, facts = unpack(shipped)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        dense, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    if facts["top_k"]:
        number, _, width = tensors["model.layers.0.mlp.experts.down_proj"].shape
        experts = Experts(number=number, width=width, top_k=int(facts["top_k"]))
        model = upcycle(model, experts, seed=0)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            values = tensors.get(name)
            if values is None:
                module = name.removesuffix(".weight")
                if f"{module}.lora_A" not in tensors:
                    continue
                product = tensors[f"{module}.lora_B"] @ tensors[f"{module}.lora_A"]
                values = weight.numpy() + product
            weight.copy_(torch.from_numpy(values))
    model.bfloat16()
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(dense, local_files_only=True).save_pretrained(folder)
