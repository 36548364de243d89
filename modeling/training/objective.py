"""What the trainer computes for one packed sequence: attention within each conversation, and the
loss at the supervised positions only.

Shapes: T = tokens of the packed sequence, L = supervised tokens, H = hidden width, V = vocabulary.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

ATTENTION = "packed_causal"
_ROWS_PER_CHUNK = 512
# Config fields by which some architectures change the logits after lm_head.
_LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale")


def packed_causal_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    bounds: tuple[int, ...],
    bounds_tensor: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each span of `bounds`; nothing is seen across spans.

    query: (1, heads, T, size); key and value: (1, key-value heads, T, size). Returns
    (1, T, heads, size). On CUDA one variable-length kernel does all spans, with `bounds_tensor`
    (int32) as its offsets; on the CPU, and in float32, which that kernel does not know, each span
    goes through the fused kernel on its own, which needs no T x T mask.
    """
    assert attention_mask is None
    if query.is_cuda and query.dtype != torch.float32:
        from torch.nn.attention.varlen import varlen_attn

        assert bounds_tensor is not None
        groups = query.shape[1] // key.shape[1]
        longest = max(end - start for start, end in pairwise(bounds))
        output = varlen_attn(
            query[0].transpose(0, 1),
            key[0].repeat_interleave(groups, dim=0).transpose(0, 1),
            value[0].repeat_interleave(groups, dim=0).transpose(0, 1),
            bounds_tensor,
            bounds_tensor,
            longest,
            longest,
            scale=scaling,
            window_size=(-1, 0),
        )
        assert isinstance(output, torch.Tensor)
        return output[None], None
    # Split, not slices: the gradient of each slice would be a full tensor of zeros.
    lengths = [end - start for start, end in pairwise(bounds)]
    pieces = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    outputs = [
        functional.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=dropout,
            is_causal=True,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for q, k, v in pieces
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


AttentionInterface.register(ATTENTION, packed_causal_attention)


class LinearCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden @ weight.T`, without ever holding all logits.

    The gradient with respect to the logits is known as soon as the logits are, so forward computes
    it chunk by chunk and backward only scales it. Soft-max and loss are float32.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_LH: torch.Tensor, weight_VH: torch.Tensor, targets_L: torch.Tensor
    ) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        # A trained output layer is held in float32; the products run in the type of the rest.
        weight_VH = weight_VH.to(hidden_LH.dtype)
        total = hidden_LH.new_zeros((), dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden_LH) if needs_hidden else None
        weight_gradient = torch.zeros_like(weight_VH, dtype=torch.float32) if needs_weight else None
        for start in range(0, len(targets_L), _ROWS_PER_CHUNK):
            rows = slice(start, start + _ROWS_PER_CHUNK)
            targets = targets_L[rows, None]
            logits = (hidden_LH[rows] @ weight_VH.T).float()
            normaliser = logits.logsumexp(dim=1, keepdim=True)
            total += (normaliser - logits.gather(1, targets)).sum()
            if not (needs_hidden or needs_weight):
                continue
            gradient = logits.sub_(normaliser).exp_()
            gradient.scatter_add_(1, targets, gradient.new_full(targets.shape, -1.0))
            gradient = gradient.to(weight_VH.dtype)
            if hidden_gradient is not None:
                hidden_gradient[rows] = gradient @ weight_VH
            if weight_gradient is not None:
                weight_gradient += gradient.T @ hidden_LH[rows]
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (scale,) = gradients
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return (
            None if hidden_gradient is None else hidden_gradient * scale,
            None if weight_gradient is None else weight_gradient * scale,
            None,
        )


class SupervisedLoss(nn.Module):
    """A causal language model with the training loss as its forward pass.

    Being a module it can be wrapped for several processes like any other. The arithmetic runs in
    `dtype`, float32 or bfloat16; weights may be float32 all the same, as trained ones should be.
    """

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        changed = [name for name in _LOGIT_CHANGES if getattr(model.config, name, None)]
        if changed:
            raise ValueError(
                f"the model changes its logits after lm_head ({', '.join(changed)}), which this "
                "loss does not compute; choose a base without it"
            )
        self.model = model

    def forward(
        self,
        token_ids: torch.Tensor,
        position_ids: torch.Tensor,
        bounds: tuple[int, ...],
        bounds_tensor: torch.Tensor,
        places: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Summed loss over the supervised tokens, a float32 scalar; see Batch for the rest."""
        hidden = self.hidden_states(token_ids, position_ids, bounds, bounds_tensor)
        head = self.model.get_output_embeddings()
        return LinearCrossEntropy.apply(hidden[0, places].to(self.dtype), head.weight, targets)

    def hidden_states(
        self,
        token_ids: torch.Tensor,
        position_ids: torch.Tensor,
        bounds: tuple[int, ...],
        bounds_tensor: torch.Tensor,
    ) -> torch.Tensor:
        """Last hidden states (1, T, H) of a packed sequence."""
        decoder = getattr(self.model, self.model.base_model_prefix)
        embeddings = self.model.get_input_embeddings()(token_ids).to(self.dtype)
        with torch.autocast(
            embeddings.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        ):
            return decoder(
                inputs_embeds=embeddings,
                position_ids=position_ids,
                use_cache=False,
                bounds=bounds,
                bounds_tensor=bounds_tensor,
            ).last_hidden_state
