"""The trainer: one loop for a laptop's CPU, one GPU and several.

Accelerate places the model and averages gradients; the rest is a plain loop. Everything that
decides the result (data order, learning rate, random numbers, position) is part of a checkpoint,
so a run that was killed ends with the same weights as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from peft import PeftModel
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from modeling.moe.balance import BiasBalancer, counted_load, measure
from modeling.moe.experts import use_training_experts
from modeling.moe.routers import Groups, use_training_routers
from modeling.moe.upcycle import upcycle
from modeling.training import checkpoint, parts
from modeling.training.capture import Room
from modeling.training.lora import add_adapter, load_base, resolve_dtype, save_adapter
from modeling.training.objective import SupervisedLoss
from modeling.training.packing import (
    Ahead,
    Batch,
    Cursor,
    Inventory,
    Plan,
    TokenStore,
    collate,
    hold_out,
    pack,
)
from modeling.training.recipe import Recipe, Schedule

Phase = Literal["preparing", "tokenising", "training", "saving"]

CHECKPOINTS = "checkpoints"
TOKENS = "tokens"
UNFINISHED_ADAPTER = "adapter.part"
# What may change between two starts of one run without changing its result.
_FREE_TO_CHANGE = (
    "model_path",
    "data_path",
    "output_dir",
    "save_every_steps",
    "keep_checkpoints",
    "dtype",
    "device",
    "threads",
    "compile",
    "export_gguf",
    "max_seconds",
)
_STEPS_AHEAD = 3
_COMPILED_FROM = 30_000_000
"""Tokens of a run from which compiling its layers, about a minute, is repaid on one card."""
_COMPILED_SECONDS = 180.0
"""The same for a run that ends by the clock."""
_SECONDS_TO_SAVE = 10.0
"""Kept free at the end of a run with `max_seconds`, beside the time of one evaluation."""


class TrainingError(Exception):
    """A run that cannot go on; the text is one sentence for the person who started it."""

    code = "failed"


class NoUsableData(TrainingError):
    code = "no_usable_data"


class NonFiniteLoss(TrainingError):
    code = "non_finite_loss"


class OtherRun(TrainingError):
    code = "other_run"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One line of metrics. `loss` is the mean over the supervised tokens of the step.

    `step` 0 carries the evaluation before training; `at` is seconds since 1970.
    """

    step: int
    steps: int
    loss: float | None
    eval_loss: float | None
    learning_rate: float
    tokens_per_second: float
    tokens: int
    supervised_tokens: int
    seconds: float
    eta_seconds: float
    memory_bytes: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Result:
    outcome: Literal["completed", "stopped"]
    step: int
    steps: int
    loss: float | None
    first_eval_loss: float | None
    eval_loss: float | None
    tokens: int
    supervised_tokens: int
    seconds: float
    dtype: str
    trainable_parameters: int
    stopped_early: bool
    inventory: Inventory
    evaluation_conversations: int
    balance: dict[str, float | int] | None
    """Of a mixture: how evenly its experts were used on the held-out conversations."""
    adapter: Path | None
    """The adapter's PEFT files and the other trained weights; None when the run was stopped."""


@dataclass(kw_only=True)
class Progress:
    """How far the run is; together with tensors and random state, all of a checkpoint."""

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    tokens: int = 0
    supervised_tokens: int = 0
    seconds: float = 0.0
    loss: float | None = None
    first_eval_loss: float | None = None
    eval_loss: float | None = None
    best_eval_loss: float | None = None
    evaluations_without_gain: int = 0
    evaluation_due: bool = False
    stopped_early: bool = False
    balance: dict[str, float | int] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What balances the experts of a mixture while it is trained."""

    groups: Groups
    balancer: BiasBalancer


@dataclass(frozen=True, kw_only=True)
class Run:
    """A prepared run: model, optimiser and data, before its first step."""

    recipe: Recipe
    accelerator: Accelerator
    model: torch.nn.Module
    """The loss as a module, wrapped for the processes that train together."""
    adapter: PeftModel | None
    """The same weights as PEFT sees them, if an adapter is trained."""
    mixture: Mixture | None
    optimizer: torch.optim.Optimizer
    dtype: torch.dtype
    store: TokenStore
    plan: Plan
    evaluation: list[list[int]]
    evaluation_conversations: int
    identity: str

    @property
    def trainable(self) -> list[torch.nn.Parameter]:
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def _no_phase(phase: Phase, message: str) -> None:
    """For callers that don't show phases."""


