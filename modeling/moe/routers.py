"""The routers of a mixture: finding them, their precision, and the classic softmax router.

Shapes: T = tokens, H = hidden width, E = routed experts, K = experts chosen per token.

Every router here and in transformers' DeepSeek-like models returns the same three tensors:
logits (T, E) float32, weights of the chosen experts (T, K) float32, and their numbers (T, K) int64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional
from transformers import Glm4MoeForCausalLM


class Routed(NamedTuple):
    """What a router says about T tokens."""

    logits_TE: torch.Tensor
    weights_TK: torch.Tensor
    experts_TK: torch.Tensor


class NoRouters(ValueError):
    """The model has no routed experts."""


class SoftmaxTopkRouter(nn.Module):
    """Softmax over all experts, the K most probable are used (Switch, arXiv 2101.03961).

    It stands in for the sigmoid router to compare the two ways of balancing; it has no bias, so
    the load is balanced by adding `modeling.moe.balance.auxiliary_loss` to the loss.
    """

    def __init__(self, weight: torch.Tensor, *, top_k: int) -> None:
        """`weight` is (E, H)."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.top_k = top_k
        self.num_experts = weight.shape[0]

    def forward(self, hidden_states: torch.Tensor) -> Routed:
        """hidden_states is (..., H)."""
        hidden_TH = hidden_states.reshape(-1, hidden_states.shape[-1])
        # bfloat16 has eight bits of mantissa: close scores would tie and the choice would be noise.
        logits_TE = functional.linear(hidden_TH.float(), self.weight.float())
        scores_TE = logits_TE.softmax(dim=-1)
        weights_TK, experts_TK = scores_TE.topk(self.top_k, dim=-1)
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
        return Routed(logits_TE, weights_TK, experts_TK)


def routers(model: nn.Module) -> dict[str, nn.Module]:
    """The routers by module name, in the order of the layers.

    A router is a SoftmaxTopkRouter, or any module with DeepSeek-V3's score correction bias
    (`glm4_moe`, `deepseek_v3` and their kin in transformers).
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, SoftmaxTopkRouter) or hasattr(module, "e_score_correction_bias")
    }
    if not found:
        raise NoRouters(
            f"{type(model).__name__} has no routed experts; give a mixture, for example one made "
            "by modeling.moe.upcycle.upcycle"
        )
    return found


def router_weight(router: nn.Module) -> torch.Tensor:
    """The router's weight, (E, H)."""
    weight = router.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def keep_routers_in_float32(model: nn.Module) -> None:
    """Store the router's weights in float32, whatever the type of the rest.

    The arithmetic is float32 in any case; this keeps small updates of the weights from being
    rounded away when the model is trained in bfloat16. Call it after loading in a lower type.
    """
    for router in routers(model).values():
        router.weight.data = router.weight.data.float()
        bias = getattr(router, "e_score_correction_bias", None)
        if bias is not None:
            bias.data = bias.data.float()


def use_softmax_routers(model: Glm4MoeForCausalLM) -> None:
    """Replace every sigmoid router by a SoftmaxTopkRouter with the same weights, in place."""
    for layer in model.model.layers:
        gate = getattr(layer.mlp, "gate", None)
        if gate is not None:
            layer.mlp.gate = SoftmaxTopkRouter(gate.weight, top_k=model.config.num_experts_per_tok)
