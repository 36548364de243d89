"""What a job will take, measured before it is queued."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from modeling.training.packing import collate
from modeling.training.recipe import Recipe
from modeling.training.trainer import evaluate, peak_memory_bytes, prepare, step


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`seconds` is the whole job: preparation, steps, evaluations. Memory is the peak."""

    steps: int
    seconds_per_step: float
    seconds: float
    tokens_per_second: float
    tokens: int
    memory_bytes: int
    checkpoint_bytes: int
    trainable_parameters: int
    conversations: int
    too_long: int
    dtype: str


def dry_run(recipe: Recipe, steps: int = 3) -> Estimate:
    """Train `steps` steps into a temporary folder, the fullest sequences first.

    The fullest sequences give the memory peak; time is predicted from the tokens per second over
    all of them. Run it in a process of its own: the peak is the process's.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more; got {steps!r}")
    with tempfile.TemporaryDirectory(prefix="dry-run-") as directory:
        started = time.perf_counter()
        # Compiling takes longer than these few steps; a run that compiles is quicker than predicted.
        run = prepare(dataclasses.replace(recipe, output_dir=directory, compile="off"))
        preparing = time.perf_counter() - started
        lengths = run.store.lengths
        sequences = run.plan.sequences(0)
        sequences.sort(key=lambda sequence: -int(lengths[sequence].sum()))
        per_step = recipe.sequences_per_step
        tokens = 0
        took = 0.0
        for number in range(steps):
            place = (number * per_step) % len(sequences)
            chosen = (sequences * (1 + per_step // len(sequences) + 1))[place : place + per_step]
            begun = time.perf_counter()
            done = step(
                run,
                [collate(run.store, sequence) for sequence in chosen],
                learning_rate=recipe.schedule.rate_at(1, run.plan.steps),
                gamma=recipe.balancing.gamma,
                should_stop=_never,
            )
            assert done is not None
            # The first step also pays for allocations and kernels that are chosen once.
            if number > 0 or steps == 1:
                took += time.perf_counter() - begun
                tokens += done.tokens
        rate = tokens / took
        evaluating = 0.0
        if run.evaluation:
            begun = time.perf_counter()
            probe = dataclasses.replace(run, evaluation=run.evaluation[:1])
            evaluate(probe, should_stop=_never)
            evaluating = (time.perf_counter() - begun) * len(run.evaluation)
        trainable = sum(parameter.numel() for parameter in run.trainable)
        memory = peak_memory_bytes(run.accelerator.device)
        mean_tokens = float(np.mean([lengths[sequence].sum() for sequence in sequences]))
        planned_tokens = round(run.plan.steps * per_step * mean_tokens)
    every = recipe.evaluate_every_steps
    evaluations = 2 + (run.plan.steps // every if every else 0)
    return Estimate(
        steps=run.plan.steps,
        seconds_per_step=per_step * mean_tokens / rate,
        seconds=preparing + planned_tokens / rate + evaluations * evaluating,
        tokens_per_second=rate,
        tokens=planned_tokens,
        memory_bytes=memory,
        checkpoint_bytes=math.ceil(12 * trainable) * recipe.keep_checkpoints,
        trainable_parameters=trainable,
        conversations=run.store.inventory.conversations,
        too_long=run.store.inventory.too_long,
        dtype=str(run.dtype).removeprefix("torch."),
    )


def _never() -> bool:
    return False
