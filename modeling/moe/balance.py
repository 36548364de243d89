"""Keep the routed experts evenly used, and measure how evenly they are.

Two ways, so that they can be compared: `BiasBalancer` moves each expert's score correction bias by
a fixed step towards the mean load and adds nothing to the loss (arXiv 2408.15664, DeepSeek-V3 in
arXiv 2412.19437); `auxiliary_loss` is the classic term for softmax routers (Switch, 2101.03961).

Shapes: L = routed layers, E = routed experts, T = tokens, K = experts chosen per token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed, nn

from modeling.moe.routers import NoRouters, SigmoidTopkRouter, router_weight, routers

DEAD_BELOW = 0.01
"""An expert counts as dead with less than this share of the mean load."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How evenly the experts of each layer were used; every array has one value per layer.

    `cv`: standard deviation of the load over its mean (0 = even). `max_over_mean`: the busiest
    expert's load over the mean. `dead_experts`: how many have under DEAD_BELOW of the mean.
    `entropy`: of the distribution of load, over log E (1 = even).
    """

    cv: npt.NDArray[np.float64]
    max_over_mean: npt.NDArray[np.float64]
    dead_experts: npt.NDArray[np.int64]
    entropy: npt.NDArray[np.float64]

    def summary(self) -> dict[str, float | int]:
        """Means over the layers, the worst layers, and all dead experts."""
        return {
            "cv": float(self.cv.mean()),
            "cv_worst_layer": float(self.cv.max()),
            "max_over_mean": float(self.max_over_mean.mean()),
            "max_over_mean_worst_layer": float(self.max_over_mean.max()),
            "dead_experts": int(self.dead_experts.sum()),
            "entropy": float(self.entropy.mean()),
        }


def measure(load_LE: npt.ArrayLike) -> Balance:
    """The balance of a load (L, E): how many times each expert was chosen."""
    load = np.asarray(load_LE, dtype=np.float64)
    if load.ndim != 2 or load.shape[1] < 2:
        raise ValueError(f"load has shape {load.shape}; give (layers, 2 or more experts)")
    mean_L = load.mean(axis=1)
    if not (mean_L > 0).all():
        idle = np.flatnonzero(mean_L <= 0).tolist()
        raise ValueError(f"no token reached the experts of layers {idle}; count some tokens first")
    share = shares(load)
    surprise = np.where(share > 0, -share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return Balance(
        cv=load.std(axis=1) / mean_L,
        max_over_mean=load.max(axis=1) / mean_L,
        dead_experts=(load < DEAD_BELOW * mean_L[:, None]).sum(axis=1),
        entropy=surprise.sum(axis=1) / np.log(load.shape[1]),
    )


def shares(load_LE: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Each expert's share of its layer's load, (L, E); every row sums to 1."""
    load = np.asarray(load_LE, dtype=np.float64)
    return np.asarray(load / load.sum(axis=1, keepdims=True))


def domain_shares(
    loads_LE: Mapping[str, npt.ArrayLike],
) -> dict[str, npt.NDArray[np.float64]]:
    """Of each expert's use, the share that came from each domain, (L, E); domains sum to 1.

    Domains weigh alike however much of their text was counted. An expert that no domain used has
    an equal share of all.
    """
    rates = {domain: shares(load) for domain, load in loads_LE.items()}
    total = np.sum(list(rates.values()), axis=0)
    used = total > 0
    return {
        domain: np.where(used, rate / np.where(used, total, 1.0), 1.0 / len(rates))
        for domain, rate in rates.items()
    }


