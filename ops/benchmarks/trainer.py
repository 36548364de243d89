"""A LoRA job against plain `transformers.Trainer` + peft, on the same conversations.

Both train the same adapter from the same start over the same conversations, step by step in turn,
so that both see the same minute of the machine and their losses can be compared at every step; what
compiling and capturing take falls into the first steps, which aren't timed (`first_step_seconds`). The
plain run takes the usual way: padded batches, PEFT's own layers, transformers' attention, full
logits, bf16 autocast where the model is bf16. Tokens are those of the conversations, padding not
counted, and the supervised ones are the same by construction: both read the same token store.
Where TRL is installed (it needs `pip install trl`, which the product doesn't), its SFTTrainer with
packing then trains on the same conversations too, in rows of `trl_max_length` tokens of its
"wrapped" kind: the one that doesn't ask for the flash-attn package, and the quickest without it.

Figures: `tokens_per_s` and `trainer_tokens_per_s` (medians over the steps), `ratio` (median of the
steps' ratios) with `ratio_min` and `ratio_max`, `loss_difference` (the largest between the two
losses of a step), `trl_tokens_per_s` and `trl_ratio` (ours over TRL's, medians), `mfu` and
`trainer_mfu`: model FLOPs per second over the device's peak. Model FLOPs of a token, with N weights
in the frozen matrices of the blocks, A in the adapter, layers of h heads of size d, and c tokens
before it on average in its conversation: 4 N (forward and the gradient of the inputs; frozen
weights have none) + 6 A + 12 c h d for each layer, and 4 V H for each supervised token at the
output layer. The peak is the data sheet's for dense bf16 on an H100
or H200, elsewhere the fastest of a few large matrix products, measured here.
"""

import argparse
import json
import lzma
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils.logging import disable_progress_bar

from modeling.training.packing import TokenStore, collate, pack
from modeling.training.recipe import Recipe, Schedule
from modeling.training.trainer import Run, prepare, step
from modeling.weights.assemble import training_base

