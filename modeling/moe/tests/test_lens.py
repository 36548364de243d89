from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import Glm4MoeForCausalLM

from modeling.moe.balance import counted_load
from modeling.moe.lens import routing_of_tokens
from modeling.moe.tests.conftest import EXPERTS

TOKENS = [5, 9, 14, 9, 60]
TEXTS = ["a", "b", "c", "b", "d"]


def test_it_names_the_experts_of_every_layer_and_token(mixture: Glm4MoeForCausalLM) -> None:
    routing = routing_of_tokens(mixture, TOKENS, TEXTS)
    assert routing.tokens == tuple(TEXTS)
    assert routing.layers == (0, 1, 2)
    assert routing.experts_LTK.shape == (3, len(TOKENS), EXPERTS.top_k)
    assert (np.diff(routing.weights_LTK, axis=-1) <= 0).all()
    assert np.allclose(routing.weights_LTK.sum(axis=-1), 1.0)


def test_it_agrees_with_what_the_router_did(mixture: Glm4MoeForCausalLM) -> None:
    routing = routing_of_tokens(mixture, TOKENS, TEXTS)
    with counted_load(mixture) as counter, torch.no_grad():
        mixture(input_ids=torch.tensor([TOKENS]))
    assert (routing.load() == counter.read()).all()


def test_a_bias_that_forbids_an_expert_shows(mixture: Glm4MoeForCausalLM) -> None:
    before = routing_of_tokens(mixture, TOKENS, TEXTS)
    favourite = int(before.load()[1].argmax())
    mixture.model.layers[1].mlp.gate.e_score_correction_bias[favourite] = -10
    after = routing_of_tokens(mixture, TOKENS, TEXTS)
    assert after.load()[1][favourite] == 0
    assert (after.experts_LTK[0] == before.experts_LTK[0]).all()


def test_it_is_json_and_leaves_the_model_as_it_was(mixture: Glm4MoeForCausalLM) -> None:
    mixture.train()
    data = json.loads(json.dumps(routing_of_tokens(mixture, TOKENS, TEXTS).to_dict()))
    assert data["tokens"] == TEXTS
    assert data["num_experts"] == EXPERTS.number
    assert len(data["experts"]) == len(data["weights"]) == 3
    assert mixture.training
    gate = mixture.model.layers[0].mlp.gate
    assert not gate._forward_hooks


def test_an_empty_prompt_is_refused(mixture: Glm4MoeForCausalLM) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        routing_of_tokens(mixture, [], [])
