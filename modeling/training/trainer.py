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
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from peft import PeftModel
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from modeling.training import checkpoint
from modeling.training.lora import add_adapter, load_base, resolve_dtype, save_adapter
from modeling.training.objective import SupervisedLoss
from modeling.training.packing import (
    Batch,
    Cursor,
    Inventory,
    Plan,
    TokenStore,
    collate,
    hold_out,
    pack,
)
from modeling.training.recipe import Recipe

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
    "export_gguf",
)


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
    adapter: Path | None
    """The adapter's PEFT files, for export; None when the run was stopped."""


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


@dataclass(frozen=True, kw_only=True)
class Run:
    """A prepared run: model, optimiser and data, before its first step."""

    recipe: Recipe
    accelerator: Accelerator
    model: torch.nn.Module
    """The loss as a module, wrapped for the processes that train together."""
    adapter: PeftModel
    """The same weights as PEFT sees them."""
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
    on_phase("preparing", "")
    # One process moves damaged checkpoints aside before the others look.
    with Accelerator(cpu=recipe.device == "cpu").main_process_first():
        newest = checkpoint.latest_complete(recipe.output / CHECKPOINTS)
    snapshot = None if newest is None else checkpoint.load(newest)
    run = prepare(recipe, snapshot, on_phase=on_phase)
    progress = Progress() if snapshot is None else _restore(run, snapshot)
    on_phase("training", "" if snapshot is None else f"continued after step {progress.step}")
    finished = _loop(run, progress, on_metrics, should_stop, on_phase)
    adapter = None
    if finished:
        on_phase("saving", "")
        adapter = recipe.output / UNFINISHED_ADAPTER
        if run.accelerator.is_main_process:
            shutil.rmtree(adapter, ignore_errors=True)
            num_bytes = 4 * sum(parameter.numel() for parameter in run.trainable)
            checkpoint.require_free_space(recipe.output, 2 * num_bytes)
            save_adapter(run.adapter, adapter)
        run.accelerator.wait_for_everyone()
    return Result(
        outcome="completed" if finished else "stopped",
        step=progress.step,
        steps=run.plan.steps,
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
        adapter=adapter,
    )