class LoadCounter:
    """Counts on the model's device how many times each expert is chosen.

    `token_mask` (T,), if set, says which tokens of the next forward passes count (padding doesn't);
    a SigmoidTopkRouter in training is told by its `Groups` instead.
    """

    def __init__(self, model: nn.Module, *, only_in_training: bool = False) -> None:
        found = routers(model)
        sizes = {router_weight(router).shape[0] for router in found.values()}
        if len(sizes) != 1:
            raise ValueError(f"layers have different numbers of experts: {sorted(sizes)}")
        self.names = tuple(found)
        self.token_mask: torch.Tensor | None = None
        self._only_in_training = only_in_training
        device = router_weight(next(iter(found.values()))).device
        self.load_LE = torch.zeros(len(found), sizes.pop(), dtype=torch.int64, device=device)
        self._hooks = []
        for layer, router in enumerate(found.values()):
            if only_in_training and isinstance(router, SigmoidTopkRouter):
                # It counts by itself: a hook would be compiled anew for every layer.
                router.load_E = self.load_LE[layer]
            else:
                self._hooks.append(router.register_forward_hook(self._hook(layer)))

    def _hook(self, layer: int) -> Any:
        def count(router: nn.Module, _inputs: Any, routed: Sequence[torch.Tensor]) -> None:
            if self._only_in_training and not router.training:
                return
            experts_TK = routed[2].detach()
            ones_TK = torch.ones_like(experts_TK)
            if self.token_mask is not None:
                ones_TK = ones_TK * self.token_mask.reshape(-1, 1).to(ones_TK)
            self.load_LE[layer].scatter_add_(0, experts_TK.flatten(), ones_TK.flatten())

        return count

    def read(self) -> npt.NDArray[np.int64]:
        """The load so far in this process, (L, E)."""
        return np.asarray(self.load_LE.cpu().numpy().copy())

    def reset(self) -> None:
        self.load_LE.zero_()

    def close(self) -> None:
        """Take the hooks off the model."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


@contextmanager
def counted_load(model: nn.Module) -> Iterator[LoadCounter]:
    """Count the load of every forward pass inside."""
    counter = LoadCounter(model)
    try:
        yield counter
    finally:
        counter.close()


class BiasBalancer:
    """Balance without an auxiliary loss.

    The load is counted in every forward pass of training, whatever the number of micro-batches.
    After each optimiser step call `update()`: it sums the load over all processes of
    torch.distributed and moves the bias of each expert by `gamma`, up if the expert had less than
    its layer's mean, down if it had more. All processes end with the same biases. Passes in
    `eval()` mode don't count. With gradient checkpointing a pass counts twice, which changes
    nothing: only the sign of the difference to the mean matters.
    """

    def __init__(self, model: nn.Module, *, gamma: float = 1e-3) -> None:
        if not gamma > 0:
            raise ValueError(f"gamma is {gamma}; give a positive step, for example 0.001")
        found = routers(model)
        without = [n for n, r in found.items() if not hasattr(r, "e_score_correction_bias")]
        if without:
            raise NoRouters(
                f"the routers {without} have no score correction bias; softmax routers are "
                "balanced by auxiliary_loss"
            )
        self.gamma = gamma
        self._routers = list(found.values())
        self.counter = LoadCounter(model, only_in_training=True)

    def update(self) -> npt.NDArray[np.int64]:
        """`move`, and return the step's load (L, E), which waits for the device."""
        load_LE = self.move(self.gamma)
        return np.asarray(load_LE.cpu().numpy())

    @torch.no_grad()
    def move(self, gamma: float) -> torch.Tensor:
        """Move the biases once by `gamma` and start counting anew; returns the step's load (L, E).

        Nothing waits for the device.
        """
        load_LE = self.counter.load_LE
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(load_LE)
        mean_L1 = load_LE.double().mean(dim=1, keepdim=True)
        moves_LE = gamma * torch.sign(mean_L1 - load_LE)
        for router, moves_E in zip(self._routers, moves_LE, strict=True):
            bias = router.get_buffer("e_score_correction_bias")
            bias.add_(moves_E.to(bias))
        total_LE = load_LE.clone()
        self.counter.reset()
        return total_LE

    def close(self) -> None:
        self.counter.close()


@contextmanager
def collected_logits(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """A list that receives the router logits (T, E) of each layer of the passes inside."""
    logits: list[torch.Tensor] = []

    def collect(_router: nn.Module, _inputs: Any, routed: Sequence[torch.Tensor]) -> None:
        logits.append(routed[0])

    hooks = [router.register_forward_hook(collect) for router in routers(model).values()]
    try:
        yield logits
    finally:
        for hook in hooks:
            hook.remove()


def auxiliary_loss(logits_TE: Sequence[torch.Tensor], *, top_k: int) -> torch.Tensor:
    """Switch's balance loss of softmax routers, a scalar: the mean over the layers of E · Σ f·P.

    f is the share of choices that went to an expert (no gradient), P its mean probability. It is 1
    when the load is even and E when one expert takes all. transformers' own function adds the
    layers' loads before multiplying, so that one layer's imbalance can hide another's; this
    doesn't.
    """
    if not logits_TE:
        raise ValueError("no router logits; run the model inside collected_logits first")
    losses = []
    for layer_TE in logits_TE:
        num_experts = layer_TE.shape[-1]
        scores_TE = layer_TE.float().softmax(dim=-1)
        chosen_TK = scores_TE.detach().topk(top_k, dim=-1).indices
        counts_E = torch.zeros(num_experts, device=layer_TE.device)
        counts_E.scatter_add_(0, chosen_TK.flatten(), torch.ones_like(chosen_TK.flatten()).float())
        shares_E = counts_E / chosen_TK.numel()
        losses.append(num_experts * (shares_E * scores_TE.mean(dim=0)).sum())
    return torch.stack(losses).mean()