def train(
    recipe: Recipe,
    *,
    on_metrics: Callable[[Metrics], None],
    should_stop: Callable[[], bool],
    on_phase: Callable[[Phase, str], None] = _no_phase,
) -> Result:
    """Train until done or until `should_stop`, from the newest complete checkpoint if any.

    `on_metrics` is called after every step, in the main process only. When stopped, the state
    after the last whole step is in a checkpoint before this returns.
    """
    started = time.monotonic()
    on_phase("preparing", "")
    # One process moves damaged checkpoints aside before the others look.
    with Accelerator(cpu=recipe.device == "cpu").main_process_first():
        newest = checkpoint.latest_complete(recipe.output / CHECKPOINTS)
    snapshot = None if newest is None else checkpoint.load(newest)
    run = prepare(recipe, snapshot, on_phase=on_phase)
    progress = Progress() if snapshot is None else _restore(run, snapshot)
    on_phase("training", "" if snapshot is None else f"continued after step {progress.step}")
    clock = Clock(started=started, seconds=recipe.max_seconds, trained=progress.seconds, run=run)
    finished = _loop(run, progress, clock, on_metrics, should_stop, on_phase)
    adapter = None
    if finished:
        on_phase("saving", "")
        adapter = recipe.output / UNFINISHED_ADAPTER
        # All processes take part, where each holds a share of the weights.
        trained: dict[str, Any] = {
            **get_model_state_dict(run.model, options=_STATE_OPTIONS),
            **dict(parts.biases(run.model)),
        }
        if run.accelerator.is_main_process:
            shutil.rmtree(adapter, ignore_errors=True)
            num_bytes = 4 * sum(parameter.numel() for parameter in run.trainable)
            checkpoint.require_free_space(recipe.output, 2 * num_bytes)
            adapter.mkdir()
            if run.adapter is not None:
                # PEFT's wrapper puts its own name before those that the loss module sees.
                named = {f"base_model.{name}": weight for name, weight in trained.items()}
                save_adapter(run.adapter, adapter, named)
            parts.save(_in_full(recipe, trained), adapter)
        run.accelerator.wait_for_everyone()
    return Result(
        outcome="completed" if finished else "stopped",
        step=progress.step,
        steps=progress.step if recipe.max_seconds else run.plan.steps,
        loss=progress.loss,
        first_eval_loss=progress.first_eval_loss,
        eval_loss=progress.eval_loss,
        tokens=progress.tokens,
        supervised_tokens=progress.supervised_tokens,
        seconds=progress.seconds,
        dtype=_dtype_name(run.dtype),
        trainable_parameters=sum(parameter.numel() for parameter in run.trainable),
        stopped_early=progress.stopped_early,
        inventory=run.store.inventory,
        evaluation_conversations=run.evaluation_conversations,
        balance=progress.balance,
        adapter=adapter,
    )


