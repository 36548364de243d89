"""The routed experts for training: narrow ones computed for every token, wide ones grouped.

Sending tokens to their experts and back moves every token K times through memory. Where all
experts together are no wider than a feed-forward block, it is cheaper to compute all of them for
every token and to weigh those by zero that were not chosen: two large products without a sort, a
gather or a size that depends on the data. Wider ones get their tokens sorted by expert and one
grouped product for all, and keep for backward only what it can't have again cheaply: transformers'
own grouped experts keep every token six times over for gradients that frozen weights don't want.

Shapes: T = tokens, H = hidden width, E = routed experts, W = width of one, K = chosen per token,
S = T K, the pairs of a token and an expert, sorted by expert.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import SiLUActivation

WIDEST = 4
"""All experts together may be so many times as wide as the model; above, grouping is cheaper."""


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
        # Under autocast the input may be wider than the arithmetic, behind a norm held in float32;
        # the result keeps the narrow type, as the feed-forward's does.
        return functional.linear(inner_TEW.flatten(1), down_HV)


class _GroupedExperts(torch.autograd.Function):
    """SwiGLU experts over sorted pairs; keeps gate and up of each pair, and nothing wider."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TH: torch.Tensor,
        experts_TK: torch.Tensor,
        weights_TK: torch.Tensor,
        gate_up_EVH: torch.Tensor,
        down_EHW: torch.Tensor,
    ) -> torch.Tensor:
        num_tokens, top_k = experts_TK.shape
        sorted_S, order_S = experts_TK.flatten().sort(stable=True)
        numbers_E = torch.arange(len(gate_up_EVH), device=sorted_S.device)
        ends_E = torch.searchsorted(sorted_S, numbers_E, right=True).to(torch.int32)
        # Where each pair of (token, choice) went, to bring results back without atomic additions.
        places_S = order_S.argsort()
        x_SH = x_TH[order_S // top_k]
        both_SV = functional.grouped_mm(x_SH, gate_up_EVH.transpose(-2, -1), offs=ends_E)
        inner_SW = _swiglu(both_SV, weights_TK.flatten()[order_S])
        y_SH = functional.grouped_mm(inner_SW, down_EHW.transpose(-2, -1), offs=ends_E)
        ctx.save_for_backward(
            x_TH if ctx.needs_input_grad[3] else None,
            both_SV, weights_TK, order_S, places_S, ends_E, gate_up_EVH, down_EHW,
        )  # fmt: skip
        return y_SH[places_S].view(num_tokens, top_k, -1).sum(dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_TH, both_SV, weights_TK, order_S, places_S, ends_E, gate_up_EVH, down_EHW = (
            ctx.saved_tensors
        )
        (g_TH,) = gradients
        num_tokens, top_k = weights_TK.shape
        weights_S = weights_TK.flatten()[order_S]
        g_SH = g_TH.to(both_SV.dtype)[order_S // top_k]
        g_SW = functional.grouped_mm(g_SH, down_EHW, offs=ends_E)
        down_gradient = gate_up_gradient = None
        if ctx.needs_input_grad[4]:
            inner_SW = _swiglu(both_SV, weights_S)
            down_gradient = functional.grouped_mm(g_SH.T, inner_SW, offs=ends_E)
        g_SV, weight_gradient_S = _swiglu_gradient(both_SV, weights_S, g_SW)
        if ctx.needs_input_grad[3]:
            gate_up_gradient = functional.grouped_mm(g_SV.T, x_TH[order_S // top_k], offs=ends_E)
        g_SH = functional.grouped_mm(g_SV, gate_up_EVH, offs=ends_E)
        x_gradient = g_SH[places_S].view(num_tokens, top_k, -1).sum(dim=1)
        weight_gradient = weight_gradient_S[places_S].view_as(weights_TK)
        return x_gradient, None, weight_gradient, gate_up_gradient, down_gradient


def _swiglu(both_SV: torch.Tensor, weights_S: torch.Tensor) -> torch.Tensor:
    gate_SW, up_SW = both_SV.float().chunk(2, dim=-1)
    return (functional.silu(gate_SW) * up_SW * weights_S[:, None]).to(both_SV.dtype)


def _swiglu_gradient(
    both_SV: torch.Tensor, weights_S: torch.Tensor, g_SW: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of gate and up side by side, and of the weights (float32)."""
    gate_SW, up_SW = both_SV.float().chunk(2, dim=-1)
    g_SW = g_SW.float()
    sigmoid_SW = gate_SW.sigmoid()
    silu_SW = gate_SW * sigmoid_SW
    weight_gradient_S = (g_SW * silu_SW * up_SW).sum(dim=-1)
    g_SW = g_SW * weights_S[:, None]
    gate_gradient = g_SW * up_SW * (sigmoid_SW + silu_SW * (1.0 - sigmoid_SW))
    g_SV = torch.cat([gate_gradient, g_SW * silu_SW], dim=-1)
    return g_SV.to(both_SV.dtype), weight_gradient_S


class GroupedExperts(nn.Module):
    """transformers' fused SwiGLU experts with the same weights, names and result."""

    gate_up_proj: nn.Parameter
    down_proj: nn.Parameter

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.gate_up_proj = experts.gate_up_proj
        self.down_proj = experts.down_proj

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """hidden_states (T, H), top_k_index and top_k_weights (T, K); returns (T, H)."""
        device, dtype = hidden_states.device.type, hidden_states.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        # Autocast knows no grouped product, and would make sums of its results wide.
        with torch.autocast(device, enabled=False):
            result: torch.Tensor = _GroupedExperts.apply(
                hidden_states.to(dtype),
                top_k_index,
                top_k_weights.float(),
                self.gate_up_proj.to(dtype),
                self.down_proj.to(dtype),
            )
        return result


def use_training_experts(model: nn.Module) -> int:
    """Replace the routed SwiGLU experts of each layer; returns how many layers.

    The weights stay the same tensors under the same names, so that saving and loading don't see it.
    """
    replaced = 0
    for module in list(model.modules()):
        experts: Any = getattr(module, "experts", None)
        if (
            not hasattr(experts, "gate_up_proj")
            or isinstance(experts, DenseExperts | GroupedExperts)
            or not isinstance(experts.act_fn, nn.SiLU | SiLUActivation)
        ):
            continue
        num_experts, double_width, hidden = experts.gate_up_proj.shape
        narrow = num_experts * double_width <= 2 * WIDEST * hidden
        module.experts = DenseExperts(experts) if narrow else GroupedExperts(experts)
        replaced += 1
    return replaced
