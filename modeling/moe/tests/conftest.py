from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import Glm4MoeForCausalLM, LlamaConfig, LlamaForCausalLM

from modeling.moe.upcycle import Experts, upcycle

EXPERTS = Experts(number=4, width=16, top_k=2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_dense() -> Callable[..., LlamaForCausalLM]:
    """A random Llama of some ten thousand weights; the test states what differs."""

    def make(**changes: Any) -> LlamaForCausalLM:
        torch.manual_seed(1)
        facts: dict[str, Any] = {
            "vocab_size": 96,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "tie_word_embeddings": True,
            "attn_implementation": "sdpa",
            **changes,
        }
        return LlamaForCausalLM(LlamaConfig(**facts)).eval()

    return make


@pytest.fixture
def dense(make_dense: Callable[..., LlamaForCausalLM]) -> LlamaForCausalLM:
    return make_dense()


@pytest.fixture
def mixture(dense: LlamaForCausalLM) -> Glm4MoeForCausalLM:
    return upcycle(dense, EXPERTS, seed=0)


@pytest.fixture
def tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 96, (2, 24), generator=generator)