def prepare(
    recipe: Recipe,
    snapshot: checkpoint.Snapshot | None = None,
    *,
    base: PreTrainedModel | None = None,
    on_phase: Callable[[Phase, str], None] = _no_phase,
) -> Run:
    """Encode the data, load the base, add the adapter, plan the steps.

    `base` stands in for the weights of `model_path`, which then needs a tokenizer only.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    accelerator = Accelerator(
        cpu=recipe.device == "cpu",
        # Biases are equal in all processes already; each counts its own load.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    for name in ("data_path", "model_path"):
        path = Path(getattr(recipe, name))
        if not path.exists():
            raise FileNotFoundError(f"{name} {path} does not exist; give an existing path")
    on_phase("tokenising", "")
    model_path, tokens = Path(recipe.model_path), recipe.output / TOKENS
    data_path = Path(recipe.data_path)
    if data_path.is_dir():
        store = TokenStore.open(data_path, max_tokens=recipe.max_tokens)
    else:
        with accelerator.main_process_first():
            store = TokenStore.build(
                tokens,
                data_path=data_path,
                model_dir=model_path,
                max_tokens=recipe.max_tokens,
            )
    if store.inventory.supervised_tokens == 0:
        raise NoUsableData(
            f"no conversation in the data set can be trained on ({store.inventory.too_long} are "
            f"longer than {recipe.max_tokens} tokens, {store.inventory.rejected} are rejected by "
            "the chat template, the other lines have errors); check the data set and start again"
        )
    training, evaluation = hold_out(
        store,
        share=recipe.evaluation_share,
        at_most=recipe.max_evaluation_conversations,
        seed=recipe.seed,
    )
    lengths = store.lengths
    plan = Plan.of(
        training,
        lengths,
        max_tokens=recipe.max_tokens,
        seed=recipe.seed,
        sequences_per_step=recipe.sequences_per_step,
        steps=recipe.steps,
        epochs=recipe.epochs,
    )
    identity = _identity(recipe, store.inventory.fingerprint)
    if snapshot is not None and snapshot.state["identity"] != identity:
        raise OtherRun(
            f"{recipe.output_dir} holds the checkpoints of a run with another recipe or other "
            "data; use an empty output directory"
        )
    on_phase("preparing", "")
    dtype = (
        resolve_dtype(recipe.dtype, accelerator.device)
        if snapshot is None
        else _DTYPES[snapshot.state["dtype"]]
    )
    base = load_base(model_path, dtype) if base is None else base
    if recipe.experts is not None:
        base = upcycle(base, recipe.experts, seed=recipe.seed)
    groups = None
    if _is_mixture(base):
        groups = use_training_routers(base)
    use_training_experts(base)
    adapter = add_adapter(base, recipe.lora, seed=recipe.seed) if _has_adapter(recipe) else None
    parts.choose(base, recipe.trainable)
    compiled = _compiles(recipe, plan.steps, accelerator.device)
    loss_module = SupervisedLoss(base, dtype, compiled=compiled).to(accelerator.device)
    loss_module.train()
    if compiled and _captures(recipe, base, accelerator, dtype):
        loss_module.capture(Room.of(plan.sequences(0), lengths, tokens=recipe.max_tokens))
    mixture = None if groups is None else Mixture(groups=groups, balancer=BiasBalancer(base))
    optimizer = torch.optim.AdamW(
        parts.groups(loss_module, recipe.trainable, recipe.weight_decay),
        lr=recipe.schedule.learning_rate,
        fused=True,
    )
    prepared_model, prepared_optimizer = accelerator.prepare(loss_module, optimizer)
    return Run(
        recipe=recipe,
        accelerator=accelerator,
        model=prepared_model,
        adapter=adapter,
        mixture=mixture,
        optimizer=prepared_optimizer,
        dtype=dtype,
        store=store,
        plan=plan,
        evaluation=pack(
            evaluation, lengths, max_tokens=recipe.max_tokens, seed=recipe.seed, epoch=0
        ),
        evaluation_conversations=len(evaluation),
        identity=identity,
    )


def _compiles(recipe: Recipe, steps: int, device: torch.device) -> bool:
    if recipe.compile != "auto":
        return recipe.compile == "on"
    # Compiling for a CPU needs a C++ compiler, which who runs the product needn't have.
    tokens = steps * recipe.sequences_per_step * recipe.max_tokens
    enough = (
        recipe.max_seconds > _COMPILED_SECONDS if recipe.max_seconds else tokens > _COMPILED_FROM
    )
    return device.type == "cuda" and enough


def _captures(
    recipe: Recipe, base: PreTrainedModel, accelerator: Accelerator, dtype: torch.dtype
) -> bool:
    """Whether full sequences can be replayed: all that changes between them must be their tokens.

    A mixture is told of each sequence by other ways or sends tokens by what they are, several
    processes exchange gradients within the backward pass, and in float32 each span is a kernel.
    """
    return (
        accelerator.device.type == "cuda"
        and accelerator.num_processes == 1
        and dtype == torch.bfloat16
        and not getattr(base.config, "num_experts_per_tok", 0)
        and "base" not in recipe.trainable
    )


def _is_mixture(model: PreTrainedModel) -> bool:
    return any(hasattr(module, "e_score_correction_bias") for module in model.modules())


def _has_adapter(recipe: Recipe) -> bool:
    return "lora" in recipe.trainable


def _in_full(recipe: Recipe, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of all weights and biases those that the recipe trains in full."""
    return {name: w for name, w in weights.items() if parts.part_of(name) in recipe.trainable}


