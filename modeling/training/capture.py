"""A decoder's passes over full sequences as two CUDA graphs.

A small model is made of thousands of short kernels, and starting them one by one takes the processor
longer than the card needs to run them. A graph starts them all at once. What it captured is fixed:
the number of tokens, of spans and the longest span. Shorter sequences are filled up, because kernel
by kernel they take the processor as long as full ones; where one doesn't fit, the ordinary passes do
the work.

Shapes: T = tokens of a full sequence, H = hidden width, S = spans that there is room for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

WARM_UP_PASSES = 3


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a captured pass takes: at most so many tokens in at most so many spans of such lengths."""

    tokens: int
    spans: int
    longest: int

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], lengths: Any, *, tokens: int) -> Room:
        """Room for sequences like these, conversations by their index in `lengths`."""
        longest = int(max(lengths[index] for sequence in sequences for index in sequence))
        return cls(
            tokens=tokens,
            spans=int(1.25 * max(len(sequence) for sequence in sequences)) + tokens // longest,
            longest=longest,
        )

    def filled(self, bounds: tuple[int, ...]) -> list[int]:
        """These bounds, the tokens behind them in spans of their own, and empty spans at the end."""
        rest = [*range(bounds[-1], self.tokens, self.longest)[1:], self.tokens]
        if bounds[-1] == self.tokens:
            rest = []
        return [*bounds, *rest, *[self.tokens] * (self.spans - len(bounds) - len(rest) + 1)]

    def takes(self, bounds: tuple[int, ...]) -> bool:
        num_tokens = bounds[-1]
        filling = -(-(self.tokens - num_tokens) // self.longest)
        return (
            num_tokens <= self.tokens
            and len(bounds) - 1 + filling <= self.spans
            and max(end - start for start, end in pairwise(bounds)) <= self.longest
        )


class CapturedDecoder:
    """Hidden states of full sequences, and the gradients of all `weights`, by replay.

    `decode` maps token ids (1, T), positions (1, T) and bounds (S + 1,) int32 on the device to hidden
    states (1, T, H). Gradients are added to `weights`' `grad` by the backward pass itself.
    """

    def __init__(
        self,
        decode: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        weights: Sequence[torch.nn.Parameter],
        room: Room,
    ) -> None:
        self._decode = decode
        self._weights = list(weights)
        self._room = room
        self._ready = False

    def takes(self, bounds: tuple[int, ...]) -> bool:
        return self._room.takes(bounds)

    def __call__(
        self, token_ids: torch.Tensor, position_ids: torch.Tensor, bounds: tuple[int, ...]
    ) -> torch.Tensor:
        """Hidden states (1, T, H), those behind the last bound without meaning."""
        if not self._ready:
            # Before anything draws: dropout in the trial passes mustn't move a run's random numbers.
            with torch.random.fork_rng(devices=[token_ids.device]):
                self._capture(token_ids.device)
        num_tokens = bounds[-1]
        for held, given in ((self._token_ids, token_ids), (self._position_ids, position_ids)):
            held[:, :num_tokens].copy_(given)
            held[:, num_tokens:].zero_()
        filled = torch.tensor(self._room.filled(bounds), dtype=torch.int32).pin_memory()
        self._bounds.copy_(filled, non_blocking=True)
        return _Replay.apply(self._anchor, self)

    def _capture(self, device: torch.device) -> None:
        room = self._room
        self._token_ids = torch.zeros(1, room.tokens, dtype=torch.int64, device=device)
        self._position_ids = torch.zeros_like(self._token_ids)
        self._bounds = torch.tensor(room.filled((0,)), dtype=torch.int32, device=device)
        self._gradients = [torch.zeros_like(weight) for weight in self._weights]
        # Something must want a gradient, or nobody would ask for the backward pass.
        self._anchor = torch.zeros((), device=device, requires_grad=True)
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            # What compiles or chooses its kernel at the first call does it before the capture.
            for _ in range(WARM_UP_PASSES):
                hidden = self._forward()
                torch.autograd.grad(hidden, self._weights, torch.zeros_like(hidden))
                del hidden
        torch.cuda.current_stream(device).wait_stream(stream)
        pool = torch.cuda.graph_pool_handle()
        self._forward_graph, self._backward_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forward_graph, pool=pool, stream=stream):
            hidden = self._forward()
        self._hidden_gradient = torch.zeros_like(hidden)
        with torch.cuda.graph(self._backward_graph, pool=pool, stream=stream):
            found = torch.autograd.grad(hidden, self._weights, self._hidden_gradient)
            torch._foreach_add_(self._gradients, found)
        self._hidden = hidden.detach()
        self._ready = True

    def _forward(self) -> torch.Tensor:
        return self._decode(self._token_ids, self._position_ids, self._bounds)

    def replay_forward(self) -> torch.Tensor:
        self._forward_graph.replay()
        return self._hidden

    def replay_backward(self, gradient: torch.Tensor) -> None:
        self._hidden_gradient.copy_(gradient)
        self._lend_gradients()
        self._backward_graph.replay()

    def _lend_gradients(self) -> None:
        """Make the buffers the weights' gradients, with what other passes left there."""
        fresh = []
        for weight, buffer in zip(self._weights, self._gradients, strict=True):
            if weight.grad is None:
                fresh.append(buffer)
            elif weight.grad is not buffer:
                buffer.copy_(weight.grad)
            weight.grad = buffer
        if fresh:
            torch._foreach_zero_(fresh)


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, captured: CapturedDecoder) -> torch.Tensor:
        ctx.captured = captured
        return captured.replay_forward().detach()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, None]:
        ctx.captured.replay_backward(gradients[0])
        return None, None
