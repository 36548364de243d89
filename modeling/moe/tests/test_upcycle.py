from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Glm4MoeForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from modeling.moe.tests.conftest import EXPERTS
from modeling.moe.upcycle import (
    Experts,
    NotUpcyclable,
    experts_off,
    mixture_config,
    num_active_params,
    num_params,
    upcycle,
    upcycle_checkpoint,
)
from modeling.weights.assemble import BASE_MODEL_NAME, training_base

ROOT = Path(__file__).resolve().parents[3]


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=tokens).logits


def disturb_experts(mixture: Glm4MoeForCausalLM) -> None:
    """As training would: the routed experts say something."""
    torch.manual_seed(3)
    for layer in mixture.model.layers:
        torch.nn.init.normal_(layer.mlp.experts.down_proj, std=0.5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"head_dim": 16},
        {"num_key_value_heads": 4},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ],
    ids=["plain", "untied", "wide heads", "all heads", "llama3 rotary"],
)
def test_the_mixture_says_what_the_dense_model_says(
    make_dense: Callable[..., LlamaForCausalLM], tokens: torch.Tensor, changes: dict[str, Any]
) -> None:
    dense = make_dense(**changes)
    mixture = upcycle(dense, EXPERTS, seed=0)
    assert torch.equal(logits(mixture, tokens), logits(dense, tokens))


def test_a_mistral_is_upcycled_too(tokens: torch.Tensor) -> None:
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        sliding_window=None,
    )
    dense = MistralForCausalLM(config).eval()
    assert torch.equal(logits(upcycle(dense, EXPERTS, seed=0), tokens), logits(dense, tokens))


def test_bfloat16_is_equal_and_keeps_the_bias_in_float32(
    dense: LlamaForCausalLM, tokens: torch.Tensor
) -> None:
    # As loading in bfloat16 does: the weights alone, not the rotary frequencies.
    for weight in dense.parameters():
        weight.data = weight.data.bfloat16()
    mixture = upcycle(dense, EXPERTS, seed=0)
    assert torch.equal(logits(mixture, tokens), logits(dense, tokens))
    gate = mixture.model.layers[0].mlp.gate
    assert gate.e_score_correction_bias.dtype == torch.float32
    assert gate.weight.dtype == torch.bfloat16


def test_experts_that_speak_change_the_answer_and_can_be_switched_off(
    dense: LlamaForCausalLM, mixture: Glm4MoeForCausalLM, tokens: torch.Tensor
) -> None:
    disturb_experts(mixture)
    trained = logits(mixture, tokens)
    assert not torch.allclose(trained, logits(dense, tokens), atol=1e-2)
    with experts_off(mixture):
        assert torch.equal(logits(mixture, tokens), logits(dense, tokens))
    assert torch.equal(logits(mixture, tokens), trained)


def test_the_new_experts_can_learn(mixture: Glm4MoeForCausalLM, tokens: torch.Tensor) -> None:
    mixture(input_ids=tokens, labels=tokens).loss.backward()
    gradient = mixture.model.layers[0].mlp.experts.down_proj.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_one_seed_makes_one_mixture(dense: LlamaForCausalLM) -> None:
    before = torch.get_rng_state()
    first, again, other = (upcycle(dense, EXPERTS, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    routers = [model.model.layers[1].mlp.gate.weight for model in (first, again, other)]
    assert torch.equal(routers[0], routers[1])
    assert not torch.equal(routers[0], routers[2])


@pytest.mark.parametrize("tied", [True, False])
def test_counts_without_building_equal_counts_of_the_built(
    make_dense: Callable[..., LlamaForCausalLM], tied: bool
) -> None:
    mixture = upcycle(make_dense(tie_word_embeddings=tied), EXPERTS, seed=0)
    config = mixture.config
    assert num_params(config) == sum(weight.numel() for weight in mixture.parameters())
    idle = (EXPERTS.number - EXPERTS.top_k) * 3 * EXPERTS.width * config.hidden_size
    assert num_params(config) - num_active_params(config) == idle * config.num_hidden_layers


def test_it_saves_and_loads_as_a_hugging_face_folder(
    dense: LlamaForCausalLM, tokens: torch.Tensor, tmp_path: Path
) -> None:
    dense.save_pretrained(tmp_path / "dense")
    mixture = upcycle_checkpoint(tmp_path / "dense", tmp_path / "mixture", EXPERTS, seed=0)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "mixture")
    assert isinstance(loaded, Glm4MoeForCausalLM)
    assert torch.equal(logits(loaded, tokens), logits(dense, tokens))
    for name, weight in mixture.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weight), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_bias": True}, "attention_bias=True"),
        ({"mlp_bias": True}, "mlp_bias=True"),
        ({"intermediate_size": 56}, "56 wide .* got 16; give a divisor of 56"),
        (
            {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "partial_rotary_factor": 0.5,
                }
            },
            "partial_rotary_factor=0.5",
        ),
    ],
)
def test_what_the_mixture_cannot_hold_is_refused(
    make_dense: Callable[..., LlamaForCausalLM], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotUpcyclable, match=message):
        upcycle(make_dense(**changes), EXPERTS, seed=0)


def test_another_architecture_is_refused() -> None:
    config = Qwen2Config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    with pytest.raises(NotUpcyclable, match="'qwen2'; upcycling takes one of llama, mistral"):
        upcycle(Qwen2ForCausalLM(config), EXPERTS, seed=0)


def test_a_sliding_window_is_refused() -> None:
    config = MistralConfig(intermediate_size=48, sliding_window=64, max_position_embeddings=128)
    with pytest.raises(NotUpcyclable, match="window of 64 tokens"):
        mixture_config(config, EXPERTS)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"number": 1, "width": 8, "top_k": 1}, "give 2 or more"),
        ({"number": 4, "width": 0, "top_k": 1}, "give 1 or more"),
        ({"number": 4, "width": 8, "top_k": 5}, "give 1 to 4"),
    ],
)
def test_impossible_experts_are_refused(facts: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experts(**facts)


@pytest.mark.weights
@pytest.mark.slow
def test_the_real_base_is_upcycled_without_a_difference() -> None:
    folder = training_base(ROOT / "var" / "models", base=BASE_MODEL_NAME)
    dense = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    experts = Experts(number=16, width=96, top_k=2)
    mixture = upcycle(dense, experts, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = "The tenant shall pay the rent on the first day of each month. The landlord"
    tokens = tokenizer(prompt, return_tensors="pt")["input_ids"]
    assert torch.equal(logits(mixture, tokens), logits(dense, tokens))
    assert num_params(mixture.config) == sum(weight.numel() for weight in mixture.parameters())
