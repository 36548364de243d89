from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import httpx
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM, Glm4MoeForCausalLM, LlamaForCausalLM

from modeling.inference.engine import EngineConfig
from modeling.inference.gguf_adapter import interleave_rotary_rows
from modeling.moe.gguf import (
    NotConvertible,
    experts_of,
    fresh_experts,
    unpaired_rotary_rows,
    upcycle_gguf,
    write_mixture,
)
from modeling.moe.tests.conftest import EXPERTS
from modeling.moe.upcycle import Experts, upcycle
from modeling.weights.assemble import BASE_MODEL_NAME, assemble, training_base

ROOT = Path(__file__).resolve().parents[3]
PROMPT = "The tenant shall pay the rent on the first day of each month. The landlord"


def write_dense(model: LlamaForCausalLM, path: Path, **changes: int) -> None:
    """The tiny Llama as llama.cpp's own converter would write it, with q and k in Q8_0."""
    config = model.config
    facts = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.dimension_count": config.head_dim,
        **changes,
    }
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in facts.items():
        writer.add_uint32(f"llama.{name}", int(value or 0))
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    writer.add_array("tokenizer.ggml.tokens", [f"t{number}" for number in range(96)])
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads or 1}
    for layer in range(config.num_hidden_layers):
        for ours, theirs in {
            "attn_norm": "input_layernorm",
            "attn_q": "self_attn.q_proj",
            "attn_k": "self_attn.k_proj",
            "attn_v": "self_attn.v_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_norm": "post_attention_layernorm",
            "ffn_gate": "mlp.gate_proj",
            "ffn_up": "mlp.up_proj",
            "ffn_down": "mlp.down_proj",
        }.items():
            values = weights[f"model.layers.{layer}.{theirs}.weight"]
            name = f"blk.{layer}.{ours}.weight"
            if ours in heads:
                paired = interleave_rotary_rows(values, heads[ours])
                kind = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(name, gguf.quants.quantize(paired, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }


def test_the_file_holds_the_mixture(
    dense: LlamaForCausalLM, mixture: Glm4MoeForCausalLM, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    for layer in mixture.model.layers:
        torch.nn.init.normal_(layer.mlp.experts.down_proj, std=0.5)
        layer.mlp.gate.e_score_correction_bias.uniform_(-0.1, 0.1)
    write_dense(dense, tmp_path / "dense.gguf")
    write_mixture(
        tmp_path / "dense.gguf",
        tmp_path / "mixture.gguf",
        experts_of(mixture),
        top_k=EXPERTS.top_k,
        expert_type=gguf.GGMLQuantizationType.F16,
    )
    written = tensors_of(tmp_path / "mixture.gguf")
    weights = {name: value.numpy() for name, value in mixture.state_dict().items()}
    expected: dict[str, np.ndarray] = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    for layer in range(3):
        ours, theirs = f"blk.{layer}", f"model.layers.{layer}"
        gate, up = np.split(weights[f"{theirs}.mlp.experts.gate_up_proj"], 2, axis=1)
        expected |= {
            f"{ours}.attn_norm.weight": weights[f"{theirs}.input_layernorm.weight"],
            f"{ours}.post_attention_norm.weight": weights[
                f"{theirs}.post_attention_layernorm.weight"
            ],
            f"{ours}.attn_q.weight": weights[f"{theirs}.self_attn.q_proj.weight"],
            f"{ours}.attn_k.weight": weights[f"{theirs}.self_attn.k_proj.weight"],
            f"{ours}.attn_v.weight": weights[f"{theirs}.self_attn.v_proj.weight"],
            f"{ours}.attn_output.weight": weights[f"{theirs}.self_attn.o_proj.weight"],
            f"{ours}.ffn_gate_inp.weight": weights[f"{theirs}.mlp.gate.weight"],
            f"{ours}.exp_probs_b.bias": weights[f"{theirs}.mlp.gate.e_score_correction_bias"],
            f"{ours}.ffn_gate_exps.weight": gate,
            f"{ours}.ffn_up_exps.weight": up,
            f"{ours}.ffn_down_exps.weight": weights[f"{theirs}.mlp.experts.down_proj"],
        }
        for part in ("gate", "up", "down"):
            expected[f"{ours}.ffn_{part}_shexp.weight"] = weights[
                f"{theirs}.mlp.shared_experts.{part}_proj.weight"
            ]
    assert written.keys() == expected.keys()
    for name, values in expected.items():
        # Q8_0 for q and k, float16 for the experts.
        assert np.allclose(written[name], values, atol=2e-3), name


def test_rows_of_a_quantised_tensor_are_moved_whole(
    dense: LlamaForCausalLM, tmp_path: Path
) -> None:
    write_dense(dense, tmp_path / "dense.gguf")
    upcycle_gguf(tmp_path / "dense.gguf", tmp_path / "mixture.gguf", EXPERTS, seed=0)
    before = {t.name: t for t in gguf.GGUFReader(tmp_path / "dense.gguf").tensors}
    after = {t.name: t for t in gguf.GGUFReader(tmp_path / "mixture.gguf").tensors}
    q = "blk.1.attn_q.weight"
    assert after[q].tensor_type == gguf.GGMLQuantizationType.Q8_0
    moved = sorted(row.tobytes() for row in after[q].data)
    assert moved == sorted(row.tobytes() for row in before[q].data)
    assert not np.array_equal(after[q].data, before[q].data)


def test_unpairing_undoes_pairing() -> None:
    rows = np.arange(32, dtype=np.float32).reshape(16, 2)
    assert np.array_equal(unpaired_rotary_rows(interleave_rotary_rows(rows, 4), 4), rows)


def test_the_file_says_what_it_is(dense: LlamaForCausalLM, tmp_path: Path) -> None:
    write_dense(dense, tmp_path / "dense.gguf")
    upcycle_gguf(tmp_path / "dense.gguf", tmp_path / "mixture.gguf", EXPERTS, seed=0)
    fields = gguf.GGUFReader(tmp_path / "mixture.gguf").fields
    facts = {name: fields[name].contents() for name in fields if not name.startswith("GGUF")}
    assert facts["general.architecture"] == "glm4moe"
    assert not [name for name in facts if name.startswith("llama.")]
    assert facts["glm4moe.expert_count"] == 4
    assert facts["glm4moe.expert_used_count"] == 2
    assert facts["glm4moe.expert_feed_forward_length"] == 16
    assert facts["glm4moe.expert_shared_count"] == 3
    assert facts["glm4moe.expert_gating_func"] == 2
    assert facts["glm4moe.leading_dense_block_count"] == 0
    assert facts["glm4moe.attention.key_length"] == 8
    assert facts["tokenizer.ggml.tokens"] == [f"t{number}" for number in range(96)]
    # Nothing half-written stays behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense.gguf", "mixture.gguf"]


def test_what_cannot_be_converted_is_refused(dense: LlamaForCausalLM, tmp_path: Path) -> None:
    source, target = tmp_path / "dense.gguf", tmp_path / "mixture.gguf"
    write_dense(dense, source)
    wrong_width = Experts(number=4, width=20, top_k=2)
    with pytest.raises(NotConvertible, match=r"48 wide, .* width 20"):
        upcycle_gguf(source, target, wrong_width, seed=0)
    with pytest.raises(NotConvertible, match="for 2 layers were given, the file has 3"):
        write_mixture(source, target, fresh_experts(EXPERTS, layers=2, hidden=32, seed=0), top_k=2)
    with pytest.raises(NotConvertible, match="hidden width of 64, the file has 32"):
        write_mixture(source, target, fresh_experts(EXPERTS, layers=3, hidden=64, seed=0), top_k=2)
    assert not target.exists()
    upcycle_gguf(source, target, EXPERTS, seed=0)
    with pytest.raises(NotConvertible, match="architecture 'glm4moe'; only 'llama'"):
        upcycle_gguf(target, tmp_path / "again.gguf", EXPERTS, seed=0)
    partly = tmp_path / "partly.gguf"
    write_dense(dense, partly, **{"rope.dimension_count": 4})
    with pytest.raises(NotConvertible, match="4 of a head's 8 values are rotated"):
        upcycle_gguf(partly, target, EXPERTS, seed=0)


@contextmanager
def engine(model: Path, folder: Path) -> Iterator[httpx.Client]:
    socket = folder / f"{model.stem}.sock"
    config = EngineConfig(
        parent_pid=os.getpid(),
        socket_path=str(socket),
        model_path=str(model),
        model_name="model",
        context=256,
        parallel=1,
        threads=1,
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "modeling.inference.engine", config.to_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"llama.cpp did not start with {model.name}"
        assert json.loads(line)["ready"] is True
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://engine", timeout=60) as client:
            yield client
    finally:
        process.communicate(timeout=30)
        socket.unlink(missing_ok=True)


def greedy(client: httpx.Client, tokens: int) -> tuple[list[int], dict[int, float]]:
    """The continuation, and the log-probabilities of the likeliest first tokens."""
    answer = client.post(
        "/completion",
        json={
            "prompt": PROMPT,
            "n_predict": tokens,
            "temperature": 0,
            "return_tokens": True,
            "n_probs": 8,
        },
    )
    answer.raise_for_status()
    body = answer.json()
    likeliest = body["completion_probabilities"][0]["top_logprobs"]
    return list(body["tokens"]), {entry["id"]: entry["logprob"] for entry in likeliest}


def write_float32(source: Path, target: Path) -> None:
    """The same model dequantised, so that llama.cpp doesn't quantise activations either."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=sub_type)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.weights
@pytest.mark.slow
def test_llama_cpp_goes_on_alike_with_the_real_mixture(tmp_path: Path) -> None:
    quantised = assemble(ROOT / "var" / "models", base=BASE_MODEL_NAME).base_gguf
    exact = tmp_path / "exact.gguf"
    write_float32(quantised, exact)
    # Quantised activations turn the last bit of a rotary sum into noise: near-ties may differ
    # after some tokens. In float32 the whole continuation is the same.
    for source, tokens, tolerance in ((exact, 24, 0.02), (quantised, 8, 0.3)):
        mixture = tmp_path / "mixture.gguf"
        upcycle_gguf(source, mixture, Experts(number=16, width=96, top_k=2), seed=0)
        with engine(source, tmp_path) as client:
            dense_tokens, dense_first = greedy(client, tokens)
        with engine(mixture, tmp_path) as client:
            mixture_tokens, mixture_first = greedy(client, tokens)
        assert len(dense_tokens) == tokens
        assert mixture_tokens == dense_tokens
        common = dense_first.keys() & mixture_first.keys()
        assert len(common) >= 6
        assert max(abs(dense_first[t] - mixture_first[t]) for t in common) < tolerance


@pytest.mark.weights
@pytest.mark.slow
def test_llama_cpp_routes_as_torch_does(tmp_path: Path) -> None:
    """With experts that speak loudly: torch and llama.cpp agree, and not with the base."""
    exact, path = tmp_path / "exact.gguf", tmp_path / "mixture.gguf"
    write_float32(assemble(ROOT / "var" / "models", base=BASE_MODEL_NAME).base_gguf, exact)
    dense = AutoModelForCausalLM.from_pretrained(
        training_base(ROOT / "var" / "models", base=BASE_MODEL_NAME), dtype=torch.float32
    ).eval()
    mixture = upcycle(dense, Experts(number=16, width=96, top_k=2), seed=0)
    torch.manual_seed(3)
    with torch.no_grad():
        for layer in mixture.model.layers:
            layer.mlp.experts.gate_up_proj.mul_(5)
            layer.mlp.experts.down_proj.normal_(std=0.5)
            layer.mlp.gate.e_score_correction_bias.uniform_(-0.05, 0.05)
    kind = gguf.GGMLQuantizationType.F32
    write_mixture(exact, path, experts_of(mixture), top_k=2, expert_type=kind)
    with engine(path, tmp_path) as client:
        _, first = greedy(client, 1)
        prompt = client.post("/tokenize", json={"content": PROMPT}).json()["tokens"]
    with torch.no_grad():
        of_mixture, of_dense = (
            model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1).tolist()
            for model in (mixture, dense)
        )
    differences = [abs(value - of_mixture[token]) for token, value in first.items()]
    from_dense = [abs(value - of_dense[token]) for token, value in first.items()]
    assert len(first) == 8
    assert max(differences) < 0.1, (first, differences)
    assert max(from_dense) > 0.5, from_dense