class Clock:
    """How much of the run is done, from 0 to 1: by its steps, or by the time it may take."""

    def __init__(self, *, started: float, seconds: float, trained: float, run: Run) -> None:
        """`started`: time.monotonic() of the start; `trained`: seconds of training before it."""
        self._by_time = seconds > 0
        self._steps = run.plan.steps
        self._accelerator = run.accelerator
        self._begun = time.monotonic() - trained
        self._end = started + seconds - _SECONDS_TO_SAVE

    def keep_free(self, seconds: float) -> None:
        """End so much earlier."""
        self._end -= seconds

    def done(self, step: int) -> float:
        """After `step` updates; the same in all processes."""
        if not self._by_time:
            return step / self._steps
        share = (time.monotonic() - self._begun) / max(1e-3, self._end - self._begun)
        if self._accelerator.num_processes > 1:
            value = torch.tensor(share, device=self._accelerator.device, dtype=torch.float32)
            share = float(broadcast(value).item())
        return min(1.0, share)

    def rate(self, schedule: Schedule, step: int, done: float) -> float:
        """The learning rate of update number `step`, before which `done` of the run was done."""
        if not self._by_time:
            return schedule.rate_at(step, self._steps)
        return schedule.rate_at(1 + int(done * _CLOCK_STEPS), _CLOCK_STEPS)

    def steps(self, step: int, done: float) -> int:
        """The number of steps of the whole run, as far as one can tell."""
        if not self._by_time:
            return self._steps
        return max(step, round(step / done)) if step and done else max(1, step)


_CLOCK_STEPS = 10_000


def _loop(
    run: Run,
    progress: Progress,
    clock: Clock,
    on_metrics: Callable[[Metrics], None],
    should_stop: Callable[[], bool],
    on_phase: Callable[[Phase, str], None],
) -> bool:
    """Steps until the plan is done (True) or a stop is asked for (False)."""
    recipe, accelerator = run.recipe, run.accelerator
    saved_step = progress.step if progress.step else -1
    rng = _rng_state(accelerator)

    def stop_asked() -> bool:
        return _any_process(accelerator, should_stop())

    def save() -> None:
        nonlocal saved_step
        if saved_step == progress.step:
            return
        on_phase("saving", f"step {progress.step}")
        _save(run, progress, rng)
        saved_step = progress.step
        on_phase("training", "")

    def report(loss: float | None, eval_loss: float | None, tokens: int, took: float) -> None:
        if not accelerator.is_main_process:
            return
        steps = clock.steps(progress.step, done)
        per_step = progress.seconds / progress.step if progress.step else 0.0
        on_metrics(
            Metrics(
                step=progress.step,
                steps=steps,
                loss=loss,
                eval_loss=eval_loss,
                learning_rate=rate,
                tokens_per_second=tokens / took if took else 0.0,
                tokens=progress.tokens,
                supervised_tokens=progress.supervised_tokens,
                seconds=progress.seconds,
                eta_seconds=(steps - progress.step) * per_step,
                memory_bytes=peak_memory_bytes(accelerator.device),
                at=time.time(),
            )
        )

    def evaluated() -> float | None:
        found = evaluate(run, should_stop=stop_asked)
        if found is None:
            return None
        progress.balance = found.balance
        report(None, found.loss, 0, 0.0)
        return found.loss

    done, rate = 0.0, 0.0
    if stop_asked():
        return False
    if run.evaluation and progress.first_eval_loss is None:
        started = time.monotonic()
        progress.first_eval_loss = progress.best_eval_loss = evaluated()
        if progress.first_eval_loss is None:
            return False
        clock.keep_free(1.5 * (time.monotonic() - started))

    done = clock.done(progress.step)
    if progress.step:
        rate = clock.rate(recipe.schedule, progress.step, done)
    coming = Ahead(_collated(run, progress.cursor), depth=_STEPS_AHEAD)
    try:
        while True:
            if progress.evaluation_due:
                eval_loss = evaluated()
                if eval_loss is None:
                    save()
                    return False
                _judge(progress, eval_loss, recipe.early_stop_evaluations)
            if done >= 1.0 or progress.stopped_early:
                break
            batches, cursor = next(coming)
            started = time.perf_counter()
            rate = clock.rate(recipe.schedule, progress.step + 1, done)
            made = step(
                run,
                batches,
                learning_rate=rate,
                gamma=recipe.balancing.gamma_at(done),
                should_stop=stop_asked,
            )
            if made is None:
                if progress.step:
                    save()
                return False
            took = time.perf_counter() - started
            if not (math.isfinite(made.loss) and math.isfinite(made.gradient_norm)):
                raise NonFiniteLoss(
                    f"the loss became {made.loss:g} and its gradient {made.gradient_norm:g} at "
                    f"step {progress.step + 1}; lower the learning rate (it is "
                    f"{recipe.schedule.learning_rate:g}) or the adapter's alpha and start a new "
                    "job"
                )
            progress.step += 1
            progress.cursor = cursor
            progress.tokens += made.tokens
            progress.supervised_tokens += made.supervised_tokens
            progress.seconds += took
            progress.loss = made.loss
            rng = _rng_state(accelerator)
            done = clock.done(progress.step)
            last = done >= 1.0
            every = recipe.evaluate_every_steps
            progress.evaluation_due = bool(run.evaluation) and (
                last or (every > 0 and progress.step % every == 0)
            )
            report(made.loss, None, made.tokens, took)
            if last or progress.step % recipe.save_every_steps == 0:
                save()
    finally:
        coming.close()
    save()
    return True


