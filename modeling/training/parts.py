"""Which weights of a model a run trains, how fast each, and how they are saved.

A mixture's routed experts and routers, the norms and the rest of the base are trained in full and
in float32; the adapter is PEFT's, see modeling.training.lora.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from modeling.training.recipe import PARTS

EXPERTS_FILE = "experts.safetensors"
BASE_FILE = "base.safetensors"


class NothingToTrain(ValueError):
    """The recipe names a part that the model doesn't have; the text says which."""


def part_of(name: str) -> str:
    """The part, one of PARTS, that a weight belongs to by its name."""
    if ".lora_" in name:
        return "lora"
    if ".mlp.experts." in name:
        return "experts"
    if ".mlp.gate." in name:
        return "routers"
    return "norms" if "norm" in name.rsplit(".", 2)[-2] else "base"


def choose(model: nn.Module, trainable: Mapping[str, float]) -> None:
    """Let exactly the named parts learn and hold them in float32, so that small steps count."""
    found = dict.fromkeys(PARTS, 0)
    for name, weight in model.named_parameters():
        part = part_of(name)
        found[part] += 1
        weight.requires_grad_(part in trainable)
        if weight.requires_grad:
            weight.data = weight.data.float()
    missing = [part for part in trainable if not found[part]]
    if missing:
        raise NothingToTrain(
            f"the model has no {' and no '.join(missing)} to train; give a mixture, or make one "
            "of the base with the recipe's experts, or leave that part out of trainable"
        )


def groups(
    model: nn.Module, trainable: Mapping[str, float], weight_decay: float
) -> list[dict[str, Any]]:
    """The optimiser's parameter groups, one per part, each with `factor` on the learning rate."""
    weights: dict[str, list[nn.Parameter]] = {part: [] for part in trainable}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weights[part_of(name)].append(weight)
    return [
        {
            "params": weights[part],
            "factor": factor,
            # Pulling norms to zero would take the scale of the layers with them.
            "weight_decay": 0.0 if part == "norms" else weight_decay,
        }
        for part, factor in trainable.items()
    ]


def save(weights: Mapping[str, torch.Tensor], directory: Path) -> None:
    """Write the parts that were trained in full, under the names that transformers gives them.

    `weights`: the trained weights and the routers' biases by name. `experts.safetensors` gets
    routed experts (bfloat16), routers and their biases (float32); `base.safetensors` all else
    (norms float32, the rest bfloat16). The adapter isn't among them.
    """
    files: dict[str, dict[str, torch.Tensor]] = {EXPERTS_FILE: {}, BASE_FILE: {}}
    for name, weight in once(weights).items():
        part = part_of(name)
        if part == "lora":
            continue
        file = EXPERTS_FILE if part in ("experts", "routers") else BASE_FILE
        dtype = torch.float32 if part in ("routers", "norms") else torch.bfloat16
        files[file][plain_name(name)] = weight.detach().to("cpu", dtype).contiguous()
    for file, tensors in files.items():
        if tensors:
            save_file(tensors, directory / file, metadata={"format": "pt"})


def once(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the second name of a weight that has two, as a tied output layer."""
    names: dict[tuple[int, torch.Size], str] = {}
    for name, weight in weights.items():
        names.setdefault((weight.data_ptr(), weight.shape), name)
    return {name: weights[name] for name in names.values()}


def plain_name(name: str) -> str:
    """A weight's name without what the loss module and PEFT put before and into it."""
    name = name.removeprefix("module.").removeprefix("model.").removeprefix("base_model.model.")
    return name.replace(".base_layer.", ".")


def biases(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The routers' score correction biases by name; they are buffers, not parameters."""
    for name, buffer in model.named_buffers():
        if name.endswith(".e_score_correction_bias"):
            yield name, buffer
