"""The routed experts as two matrix products, for mixtures of many small experts.

Sending tokens to their experts and back moves every token K times through memory. Where all
experts together are no wider than a feed-forward block, it is cheaper to compute all of them for
every token and to weigh those by zero that were not chosen: two large products without a sort, a
gather or a size that depends on the data.

Shapes: T = tokens, H = hidden width, E = routed experts, W = width of one, K = chosen per token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

WIDEST = 4
"""All experts together may be so many times as wide as the model; above, dispatch is cheaper."""


class DenseExperts(nn.Module):
    """transformers' fused experts with the same weights, names and result."""

    gate_up_proj: nn.Parameter
    down_proj: nn.Parameter

    def __init__(self, experts: Any) -> None:
        super().__init__()
        # gate_up_proj is (E, 2 W, H), gates first; down_proj is (E, H, W).
        self.gate_up_proj = experts.gate_up_proj
        self.down_proj = experts.down_proj
        self.act_fn = experts.act_fn
        self.num_experts = len(self.gate_up_proj)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """hidden_states (T, H), top_k_index and top_k_weights (T, K); returns (T, H)."""
        num_experts, double_width, hidden = self.gate_up_proj.shape
        weights_TE = top_k_weights.new_zeros(len(hidden_states), num_experts).scatter(
            1, top_k_index, top_k_weights
        )
        both = functional.linear(hidden_states, self.gate_up_proj.reshape(-1, hidden))
        gate_TEW, up_TEW = both.view(-1, num_experts, double_width).chunk(2, dim=-1)
        inner_TEW = self.act_fn(gate_TEW) * up_TEW * weights_TE.to(both.dtype)[:, :, None]
        down_HV = self.down_proj.transpose(0, 1).reshape(hidden, -1)
        return functional.linear(inner_TEW.flatten(1), down_HV).to(hidden_states.dtype)


def use_dense_experts(model: nn.Module) -> int:
    """Replace the routed experts of each layer where that is cheaper; returns how many layers.

    The weights stay the same tensors under the same names, so that saving and loading don't see it.
    """
    replaced = 0
    for module in list(model.modules()):
        experts: Any = getattr(module, "experts", None)
        if experts is None or not hasattr(experts, "gate_up_proj"):
            continue
        num_experts, double_width, hidden = experts.gate_up_proj.shape
        if num_experts * double_width <= 2 * WIDEST * hidden and not isinstance(
            experts, DenseExperts
        ):
            module.experts = DenseExperts(experts)
            replaced += 1
    return replaced
