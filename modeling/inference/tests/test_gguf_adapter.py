"""An exported adapter computes in llama.cpp what it computed in transformers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from modeling.inference.engine import EngineConfig
from modeling.inference.gguf_adapter import (
    GGUF_LAYER_NAMES,
    AdapterNotExportable,
    export_lora_to_gguf,
)

# peft still asks transformers for a name that transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

NUM_HEADS, NUM_KV_HEADS, VOCABULARY = 4, 2, 260
LETTER = 4 + ord("A")
PROMPT = [5, 70, 71, 9, 200, 33, 8, 120, 44, 17]


@dataclass(kw_only=True)
class Trained:
    """A tiny base and an adapter on it, in both worlds."""

    base_gguf: Path
    base_folder: Path
    adapter_folder: Path
    adapter_gguf: Path
    base_logprobs: dict[int, float]
    adapted_logprobs: dict[int, float]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=NUM_HEADS,
            num_key_value_heads=NUM_KV_HEADS,
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
            initializer_range=0.15,
        )
    ).eval()
    base_folder = folder / "base"
    model.save_pretrained(base_folder)
    base_gguf = folder / "base.gguf"
    write_llama_gguf(model, base_gguf)
    base_logprobs = next_token_logprobs(model)

    adapted = get_peft_model(
        model,
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=[name.rpartition(".")[2] for name in GGUF_LAYER_NAMES],
        ),
    ).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                # Large, so that a wrong row order shows in every logit.
                parameter.normal_(0, 0.3)
    adapter_folder = folder / "adapter"
    adapted.save_pretrained(str(adapter_folder))
    config_path = adapter_folder / "adapter_config.json"
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = str(base_folder)
    config_path.write_text(json.dumps(config), encoding="utf-8")
    adapter_gguf = adapter_folder / "adapter.gguf"
    export_lora_to_gguf(adapter_folder, adapter_gguf)
    return Trained(
        base_gguf=base_gguf,
        base_folder=base_folder,
        adapter_folder=adapter_folder,
        adapter_gguf=adapter_gguf,
        base_logprobs=base_logprobs,
        adapted_logprobs=next_token_logprobs(adapted),
    )


def next_token_logprobs(model: Any) -> dict[int, float]:
    with torch.no_grad():
        logits = model(torch.tensor([PROMPT])).logits[0, -1].float()
    return dict(enumerate(torch.log_softmax(logits, dim=-1).tolist()))


def write_llama_gguf(model: LlamaForCausalLM, path: Path) -> None:
    """The base as llama.cpp keeps it: float32, rows of q and k in pairs, bytes as vocabulary."""
    config: Any = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("llama")
    special = ["<unk>", "<s>", "</s>", "<pad>"]
    writer.add_token_list([*special, *(f"<0x{byte:02X}>" for byte in range(256))])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([2, 3, 3, 3, *[6] * 256])
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        **GGUF_LAYER_NAMES,
    }
    heads = {"self_attn.q_proj": NUM_HEADS, "self_attn.k_proj": NUM_KV_HEADS}
    for key, tensor in model.state_dict().items():
        weight = tensor.float().numpy()
        module = key.removesuffix(".weight")
        prefix = ""
        if module.startswith("model.layers."):
            _, _, layer, module = module.split(".", 3)
            prefix = f"blk.{layer}."
        if module in heads:
            weight = paired_rows(weight, heads[module])
        writer.add_tensor(f"{prefix}{names[module]}.weight", np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def paired_rows(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Row by row, so that it shares nothing with the export under test."""
    head_width = len(weight) // num_heads
    half = head_width // 2
    order = [
        head * head_width + side * half + index
        for head in range(num_heads)
        for index in range(half)
        for side in range(2)
    ]
    return weight[order]