def _collated(run: Run, cursor: Cursor) -> Iterator[tuple[list[Batch], Cursor]]:
    """The batches of each following step, ready for the device, and the cursor after it."""
    pinned = run.accelerator.device.type == "cuda"
    for sequences, after in run.plan.steps_from(cursor):
        batches = [collate(run.store, sequence) for sequence in sequences]
        yield [batch.pin() for batch in batches] if pinned else batches, after


def _judge(progress: Progress, eval_loss: float, patience: int) -> None:
    progress.evaluation_due = False
    progress.eval_loss = eval_loss
    if progress.best_eval_loss is None or eval_loss < progress.best_eval_loss:
        progress.best_eval_loss = eval_loss
        progress.evaluations_without_gain = 0
    else:
        progress.evaluations_without_gain += 1
    progress.stopped_early = patience > 0 and progress.evaluations_without_gain >= patience


@dataclass(frozen=True, kw_only=True)
class StepDone:
    loss: float
    gradient_norm: float
    tokens: int
    supervised_tokens: int


def step(
    run: Run,
    batches: Sequence[Batch],
    *,
    learning_rate: float,
    gamma: float,
    should_stop: Callable[[], bool],
) -> StepDone | None:
    """One update; None when a stop was asked for in the middle of it.

    The loss is summed over the supervised tokens of all sequences and all processes and divided
    once, so neither accumulation nor the number of processes changes the weight of a token. The
    balance loss weighs every conversation by its share of the step's tokens. `gamma` is how far
    the biases of a mixture's routers move afterwards.
    """
    accelerator, device = run.accelerator, run.accelerator.device
    supervised_tokens = sum(len(batch.targets) for batch in batches)
    tokens = sum(batch.num_tokens for batch in batches)
    share = _share_of(batches, accelerator.process_index, accelerator.num_processes)
    total = torch.zeros((), dtype=torch.float32, device=device)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]
    for index, (batch, counts) in enumerate(share):
        if should_stop():
            run.optimizer.zero_grad(set_to_none=True)
            return None
        last = index == len(share) - 1
        with accelerator.no_sync(run.model) if not last else nullcontext():
            moved = batch.to(device)
            if run.mixture is not None:
                weight = run.recipe.balancing.loss_weight * accelerator.num_processes / tokens
                _tell_groups(run.mixture.groups, moved, counts, weight)
            loss = loss_of(run.model, moved)
            weight = counts * accelerator.num_processes / supervised_tokens
            accelerator.backward(loss * weight)
            total += loss.detach() * counts
    norm = accelerator.clip_grad_norm_(run.trainable, run.recipe.max_gradient_norm)
    if isinstance(norm, DTensor):
        # With weights divided among processes each holds its part of the norm.
        norm = norm.full_tensor()
    summed = accelerator.reduce(total, reduction="sum")
    # Nothing waits for the device before all of its work is queued. After a loss that isn't finite
    # the run ends, so it doesn't matter that the weights moved.
    run.optimizer.step()
    if run.mixture is not None:
        run.mixture.balancer.move(gamma)
    run.optimizer.zero_grad(set_to_none=True)
    # One transfer from the device for both.
    mean, gradient_norm = torch.stack([summed / supervised_tokens, norm.float()]).tolist()
    return StepDone(
        loss=mean,
        gradient_norm=gradient_norm,
        tokens=tokens,
        supervised_tokens=supervised_tokens,
    )


