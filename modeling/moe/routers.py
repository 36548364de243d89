"""The routers of a mixture: finding them, their precision, and the classic softmax router.

Shapes: T = tokens, H = hidden width, E = routed experts, K = experts chosen per token, G = groups
of tokens that are balanced on their own.

Every router here and in transformers' DeepSeek-like models returns the same three tensors:
logits (T, E) float32, weights of the chosen experts (T, K) float32, and their numbers (T, K) int64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

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


@dataclass
class Groups:
    """What all routers of a model must know about the tokens of the coming pass of training.

    `counted_T` (float32): 1 for a token whose choices count, 0 for padding. `means_GT` (float32):
    row g is 1/n at the n tokens of group g, so that its product with a column of T is the group's
    mean. `weights_G` (float32): what the balance loss of each group weighs; None without that loss.
    """

    counted_T: torch.Tensor | None = None
    means_GT: torch.Tensor | None = None
    weights_G: torch.Tensor | None = None


class _WithLoss(torch.autograd.Function):
    """Hands values on and adds a loss to whatever loss they end in.

    The blocks between router and model return hidden states only; this is how DeepSeek's own code
    gets its balance loss past them.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (gradient,) = gradients
        return gradient, gradient.new_ones(())


class SigmoidTopkRouter(nn.Module):
    """DeepSeek-V3's router (arXiv 2412.19437) for training: sigmoid affinities, bias for the choice.

    It decides as transformers' router of `glm4_moe` and `deepseek_v3` does. Beyond that it adds its
    load to `load_E` (int64), where `modeling.moe.balance.BiasBalancer` has put such a tensor, and
    carries the complementary balance loss of section 2.1.2, a sum over the groups g of
    weight_g · sum over e of f_e · P_e: f_e is E/K times the share of the group's tokens that chose
    e, P_e the mean of e's affinity over the sum of affinities. Even use gives 1. The loss works
    through its gradient; it is no part of the model's output.
    """

    weight: nn.Parameter
    e_score_correction_bias: nn.Buffer

    def __init__(self, router: Any, groups: Groups) -> None:
        """`router`: transformers' router, without groups of experts."""
        super().__init__()
        if getattr(router, "n_group", getattr(router, "num_group", 1)) != 1:
            raise ValueError(
                "the router chooses among groups of experts (n_group above 1), which training "
                "doesn't know; give a mixture with n_group=1"
            )
        self.weight = router.weight
        self.e_score_correction_bias = nn.Buffer(router.e_score_correction_bias.float())
        self.top_k = int(router.top_k)
        self.norm_topk_prob = bool(router.norm_topk_prob)
        self.routed_scaling_factor = float(router.routed_scaling_factor)
        self.groups = groups
        self.load_E: torch.Tensor | None = None

    def forward(self, hidden_states: torch.Tensor) -> Routed:
        """hidden_states is (..., H)."""
        hidden_TH = hidden_states.reshape(-1, hidden_states.shape[-1])
        # Close scores would tie in bfloat16, so neither the type of the model nor autocast decides.
        with torch.autocast(hidden_states.device.type, enabled=False):
            logits_TE = functional.linear(hidden_TH.float(), self.weight.float())
        scores_TE = logits_TE.sigmoid()
        experts_TK = (scores_TE.detach() + self.e_score_correction_bias).topk(self.top_k).indices
        weights_TK = scores_TE.gather(1, experts_TK)
        if self.norm_topk_prob:
            weights_TK = weights_TK / (weights_TK.sum(dim=-1, keepdim=True) + 1e-20)
        weights_TK = weights_TK * self.routed_scaling_factor
        if self.training:
            chosen_TE = torch.zeros_like(scores_TE).scatter(1, experts_TK, 1.0)
            self._count(chosen_TE)
            if self.groups.weights_G is not None:
                weights_TK = _WithLoss.apply(weights_TK, self._balance_loss(scores_TE, chosen_TE))
        return Routed(logits_TE, weights_TK, experts_TK)

    def _count(self, chosen_TE: torch.Tensor) -> None:
        if self.load_E is None:
            return
        counted_T = self.groups.counted_T
        counts_TE = chosen_TE if counted_T is None else chosen_TE * counted_T[:, None]
        self.load_E.add_(counts_TE.sum(dim=0).to(self.load_E.dtype))

    def _balance_loss(self, scores_TE: torch.Tensor, chosen_TE: torch.Tensor) -> torch.Tensor:
        means_GT, weights_G = self.groups.means_GT, self.groups.weights_G
        assert means_GT is not None
        assert weights_G is not None
        with torch.autocast(scores_TE.device.type, enabled=False):
            load_GE = means_GT @ chosen_TE * (scores_TE.shape[1] / self.top_k)
            affinity_GE = means_GT @ (scores_TE / scores_TE.sum(dim=-1, keepdim=True))
            return (weights_G * (load_GE * affinity_GE).sum(dim=-1)).sum()


def use_training_routers(model: nn.Module) -> Groups:
    """Replace the sigmoid routers by SigmoidTopkRouters over the same weights, in float32.

    Returns what tells all of them about the tokens of the coming pass.
    """
    groups = Groups()
    keep_routers_in_float32(model)
    for name, router in routers(model).items():
        if not isinstance(router, SigmoidTopkRouter):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, SigmoidTopkRouter(router, groups))
    return groups


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
