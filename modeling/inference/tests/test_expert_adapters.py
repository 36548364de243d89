"""LoRA on a mixture's attention and routed experts: merged, exported, and read by llama.cpp."""

import copy
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import Glm4MoeForCausalLM, LlamaConfig, LlamaForCausalLM

from modeling.inference.engine import EngineConfig
from modeling.inference.gguf_adapter import (
    AdapterNotExportable,
    export_lora_to_gguf,
)
from modeling.inference.supervisor import ENGINE_COMMAND
from modeling.inference.tests.running import BASE, Running, running_server, wait_until
from modeling.inference.tests.test_gguf_adapter import (
    LETTER,
    NUM_HEADS,
    NUM_KV_HEADS,
    VOCABULARY,
    engine_logprobs,
    largest_difference,
    next_token_logprobs,
    write_llama_gguf,
)
from modeling.moe.gguf import experts_of, write_mixture
from modeling.moe.upcycle import Experts, upcycle
from modeling.training.lora import add_adapter, save_adapter
from modeling.training.recipe import EXPERT_PARAMETERS, Lora
from modeling.weights.manifest import write_manifest

LAYERS, RANK = 2, 4
EXPERTS = Experts(number=4, width=32, top_k=2)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(kw_only=True)
class Trained:
    mixture: Glm4MoeForCausalLM
    adapted: Any
    base_gguf: Path
    adapter: Path


def adapted_with(mixture: Glm4MoeForCausalLM, *parameters: str) -> Any:
    """The mixture with an adapter that speaks loudly, so that a wrong order shows in every logit."""
    lora = Lora(rank=RANK, alpha=8, target_modules=ATTENTION, target_parameters=parameters)
    model = add_adapter(copy.deepcopy(mixture), lora, seed=0).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3)
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("mixture")
    torch.manual_seed(7)
    dense = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=192,
            num_hidden_layers=LAYERS,
            num_attention_heads=NUM_HEADS,
            num_key_value_heads=NUM_KV_HEADS,
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
            initializer_range=0.15,
        )
    ).eval()
    mixture = upcycle(dense, EXPERTS, seed=0)
    with torch.no_grad():
        for layer in mixture.model.layers:
            layer.mlp.experts.down_proj.normal_(0, 0.15)
            layer.mlp.gate.e_score_correction_bias.uniform_(-0.05, 0.05)
    write_llama_gguf(dense, folder / "dense.gguf")
    write_mixture(
        folder / "dense.gguf",
        folder / "base.gguf",
        experts_of(mixture),
        top_k=EXPERTS.top_k,
        expert_type=gguf.GGMLQuantizationType.F32,
    )
    adapted = adapted_with(mixture, *EXPERT_PARAMETERS)
    adapter = folder / "adapters" / "experts"
    save_adapter(adapted, adapter)
    export_lora_to_gguf(adapter, adapter / "adapter.gguf", "glm4moe")
    write_manifest(adapter, ["adapter.gguf", "adapter_config.json"])
    return Trained(
        mixture=mixture, adapted=adapted, base_gguf=folder / "base.gguf", adapter=adapter
    )