def _tell_groups(groups: Groups, batch: Batch, counts: int, weight: float) -> None:
    """Which tokens count, and what the balance of each conversation weighs, in the coming pass."""
    device, num_tokens = batch.token_ids.device, batch.num_tokens
    groups.counted_T = None if counts else torch.zeros(num_tokens, device=device)
    if not weight:
        return
    bounds = batch.bounds_tensor
    places = torch.arange(num_tokens, device=device)
    lengths_G = (bounds[1:] - bounds[:-1]).float()
    inside_GT = (places >= bounds[:-1, None]) & (places < bounds[1:, None])
    groups.means_GT = inside_GT / lengths_G[:, None]
    groups.weights_G = counts * weight * lengths_G


def _share_of(batches: Sequence[Batch], rank: int, processes: int) -> list[tuple[Batch, int]]:
    """This process's batches; where there are too few, one counts 0 so that all do as many."""
    rounds = math.ceil(len(batches) / processes)
    mine = []
    for number in range(rounds):
        index = number * processes + rank
        mine.append((batches[index], 1) if index < len(batches) else (batches[0], 0))
    return mine


def loss_of(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    return model(
        batch.token_ids,
        batch.position_ids,
        batch.bounds,
        batch.bounds_tensor,
        batch.places,
        batch.targets,
    )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`loss`: mean over the supervised tokens. `balance`: of a mixture's experts, else None."""

    loss: float
    balance: dict[str, float | int] | None


def evaluate(run: Run, *, should_stop: Callable[[], bool]) -> Evaluation | None:
    """Loss and balance on the held-out conversations; None when stopped."""
    accelerator = run.accelerator
    batches = [collate(run.store, sequence) for sequence in run.evaluation]
    total = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
    run.model.eval()
    try:
        with torch.no_grad(), ExitStack() as stack:
            # Compiled layers would be made anew for it, which takes longer than it does.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            counter = None if run.mixture is None else stack.enter_context(counted_load(run.model))
            share = _share_of(batches, accelerator.process_index, accelerator.num_processes)
            for batch, counts in share:
                if should_stop():
                    return None
                if counter is not None:
                    counter.token_mask = torch.full(
                        (batch.num_tokens,), counts, device=accelerator.device
                    )
                loss = loss_of(run.model, batch.to(accelerator.device))
                total += counts * torch.stack(
                    [loss.double(), loss.new_tensor(len(batch.targets)).double()]
                )
    finally:
        run.model.train()
    summed, count = accelerator.reduce(total, reduction="sum").tolist()
    balance = None
    if counter is not None:
        load_LE = accelerator.reduce(counter.load_LE, reduction="sum")
        balance = measure(load_LE.cpu().numpy()).summary()
    return Evaluation(loss=summed / count, balance=balance)


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _dtype_name(dtype: torch.dtype) -> str:
    return next(name for name, known in _DTYPES.items() if known == dtype)


def _identity(recipe: Recipe, data_fingerprint: str) -> str:
    """Equal for two starts of one run: same data, same recipe in all that changes the result."""
    values = {name: v for name, v in recipe.to_dict().items() if name not in _FREE_TO_CHANGE}
    text = json.dumps([data_fingerprint, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _any_process(accelerator: Accelerator, value: bool) -> bool:
    if accelerator.num_processes == 1:
        return value
    flag = torch.tensor(int(value), device=accelerator.device)
    return bool(accelerator.reduce(flag, reduction="sum").item())


_STATE_OPTIONS = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_SEPARATOR = "|"


def _rng_state(accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """Random state of this process; dropout is the only thing that draws during training."""
    rank = accelerator.process_index
    states = {f"cpu.{rank}": torch.get_rng_state()}
    if accelerator.device.type == "cuda":
        states[f"cuda.{rank}"] = torch.cuda.get_rng_state(accelerator.device)
    return states


def _gathered_rng(
    accelerator: Accelerator, rng: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    if accelerator.num_processes == 1:
        return rng
    from accelerate.utils import gather_object

    return {name: state for states in gather_object([rng]) for name, state in states.items()}


def _save(run: Run, progress: Progress, rng: dict[str, torch.Tensor]) -> None:
    accelerator = run.accelerator
    optimizer = getattr(run.optimizer, "optimizer", run.optimizer)
    trained: dict[str, Any] = get_model_state_dict(run.model, options=_STATE_OPTIONS)
    optimizer_state: dict[str, Any] = get_optimizer_state_dict(
        run.model, optimizer, options=_STATE_OPTIONS
    )
    states = _gathered_rng(accelerator, rng)
    if accelerator.is_main_process:
        checkpoint.save(
            run.recipe.output / CHECKPOINTS,
            checkpoint.Snapshot(
                step=progress.step,
                trained=parts.once({n: tensor.contiguous() for n, tensor in trained.items()}),
                optimizer={
                    f"{parameter}{_SEPARATOR}{name}": torch.as_tensor(value).contiguous()
                    for parameter, entries in optimizer_state["state"].items()
                    for name, value in entries.items()
                },
                rng=states,
                state={
                    **asdict(progress),
                    "identity": run.identity,
                    "dtype": _dtype_name(run.dtype),
                    "num_processes": accelerator.num_processes,
                },
            ),
            keep=run.recipe.keep_checkpoints,
        )
    accelerator.wait_for_everyone()


def _restore(run: Run, snapshot: checkpoint.Snapshot) -> Progress:
    optimizer = getattr(run.optimizer, "optimizer", run.optimizer)
    set_model_state_dict(
        run.model,
        dict(snapshot.trained),
        options=StateDictOptions(full_state_dict=True, ignore_frozen_params=True, strict=False),
    )
    entries: dict[str, Any] = {}
    for key, tensor in snapshot.optimizer.items():
        parameter, name = key.split(_SEPARATOR)
        entries.setdefault(parameter, {})[name] = tensor
    # Not the full form: that one is empty in every process but the first.
    fresh: dict[str, Any] = get_optimizer_state_dict(
        run.model, optimizer, options=StateDictOptions(ignore_frozen_params=True)
    )
    set_optimizer_state_dict(
        run.model,
        optimizer,
        {"state": entries, "param_groups": fresh["param_groups"]},
        options=StateDictOptions(full_state_dict=True, ignore_frozen_params=True),
    )
    rank = run.accelerator.process_index
    # A run continued on more processes has no state for the new ones; they keep their own.
    if (state := snapshot.rng.get(f"cpu.{rank}")) is not None:
        torch.set_rng_state(state)
    if run.accelerator.device.type == "cuda" and f"cuda.{rank}" in snapshot.rng:
        torch.cuda.set_rng_state(snapshot.rng[f"cuda.{rank}"], run.accelerator.device)
    known = {name: snapshot.state[name] for name in Progress.__dataclass_fields__}
    known["cursor"] = Cursor(*known["cursor"])
    return Progress(**known)


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far: the card's on CUDA, else this process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