def prepare(
    recipe: Recipe,
    snapshot: checkpoint.Snapshot | None = None,
    *,
    on_phase: Callable[[Phase, str], None] = _no_phase,
) -> Run:
    """Encode the data, load the base, add the adapter, plan the steps."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    accelerator = Accelerator(cpu=recipe.device == "cpu")
    for name in ("data_path", "model_path"):
        path = Path(getattr(recipe, name))
        if not path.exists():
            raise FileNotFoundError(f"{name} {path} does not exist; give an existing path")
    on_phase("tokenising", "")
    model_path, tokens = Path(recipe.model_path), recipe.output / TOKENS
    with accelerator.main_process_first():
        store = TokenStore.build(
            tokens,
            data_path=Path(recipe.data_path),
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
    base = load_base(model_path, dtype)
    adapter = add_adapter(base, recipe.lora, seed=recipe.seed)
    loss_module = SupervisedLoss(base).to(accelerator.device)
    loss_module.train()
    optimizer = torch.optim.AdamW(
        [parameter for parameter in loss_module.parameters() if parameter.requires_grad],
        lr=recipe.schedule.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    prepared_model, prepared_optimizer = accelerator.prepare(loss_module, optimizer)
    return Run(
        recipe=recipe,
        accelerator=accelerator,
        model=prepared_model,
        adapter=adapter,
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


def _loop(
    run: Run,
    progress: Progress,
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
        left = run.plan.steps - progress.step
        per_step = progress.seconds / progress.step if progress.step else 0.0
        on_metrics(
            Metrics(
                step=progress.step,
                steps=run.plan.steps,
                loss=loss,
                eval_loss=eval_loss,
                learning_rate=(
                    recipe.schedule.rate_at(progress.step, run.plan.steps) if progress.step else 0.0
                ),
                tokens_per_second=tokens / took if took else 0.0,
                tokens=progress.tokens,
                supervised_tokens=progress.supervised_tokens,
                seconds=progress.seconds,
                eta_seconds=left * per_step,
                memory_bytes=peak_memory_bytes(accelerator.device),
                at=time.time(),
            )
        )

    def evaluated() -> float | None:
        loss = evaluate(run, should_stop=stop_asked)
        if loss is not None:
            report(None, loss, 0, 0.0)
        return loss

    if stop_asked():
        return False
    if run.evaluation and progress.first_eval_loss is None:
        progress.first_eval_loss = progress.best_eval_loss = evaluated()
        if progress.first_eval_loss is None:
            return False

    steps = run.plan.steps_from(progress.cursor)
    while True:
        if progress.evaluation_due:
            eval_loss = evaluated()
            if eval_loss is None:
                save()
                return False
            _judge(progress, eval_loss, recipe.early_stop_evaluations)
        if progress.step >= run.plan.steps or progress.stopped_early:
            break
        sequences, cursor = next(steps)
        started = time.perf_counter()
        done = step(run, progress.step + 1, sequences, should_stop=stop_asked)
        if done is None:
            if progress.step:
                save()
            return False
        took = time.perf_counter() - started
        if not (math.isfinite(done.loss) and math.isfinite(done.gradient_norm)):
            raise NonFiniteLoss(
                f"the loss became {done.loss:g} and its gradient {done.gradient_norm:g} at step "
                f"{progress.step + 1}; lower the learning rate (it is "
                f"{recipe.schedule.learning_rate:g}) or the adapter's alpha and start a new job"
            )
        progress.step += 1
        progress.cursor = cursor
        progress.tokens += done.tokens
        progress.supervised_tokens += done.supervised_tokens
        progress.seconds += took
        progress.loss = done.loss
        rng = _rng_state(accelerator)
        last = progress.step == run.plan.steps
        every = recipe.evaluate_every_steps
        progress.evaluation_due = bool(run.evaluation) and (
            last or (every > 0 and progress.step % every == 0)
        )
        report(done.loss, None, done.tokens, took)
        if last or progress.step % recipe.save_every_steps == 0:
            save()
    save()
    return True


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
    number: int,
    sequences: Sequence[Sequence[int]],
    *,
    should_stop: Callable[[], bool],
) -> StepDone | None:
    """One update, number counted from 1; None when a stop was asked for in the middle of it.

    The loss is summed over the supervised tokens of all sequences and all processes and divided
    once, so neither accumulation nor the number of processes changes the weight of a token.
    """
    accelerator, device = run.accelerator, run.accelerator.device
    batches = [collate(run.store, sequence) for sequence in sequences]
    supervised_tokens = sum(len(batch.targets) for batch in batches)
    share = _share_of(batches, accelerator.process_index, accelerator.num_processes)
    total = torch.zeros((), dtype=torch.float32, device=device)
    for group in run.optimizer.param_groups:
        group["lr"] = run.recipe.schedule.rate_at(number, run.plan.steps)
    for index, (batch, counts) in enumerate(share):
        if should_stop():
            run.optimizer.zero_grad(set_to_none=True)
            return None
        last = index == len(share) - 1
        with accelerator.no_sync(run.model) if not last else nullcontext():
            loss = loss_of(run.model, batch.to(device))
            weight = counts * accelerator.num_processes / supervised_tokens
            accelerator.backward(loss * weight)
            total += loss.detach() * counts
    norm = accelerator.clip_grad_norm_(run.trainable, run.recipe.max_gradient_norm)
    summed = accelerator.reduce(total, reduction="sum")
    # One transfer from the device for both.
    mean, gradient_norm = torch.stack([summed / supervised_tokens, norm.float()]).tolist()
    if math.isfinite(mean) and math.isfinite(gradient_norm):
        run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return StepDone(
        loss=mean,
        gradient_norm=gradient_norm,
        tokens=sum(batch.num_tokens for batch in batches),
        supervised_tokens=supervised_tokens,
    )


def _share_of(batches: list[Batch], rank: int, processes: int) -> list[tuple[Batch, int]]:
    """This process's batches; where there are too few, one counts 0 so that all do as many."""
    rounds = math.ceil(len(batches) / processes)
    mine = []
    for number in range(rounds):
        index = number * processes + rank
        mine.append((batches[index], 1) if index < len(batches) else (batches[0], 0))
    return mine


def loss_of(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    return model(batch.token_ids, batch.position_ids, batch.bounds, batch.places, batch.targets)


def evaluate(run: Run, *, should_stop: Callable[[], bool]) -> float | None:
    """Mean loss over the supervised tokens of the held-out conversations; None when stopped."""
    accelerator = run.accelerator
    batches = [collate(run.store, sequence) for sequence in run.evaluation]
    total = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
    run.model.eval()
    try:
        with torch.no_grad():
            share = _share_of(batches, accelerator.process_index, accelerator.num_processes)
            for batch, counts in share:
                if should_stop():
                    return None
                loss = loss_of(run.model, batch.to(accelerator.device))
                total += counts * torch.stack(
                    [loss.double(), loss.new_tensor(len(batch.targets)).double()]
                )
    finally:
        run.model.train()
    summed, count = accelerator.reduce(total, reduction="sum").tolist()
    return summed / count


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
                trained={name: tensor.contiguous() for name, tensor in trained.items()},
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
