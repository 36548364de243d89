"""What the trainer computes for one packed sequence: attention within each conversation, and the
loss at the supervised positions only.

Shapes: T = tokens of the packed sequence, L = supervised tokens, H = hidden width, V = vocabulary.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from modeling.training.capture import CapturedDecoder, Room

ATTENTION = "packed_causal"
_LOGITS_PER_CHUNK = {"cpu": 25_000_000, "cuda": 100_000_000}
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
    bounds: tuple[int, ...] | None = None,
    bounds_tensor: torch.Tensor | None = None,
    longest: int = 0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each span; nothing is seen across spans.

    query: (1, heads, T, size); key: (1, key-value heads, T, size); value the same with a size of its
    own, which may be smaller. Returns (1, T, heads, size of a value). With `bounds_tensor` (int32),
    no span longer than `longest`, one variable-length kernel does all spans; with `bounds` each
    span goes through the fused kernel on its own, which needs no T x T mask.
    """
    assert attention_mask is None
    if bounds_tensor is not None:
        from torch.nn.attention.varlen import varlen_attn

        groups = query.shape[1] // key.shape[1]
        size = value.shape[-1]
        if size < query.shape[-1]:
            value = functional.pad(value, (0, query.shape[-1] - size))
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
        return output[None, ..., :size], None
    assert bounds is not None
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


def loss_and_gradient(
    logits_LV: torch.Tensor, targets_L: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropies (float32) and its gradient in the type of `logits_LV`."""
    wide_LV = logits_LV.float()
    normaliser_L1 = wide_LV.logsumexp(dim=1, keepdim=True)
    targets_L1 = targets_L[:, None]
    total = (normaliser_L1 - wide_LV.gather(1, targets_L1)).sum()
    columns_V = torch.arange(logits_LV.shape[1], device=logits_LV.device)
    gradient_LV = (wide_LV - normaliser_L1).exp() - (columns_V == targets_L1).float()
    return total, gradient_LV.to(logits_LV.dtype)


@cache
def _compiled_loss_and_gradient() -> Any:
    # Not at import: the compiler takes seconds to load.
    return torch.compile(loss_and_gradient, dynamic=True)


class LinearCrossEntropy(torch.autograd.Function):
    """Sum of cross-entropies of `hidden @ weight.T`, without ever holding all logits.

    The gradient with respect to the logits is known as soon as the logits are, so forward computes
    it chunk by chunk and backward only scales it. Soft-max and loss are float32. With `compiled`
    each chunk of logits is read twice instead of eight times.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden_LH: torch.Tensor,
        weight_VH: torch.Tensor,
        targets_L: torch.Tensor,
        compiled: bool = False,
    ) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[0], ctx.needs_input_grad[1]
        # A trained output layer is held in float32; the products run in the type of the rest.
        weight_VH = weight_VH.to(hidden_LH.dtype)
        of_chunk = _compiled_loss_and_gradient() if compiled else loss_and_gradient
        total = hidden_LH.new_zeros((), dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden_LH) if needs_hidden else None
        weight_gradient = torch.zeros_like(weight_VH, dtype=torch.float32) if needs_weight else None
        most = _LOGITS_PER_CHUNK.get(hidden_LH.device.type, _LOGITS_PER_CHUNK["cpu"])
        step = max(1, most // len(weight_VH))
        for start in range(0, len(targets_L), step):
            rows = slice(start, start + step)
            loss, gradient = of_chunk(hidden_LH[rows] @ weight_VH.T, targets_L[rows])
            total += loss
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
            None,
        )


def round_up(longest: int) -> int:
    """A bound on the lengths of spans: powers of two are few, so compiled code is seldom made anew."""
    return 1 << (longest - 1).bit_length()


class SupervisedLoss(nn.Module):
    """A causal language model with the training loss as its forward pass.

    Being a module it can be wrapped for several processes like any other. The arithmetic runs in
    `dtype`, float32 or bfloat16; weights may be float32 all the same, as trained ones should be.
    `compiled` fuses what lies between the matrix products of each layer, which takes the first
    step some seconds.
    """

    def __init__(
        self, model: PreTrainedModel, dtype: torch.dtype, *, compiled: bool = False
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.compiled = compiled
        changed = [name for name in _LOGIT_CHANGES if getattr(model.config, name, None)]
        if changed:
            raise ValueError(
                f"the model changes its logits after lm_head ({', '.join(changed)}), which this "
                "loss does not compute; choose a base without it"
            )
        self.model = model
        self.captured: CapturedDecoder | None = None
        if compiled:
            # One layer at a time: all are alike, so the first one's code serves the others.
            for layer in self.decoder.layers:
                layer.compile(dynamic=True)

    def capture(self, room: Room) -> None:
        """Let sequences that fit `room` be replayed from CUDA graphs, which the first one makes."""
        longest = round_up(room.longest)

        def decode(
            token_ids: torch.Tensor, position_ids: torch.Tensor, bounds_tensor: torch.Tensor
        ) -> torch.Tensor:
            return self.hidden_states(token_ids, position_ids, (), bounds_tensor, longest=longest)

        trained = [weight for weight in self.parameters() if weight.requires_grad]
        self.captured = CapturedDecoder(decode, trained, room)

    @property
    def decoder(self) -> Any:
        return getattr(self.model, self.model.base_model_prefix)

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
        captured = self.captured
        if captured is not None and torch.is_grad_enabled() and captured.takes(bounds):
            hidden = captured(token_ids, position_ids, bounds)
        else:
            hidden = self.hidden_states(token_ids, position_ids, bounds, bounds_tensor)
        head = self.model.get_output_embeddings()
        return LinearCrossEntropy.apply(
            hidden[0, places].to(self.dtype), head.weight, targets, self.compiled
        )

    def hidden_states(
        self,
        token_ids: torch.Tensor,
        position_ids: torch.Tensor,
        bounds: tuple[int, ...],
        bounds_tensor: torch.Tensor,
        *,
        longest: int = 0,
    ) -> torch.Tensor:
        """Last hidden states (1, T, H) of a packed sequence, `longest` as the kernel is to know it."""
        embeddings = self.model.get_input_embeddings()(token_ids).to(self.dtype)
        if self.compiled and torch.is_grad_enabled():
            # The first layer's input then looks like the others': one compiled layer for all.
            embeddings.requires_grad_()
        # The variable-length kernel doesn't know float32.
        spans: dict[str, Any] = {"bounds": bounds}
        if embeddings.is_cuda and self.dtype != torch.float32:
            longest = longest or round_up(max(end - start for start, end in pairwise(bounds)))
            spans = {"bounds_tensor": bounds_tensor, "longest": longest}
        with torch.autocast(
            embeddings.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        ):
            return self.decoder(
                inputs_embeds=embeddings, position_ids=position_ids, use_cache=False, **spans
            ).last_hidden_state
