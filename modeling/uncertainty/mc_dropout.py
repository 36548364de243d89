"""A small calibration head whose dropout stays on when it predicts.

After Gal & Ghahramani, "Dropout as a Bayesian Approximation" (ICML 2016): the spread of several
forward passes with different dropout masks tells how sure the head is of its own probability.
Training uses torch, imported only there; prediction is numpy on the same weights, so that a web
process needs no torch for a network of two thousand parameters.

Legend: S dropout samples, N inputs, F features, H hidden units.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Shape and training of a head."""

    num_features: int
    hidden: int = 32
    dropout: float = 0.15
    epochs: int = 60
    batch_size: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.dropout < 1.0:
            raise ValueError(
                f"dropout must lie between 0 and 1, got {self.dropout}: without it all samples agree."
            )


@dataclass(frozen=True, kw_only=True)
class Head:
    """Weights of a two-layer perceptron with one logit, and the standardisation of its inputs."""

    weight1_HF: Floats
    bias1_H: Floats
    weight2_HH: Floats
    bias2_H: Floats
    weight3_H: Floats
    bias3: Floats
    """[1]"""
    mean_F: Floats
    scale_F: Floats
    dropout: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Mean and quantiles of the sampled probabilities, one per input."""

    mean_N: Floats
    low_N: Floats
    high_N: Floats


def logits(head: Head, features_SNF: Floats, *, seed: int | None) -> Floats:
    """[S, N]; `seed=None` switches dropout off."""
    generator = None if seed is None else np.random.default_rng(seed)
    inputs = (features_SNF - head.mean_F) / head.scale_F
    hidden = _dropped(np.maximum(inputs @ head.weight1_HF.T + head.bias1_H, 0), head, generator)
    hidden = _dropped(np.maximum(hidden @ head.weight2_HH.T + head.bias2_H, 0), head, generator)
    return (hidden @ head.weight3_H + head.bias3[0]).astype(np.float32)


def _dropped(hidden_SNH: Floats, head: Head, generator: np.random.Generator | None) -> Floats:
    """One mask per sample, shared by its inputs: a sample is one network."""
    if generator is None:
        return hidden_SNH
    samples, _, units = hidden_SNH.shape
    keep = generator.random((samples, 1, units)) >= head.dropout
    return (hidden_SNH * keep / (1.0 - head.dropout)).astype(np.float32)


def probabilities(head: Head, features_SNF: Floats, *, seed: int | None) -> Floats:
    """[S, N] probabilities; each sample has its own dropout mask and may have its own features."""
    value: Floats = (1.0 / (1.0 + np.exp(-logits(head, features_SNF, seed=seed)))).astype(
        np.float32
    )
    return value


def interval(samples_SN: Floats, *, low: float = 0.05, high: float = 0.95) -> Interval:
    return Interval(
        mean_N=samples_SN.mean(axis=0),
        low_N=np.quantile(samples_SN, low, axis=0).astype(np.float32),
        high_N=np.quantile(samples_SN, high, axis=0).astype(np.float32),
    )


def fit(config: HeadConfig, features_NF: Floats, labels_N: Floats) -> Head:
    """Train on the binary cross-entropy of 0/1 labels; the same seed gives the same weights."""
    import torch
    from torch import nn

    if features_NF.shape[1] != config.num_features:
        raise ValueError(
            f"got {features_NF.shape[1]} features, the configuration says {config.num_features}"
        )
    mean_F = features_NF.mean(axis=0)
    scale_F = np.maximum(features_NF.std(axis=0), 1e-6)
    inputs = torch.from_numpy(((features_NF - mean_F) / scale_F).astype(np.float32))
    labels = torch.from_numpy(labels_N.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = nn.Sequential(
            nn.Linear(config.num_features, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )
        optimizer = torch.optim.AdamW(
            layers.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
        loss_function = nn.BCEWithLogitsLoss()
        layers.train()
        for _ in range(config.epochs):
            for rows in torch.randperm(len(inputs)).split(config.batch_size):
                optimizer.zero_grad()
                loss_function(layers(inputs[rows]).squeeze(1), labels[rows]).backward()
                optimizer.step()
            schedule.step()
    weights = {name: tensor.numpy() for name, tensor in layers.state_dict().items()}
    return Head(
        weight1_HF=weights["0.weight"],
        bias1_H=weights["0.bias"],
        weight2_HH=weights["3.weight"],
        bias2_H=weights["3.bias"],
        weight3_H=weights["6.weight"][0],
        bias3=weights["6.bias"],
        mean_F=mean_F.astype(np.float32),
        scale_F=scale_F.astype(np.float32),
        dropout=config.dropout,
    )


_ARRAYS = ("weight1_HF", "bias1_H", "weight2_HH", "bias2_H", "weight3_H", "bias3", "mean_F", "scale_F")  # fmt: skip


def save(head: Head, path: Path) -> None:
    """As safetensors."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(getattr(head, name)) for name in _ARRAYS}
    save_file(tensors, path, metadata={"dropout": str(head.dropout)})


def load(path: Path) -> Head:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return Head(
            **{name: file.get_tensor(name) for name in _ARRAYS},
            dropout=float(file.metadata()["dropout"]),
        )


def expected_calibration_error(
    confidence_N: NDArray[np.floating], correct_N: NDArray[np.bool_], *, bins: int = 15
) -> float:
    """Guo et al. 2017: mean gap between confidence and accuracy over equally wide bins."""
    index = np.minimum((confidence_N * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = index == number
        if inside.any():
            gap = abs(float(confidence_N[inside].mean()) - float(correct_N[inside].mean()))
            error += inside.mean() * gap
    return float(error)