ROOT = Path(__file__).resolve().parents[2]
BF16_PEAKS = {"H100": 989e12, "H200": 989e12}
LEARNING_RATE = 2e-4
WARM_UP = 3
"""Steps that aren't timed: the first loads kernels, the next may compile for another length."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    steps: int
    per_step: int
    """Conversations of one optimiser step."""
    plain_batch: int
    max_tokens: int
    trl_max_length: int
    trl_batch: int
    compile: Literal["on", "off"]


ON_GPU = Settings(
    steps=16, per_step=256, plain_batch=32, max_tokens=54272, trl_max_length=2048, trl_batch=16,
    compile="on",
)  # fmt: skip
ON_CPU = Settings(
    steps=5, per_step=8, plain_batch=4, max_tokens=1024, trl_max_length=1024, trl_batch=2,
    compile="off",
)  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    disable_progress_bar()
    settings = ON_GPU if torch.cuda.is_available() else ON_CPU
    steps = max(1, args.limit // settings.per_step) if args.limit else settings.steps
    with tempfile.TemporaryDirectory(prefix="bench-trainer-") as directory:
        data = Path(directory) / "data.jsonl"
        source = _write_conversations(
            data, args.data, args.split, (steps + WARM_UP) * settings.per_step, args.seed
        )
        recipe = Recipe(
            model_path=str(args.model or training_base(ROOT / "var" / "models")),
            data_path=str(data),
            output_dir=str(Path(directory) / "ours"),
            schedule=Schedule(learning_rate=LEARNING_RATE, warmup_share=0.0, final_share=1.0),
            max_tokens=settings.max_tokens,
            steps=steps + WARM_UP,
            evaluation_share=0.0,
            seed=args.seed,
            compile=settings.compile,
            threads=len(os.sched_getaffinity(0)),
        )
        ours = prepare(recipe)
        # The other trainers put accelerate's state back to nothing.
        device = ours.accelerator.device
        order = list(range(len(ours.store)))
        random.Random(args.seed).shuffle(order)
        # Conversations that are too long were left out, so the last step may lack some.
        order = order[: len(order) // settings.per_step * settings.per_step]
        pace = _InTurn(ours, order, settings)
        _train_plainly(ours, order, settings, pace, directory)
        trl_speeds, trl_losses = _train_with_trl(ours, order, settings, directory)
        groups = [
            order[at : at + settings.per_step] for at in range(0, len(order), settings.per_step)
        ]
        groups = groups[WARM_UP:]
        seconds = list(zip(pace.our_seconds, pace.seconds, strict=True))[WARM_UP:]
        tokens = [sum(int(ours.store.lengths[index]) for index in group) for group in groups]
        flops = [model_flops(ours, group) for group in groups]
    peak, peak_source = peak_flops(device, ours.dtype)
    speeds = [
        (count / mine, count / plain) for count, (mine, plain) in zip(tokens, seconds, strict=True)
    ]
    ratios = [mine / plain for mine, plain in speeds]
    differences = [
        abs(mine - plain) for mine, plain in zip(pace.our_losses, pace.losses, strict=True)
    ]

    def utilisation(times: list[float]) -> float:
        return round(statistics.median(f / t / peak for f, t in zip(flops, times, strict=True)), 4)

    return {
        "n": len(groups) * settings.per_step,
        "tokens_per_s": round(statistics.median(mine for mine, _ in speeds), 1),
        "trainer_tokens_per_s": round(statistics.median(plain for _, plain in speeds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "mfu": utilisation([mine for mine, _ in seconds]),
        "trainer_mfu": utilisation([plain for _, plain in seconds]),
        "peak_tflops": round(peak / 1e12, 3),
        "peak_source": peak_source,
        "loss_difference": round(max(differences), 5),
        "losses": [round(loss, 4) for loss in pace.our_losses],
        "trainer_losses": [round(loss, 4) for loss in pace.losses],
        **_trl_figures(trl_speeds, trl_losses, [mine for mine, _ in speeds]),
        "first_step_seconds": round(pace.our_seconds[0], 1),
        "tokens": sum(tokens),
        "steps": len(groups),
        "conversations_per_step": settings.per_step,
        "max_tokens": settings.max_tokens,
        "dtype": str(ours.dtype).removeprefix("torch."),
        "device": (
            torch.cuda.get_device_name()
            if device.type == "cuda"
            else f"cpu, {torch.get_num_threads()} threads"
        ),
        "conversations": source,
    }


def model_flops(run: Run, group: Sequence[int]) -> float:
    """Floating-point operations that one update over these conversations needs.

    Of the routed experts those count that work on a token.
    """
    assert run.adapter is not None
    config = run.adapter.config
    frozen = adapter = 0.0
    for name, weight in run.model.named_parameters():
        if ".layers." in name and weight.dim() > 1:
            if weight.requires_grad:
                adapter += weight.numel()
            elif ".mlp.experts." in name:
                frozen += weight.numel() * config.num_experts_per_tok / len(weight)
            else:
                frozen += weight.numel()
    heads = config.num_hidden_layers * config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Latent attention has wider queries and keys than values.
    sizes = getattr(config, "qk_head_dim", size) + getattr(config, "v_head_dim", size)
    total = 0.0
    for index in group:
        token_ids, supervised = run.store.tokens(index)
        count = len(token_ids)
        total += count * (4 * frozen + 6 * adapter + 6 * heads * sizes * count / 2)
        total += int(supervised.sum()) * 4 * config.vocab_size * config.hidden_size
    return total


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, str]:
    """The device's most floating-point operations per second in this type, and who says so."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        for name, peak in BF16_PEAKS.items():
            if name in torch.cuda.get_device_name(device):
                return peak, f"data sheet of the {name}, dense bf16"
    side = 8192 if device.type == "cuda" else 1024
    left = torch.randn(side, side, device=device, dtype=dtype)
    best = 0.0
    for _ in range(20):
        _wait(device)
        started = time.perf_counter()
        left @ left
        _wait(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best, f"a product of {side} x {side} matrices, measured"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Timed(TrainerCallback):
    """Time and loss of each step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = 0.0
        self.seconds: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        _wait(self._device)
        self._started = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        _wait(self._device)
        self.seconds.append(time.perf_counter() - self._started)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


class _InTurn(_Timed):
    """Takes our step just before each step of the Trainer, and the time and loss of both."""

    def __init__(self, run: Run, order: Sequence[int], settings: Settings) -> None:
        super().__init__(run.accelerator.device)
        self._run = run
        self._order = order
        self._settings = settings
        self.our_seconds: list[float] = []
        self.our_losses: list[float] = []

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        run, number = self._run, state.global_step
        start = number * self._settings.per_step
        group = self._order[start : start + self._settings.per_step]
        # Accelerate keeps one state for the process: inside the Trainer's accumulation our own
        # optimiser would skip its step.
        accumulating = not run.accelerator.sync_gradients
        run.accelerator.sync_gradients = True
        sequences = pack(
            group,
            run.store.lengths,
            max_tokens=run.recipe.max_tokens,
            seed=run.recipe.seed,
            epoch=number,
        )
        # Not timed, as the Trainer's batches aren't: a run makes its batches ahead of the steps.
        batches = [collate(run.store, sequence) for sequence in sequences]
        if self._device.type == "cuda":
            batches = [batch.pin() for batch in batches]
        _wait(self._device)
        started = time.perf_counter()
        done = step(
            run,
            batches,
            learning_rate=LEARNING_RATE,
            gamma=0.0,
            should_stop=lambda: False,
        )
        _wait(self._device)
        self.our_seconds.append(time.perf_counter() - started)
        run.accelerator.sync_gradients = not accumulating
        assert done is not None
        self.our_losses.append(done.loss)
        self._started = time.perf_counter()


class _InOrder(Trainer):
    """The Trainer without its shuffling, so that both train on the same conversations."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        assert self.train_dataset is not None
        return DataLoader(
            self.train_dataset,
            batch_size=self.args.per_device_train_batch_size,
            collate_fn=self.data_collator,
            pin_memory=torch.cuda.is_available(),
        )


def _train_plainly(
    run: Run, order: Sequence[int], settings: Settings, pace: _InTurn, directory: str
) -> None:
    trainer = _InOrder(
        model=_plain_model(run).to(run.accelerator.device),
        args=TrainingArguments(
            output_dir=f"{directory}/plain",
            per_device_train_batch_size=settings.plain_batch,
            gradient_accumulation_steps=settings.per_step // settings.plain_batch,
            max_steps=len(order) // settings.per_step,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            bf16=run.dtype == torch.bfloat16,
            use_cpu=run.accelerator.device.type == "cpu",
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        ),
        train_dataset=[_labelled(run.store, index) for index in order],
        data_collator=_padded,
        callbacks=[pace],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _train_with_trl(
    run: Run, order: Sequence[int], settings: Settings, directory: str
) -> tuple[list[float], list[float]]:
    """Tokens/s and loss of each step of TRL's trainer; nothing where TRL isn't installed."""
    if find_spec("trl") is None:
        return [], []
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    device = next(run.model.parameters()).device
    trainer = SFTTrainer(
        model=_plain_model(run).to(device),
        args=SFTConfig(
            output_dir=f"{directory}/trl",
            packing=True,
            packing_strategy="wrapped",
            max_length=settings.trl_max_length,
            per_device_train_batch_size=settings.trl_batch,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            bf16=run.dtype == torch.bfloat16,
            gradient_checkpointing=False,
            use_cpu=device.type == "cpu",
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            dataloader_drop_last=True,
        ),
        train_dataset=Dataset.from_list(
            [
                {name: values.tolist() for name, values in _labelled(run.store, index).items()}
                for index in order
            ]
        ),
        processing_class=PreTrainedTokenizerFast.from_pretrained(run.recipe.model_path),
        callbacks=[pace := _Timed(device)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    tokens = settings.trl_batch * settings.trl_max_length
    return [tokens / took for took in pace.seconds[1:]], pace.losses


def _trl_figures(
    speeds: Sequence[float], losses: Sequence[float], ours: Sequence[float]
) -> dict[str, Any]:
    if not speeds:
        return {"trl": "not installed"}
    return {
        "trl_tokens_per_s": round(statistics.median(speeds), 1),
        "trl_tokens_per_s_spread": [round(min(speeds), 1), round(max(speeds), 1)],
        "trl_ratio": round(statistics.median(ours) / statistics.median(speeds), 3),
        "trl_losses": [round(loss, 4) for loss in losses],
    }


def _plain_model(run: Run) -> torch.nn.Module:
    """PEFT's own layers, with the weights that ours starts from."""
    recipe = run.recipe
    base = AutoModelForCausalLM.from_pretrained(
        recipe.model_path, dtype=run.dtype, local_files_only=True
    )
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        target_modules=list(recipe.lora.target_modules),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        model = get_peft_model(base, config)
    assert run.adapter is not None
    model.load_state_dict(run.adapter.state_dict())
    return model


def _labelled(store: TokenStore, index: int) -> dict[str, np.ndarray]:
    token_ids, supervised = store.tokens(index)
    return {"input_ids": token_ids, "labels": np.where(supervised, token_ids, -100)}


def _padded(rows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)

    def stack(name: str, fill: int) -> torch.Tensor:
        padded = np.full((len(rows), longest), fill, dtype=np.int64)
        for place, row in enumerate(rows):
            padded[place, : len(row[name])] = row[name]
        return torch.from_numpy(padded)

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return {
        "input_ids": stack("input_ids", 0),
        "labels": stack("labels", -100),
        "attention_mask": (torch.arange(longest)[None] < lengths[:, None]).long(),
    }


def _write_conversations(target: Path, data: Path, split: str, count: int, seed: int) -> str:
    """Dialogues of the schema-guided set where the data is there, otherwise made-up ones."""
    source = data / "sgd" / f"{split}.jsonl.xz"
    if source.is_file():
        with lzma.open(source, "rt", encoding="utf-8") as file:
            conversations = [
                _from_turns(json.loads(line)["t"])
                for line, _ in zip(file, range(count * 4), strict=False)
            ]
        random.Random(seed).shuffle(conversations)
        name = f"sgd/{split}"
    else:
        conversations = [_made_up(random.Random(f"{seed} {i}")) for i in range(count)]
        name = "synthetic"
    with target.open("w", encoding="utf-8") as file:
        for messages in conversations[:count]:
            file.write(json.dumps({"messages": messages}) + "\n")
    return name


def _from_turns(turns: list[Any]) -> list[dict[str, str]]:
    messages = [
        {"role": "assistant", "content": turn}
        if isinstance(turn, str)
        else {"role": "user", "content": turn[0]}
        for turn in turns
    ]
    while messages[-1]["role"] != "assistant":
        messages.pop()
    return messages


_SUBJECTS = ("order", "parcel", "refund", "invoice", "delivery", "address", "warranty", "receipt")
_STATES = ("late", "lost", "wrong", "broken", "missing", "unpaid", "closed", "on its way")


def _made_up(generator: random.Random) -> list[dict[str, str]]:
    messages = []
    for _ in range(generator.randint(1, 6)):
        subject, state = generator.choice(_SUBJECTS), generator.choice(_STATES)
        number = generator.randint(1000, 9999)
        messages += [
            {"role": "user", "content": f"My {subject} {number} is {state}. What can I do now?"},
            {
                "role": "assistant",
                "content": (
                    f"I am sorry that your {subject} {number} is {state}. I have looked it up and "
                    "opened a request; you will get an answer within two working days. "
                )
                * generator.randint(1, 3),
            },
        ]
    return messages