@pytest.fixture(scope="module")
def engine(trained: Trained) -> Iterator[httpx.Client]:
    with tempfile.TemporaryDirectory(prefix="praxis-test-") as folder:
        socket_path = Path(folder) / "engine.sock"
        config = EngineConfig(
            parent_pid=os.getpid(),
            socket_path=str(socket_path),
            model_path=str(trained.base_gguf),
            model_name="tiny",
            context=128,
            parallel=1,
            threads=1,
            adapter_paths=(str(trained.adapter_gguf),),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "modeling.inference.engine", config.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process, httpx.Client(transport=httpx.HTTPTransport(uds=str(socket_path))) as client:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b'{"ready"')
            yield client
            process.kill()


def engine_logprobs(engine: httpx.Client, scale: float) -> dict[int, float]:
    answer = engine.post(
        "http://engine/completion",
        json={
            "prompt": PROMPT,
            "n_predict": 1,
            "temperature": 0,
            "n_probs": 20,
            # What is written doesn't matter, but an end or half a character would be answered
            # without probabilities. Those that are told are the model's, before the bias.
            "logit_bias": [[LETTER, 1000]],
            "cache_prompt": False,
            "lora": [{"id": 0, "scale": scale}],
        },
        timeout=30,
    )
    top = answer.json()["completion_probabilities"][0]["top_logprobs"]
    return {entry["id"]: entry["logprob"] for entry in top}


def largest_difference(ours: dict[int, float], theirs: dict[int, float]) -> float:
    assert len(ours) == 20
    return max(abs(logprob - theirs[token]) for token, logprob in ours.items())


def test_the_base_without_the_adapter_agrees(engine: httpx.Client, trained: Trained) -> None:
    assert largest_difference(engine_logprobs(engine, 0.0), trained.base_logprobs) < 0.05


def test_the_base_with_the_adapter_agrees(engine: httpx.Client, trained: Trained) -> None:
    ours = engine_logprobs(engine, 1.0)
    assert largest_difference(ours, trained.adapted_logprobs) < 0.05
    # The comparison says something only if the adapter changes the answer.
    assert largest_difference(ours, trained.base_logprobs) > 0.5


def test_it_names_and_shapes_the_tensors_as_llama_cpp_does(trained: Trained) -> None:
    reader = gguf.GGUFReader(trained.adapter_gguf)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    assert facts["general.type"] == "adapter"
    assert facts["adapter.type"] == "lora"
    assert facts["adapter.lora.alpha"] == 8
    assert facts["general.architecture"] == "llama"
    shapes = {tensor.name: [int(width) for width in tensor.shape] for tensor in reader.tensors}
    assert len(shapes) == 2 * 7 * 2
    # GGUF writes the innermost width first.
    assert shapes["blk.1.attn_k.weight.lora_a"] == [128, 4]
    assert shapes["blk.1.attn_k.weight.lora_b"] == [4, 64]


def test_only_a_permuted_architecture_reorders_rows(trained: Trained, tmp_path: Path) -> None:
    export_lora_to_gguf(trained.adapter_folder, tmp_path / "a.gguf", base_architecture="glm4moe")
    weights = load_file(trained.adapter_folder / "adapter_model.safetensors")
    given = weights["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"]
    written = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    np.testing.assert_array_equal(written["blk.0.attn_q.weight.lora_b"], given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"base_model_name_or_path": "/no/such/base"}, "base_model_name_or_path"),
    ],
)
def test_it_refuses_what_gguf_cannot_hold(
    change: dict[str, Any], said: str, trained: Trained, tmp_path: Path
) -> None:
    weights = load_file(trained.adapter_folder / "adapter_model.safetensors")
    save_file(weights, tmp_path / "adapter_model.safetensors")
    config = json.loads(
        (trained.adapter_folder / "adapter_config.json").read_text(encoding="utf-8")
    )
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({**config, **change}), encoding="utf-8"
    )
    with pytest.raises(AdapterNotExportable, match=said):
        export_lora_to_gguf(tmp_path, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()