@contextmanager
def engine(trained: Trained, folder: Path, adapter: Path) -> Iterator[httpx.Client]:
    config = EngineConfig(
        parent_pid=os.getpid(),
        socket_path=str(folder / "e.sock"),
        model_path=str(trained.base_gguf),
        model_name="tiny",
        context=128,
        parallel=1,
        threads=1,
        adapter_paths=(str(adapter),),
    )
    process = subprocess.Popen(
        [*ENGINE_COMMAND, config.to_json()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    transport = httpx.HTTPTransport(uds=config.socket_path)
    with process, httpx.Client(transport=transport) as client:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"ready"')
        yield client
        process.kill()


def test_only_the_adapter_learns_and_the_experts_have_their_share(trained: Trained) -> None:
    learning = {name for name, weight in trained.adapted.named_parameters() if weight.requires_grad}
    assert all(".lora_" in name for name in learning)
    of_experts = [name for name in learning if ".mlp.experts." in name]
    assert len(of_experts) == LAYERS * len(EXPERT_PARAMETERS) * 2
    assert len(learning) == LAYERS * (len(EXPERT_PARAMETERS) + len(ATTENTION)) * 2


def test_merged_equals_unmerged(trained: Trained) -> None:
    unmerged = next_token_logprobs(trained.adapted)
    merged = copy.deepcopy(trained.adapted).merge_and_unload()
    assert type(merged) is Glm4MoeForCausalLM
    again = next_token_logprobs(merged)
    assert max(abs(unmerged[token] - again[token]) for token in again) < 1e-4
    # The comparison says something only if the experts' part of the adapter changes the answer.
    attention_only = copy.deepcopy(trained.adapted)
    with torch.no_grad():
        for name, weight in attention_only.named_parameters():
            if ".mlp.experts." in name and "lora_B" in name:
                weight.zero_()
    other = next_token_logprobs(attention_only)
    assert max(abs(unmerged[token] - other[token]) for token in other) > 0.5


@pytest.mark.parametrize("parameters", [EXPERT_PARAMETERS, *((one,) for one in EXPERT_PARAMETERS)])
def test_llama_cpp_computes_what_torch_does(
    trained: Trained, tmp_path: Path, parameters: tuple[str, ...]
) -> None:
    adapted = adapted_with(trained.mixture, *parameters)
    save_adapter(adapted, tmp_path / "adapter")
    export_lora_to_gguf(tmp_path / "adapter", tmp_path / "adapter.gguf", "glm4moe")
    with engine(trained, tmp_path, tmp_path / "adapter.gguf") as client:
        with_adapter = engine_logprobs(client, 1.0)
        without = engine_logprobs(client, 0.0)
    assert largest_difference(without, next_token_logprobs(trained.mixture)) < 0.05
    assert largest_difference(with_adapter, next_token_logprobs(adapted)) < 0.05
    assert largest_difference(with_adapter, next_token_logprobs(trained.mixture)) > 0.5


def test_the_model_server_loads_it_while_it_runs(trained: Trained) -> None:
    folder = trained.base_gguf.parent

    def likeliest(server: Running, model: str) -> dict[str, float]:
        ask: dict[str, Any] = {"model": model, "max_tokens": 1, "temperature": 0}
        ask |= {"logprobs": True, "top_logprobs": 20, "logit_bias": {str(LETTER): 100.0}}
        answer = server.chat("hi", **ask)
        assert answer.status_code == 200, answer.text
        (token,) = answer.json()["choices"][0]["logprobs"]["content"]
        return {str(one["bytes"]): one["logprob"] for one in token["top_logprobs"]}

    with running_server(folder, command=ENGINE_COMMAND, parallel=1) as server:
        wait_until(lambda: server.health()["engine"]["state"] == "ready", timeout_seconds=60)
        before = likeliest(server, BASE)
        body = {"lora_name": "shop", "lora_path": "experts"}
        answer = server.client.post("/v1/load_lora_adapter", json=body)
        assert answer.status_code == 200, answer.text
        assert likeliest(server, "shop") != before
        assert likeliest(server, BASE) == before


def test_factors_that_do_not_fit_the_experts_are_refused(trained: Trained, tmp_path: Path) -> None:
    wrong = tmp_path / "adapters" / "wrong"
    wrong.mkdir(parents=True)
    reader = gguf.GGUFReader(trained.adapter / "adapter.gguf")
    writer = gguf.GGUFWriter(wrong / "adapter.gguf", "glm4moe")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8)
    for tensor in reader.tensors:
        # One expert short.
        writer.add_tensor(tensor.name, tensor.data[1:] if "exps" in tensor.name else tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (wrong / "adapter_config.json").write_text("{}", encoding="utf-8")
    write_manifest(wrong, ["adapter.gguf", "adapter_config.json"])
    (tmp_path / "base.gguf").write_bytes(trained.base_gguf.read_bytes())
    with running_server(tmp_path) as server:
        wait_until(lambda: server.health()["engine"]["state"] == "ready")
        body = {"lora_name": "shop", "lora_path": "wrong"}
        answer = server.client.post("/v1/load_lora_adapter", json=body)
    assert answer.status_code == 400
    assert "exps" in answer.json()["error"]["message"]


def test_a_file_that_differs_from_its_config_is_refused(trained: Trained, tmp_path: Path) -> None:
    weights = load_file(trained.adapter / "adapter_model.safetensors")
    kept = {name: values for name, values in weights.items() if ".base_layer." not in name}
    save_file(kept, tmp_path / "adapter_model.safetensors")
    config = (trained.adapter / "adapter_config.json").read_text("utf-8")
    (tmp_path / "adapter_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(AdapterNotExportable, match="factors for 1 of"):
        export_lora_to_gguf(tmp_path, tmp_path / "adapter.gguf", "glm4moe")


def test_dropout_on_experts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout must be 0 with target_parameters"):
        Lora(dropout=0.1, target_parameters=EXPERT_PARAMETERS)
