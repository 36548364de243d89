"""A run whose weights are divided among its processes, for a CPU.

Accelerate divides weights (FSDP2) on accelerators only. This puts torch's own `fully_shard`, which
accelerate calls, in the place of `Accelerator.prepare`; all else is the trainer as it is.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from modeling.training.objective import SupervisedLoss
from modeling.training.recipe import Recipe
from modeling.training.run import execute


def divided(
    self: Accelerator, loss: SupervisedLoss, optimizer: torch.optim.Optimizer
) -> tuple[Any, torch.optim.Optimizer]:
    names = {parameter: name for name, parameter in loss.named_parameters()}
    mesh = init_device_mesh("cpu", (self.num_processes,))
    for layer in loss.decoder.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(loss, mesh=mesh)
    now = dict(loss.named_parameters())
    for group in optimizer.param_groups:
        group["params"] = [now[names[parameter]] for parameter in group["params"]]
    return loss, optimizer


if __name__ == "__main__":
    Accelerator.prepare = divided
    sys.exit(execute(Recipe.from_json(Path(sys.argv[1]).read_text())))
