"""A LoRA job against plain `transformers.Trainer` + peft, on the same conversations.

Both take one optimiser step over the same conversations in turn, round after round, so that both
see the same minute of the machine. Tokens are those of the conversations, padding not counted, and
the supervised ones are the same by construction: both read the same token store. The plain run
takes the usual way: padded batches, PEFT's own layers, transformers' attention and full logits.

Figures: `tokens_per_s` and `trainer_tokens_per_s` (medians over the rounds), `ratio` (median of the
rounds' ratios) with `ratio_min` and `ratio_max`, and `loss_difference`, how far apart the two
losses of the first step are.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
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
ROUNDS = 5
PER_ROUND = 8
"""Conversations of one optimiser step."""
PLAIN_BATCH = 4
LEARNING_RATE = 2e-4


def run(args: argparse.Namespace) -> dict[str, Any]:
    disable_progress_bar()
    rounds = max(1, args.limit // PER_ROUND) if args.limit else ROUNDS
    with tempfile.TemporaryDirectory(prefix="bench-tuning-") as directory:
        data = Path(directory) / "data.jsonl"
        source = _write_conversations(
            data, args.data, args.split, (rounds + 1) * PER_ROUND, args.seed
        )
        recipe = Recipe(
            model_path=str(training_base(ROOT / "var" / "models")),
            data_path=str(data),
            output_dir=str(Path(directory) / "ours"),
            schedule=Schedule(learning_rate=LEARNING_RATE, warmup_share=0.0, final_share=1.0),
            max_tokens=8192 if torch.cuda.is_available() else 1024,
            steps=rounds + 1,
            evaluation_share=0.0,
            seed=args.seed,
            threads=len(os.sched_getaffinity(0)),
        )
        ours = prepare(recipe)
        plain = _plain_model(recipe, ours.dtype)
        order = list(range(len(ours.store)))
        random.Random(args.seed).shuffle(order)
        groups = [order[i : i + PER_ROUND] for i in range(0, len(order), PER_ROUND)]
        speeds: list[tuple[float, float]] = []
        tokens = supervised = 0
        loss_difference = 0.0
        for number, group in enumerate(groups[: rounds + 1]):
            our_loss, our_seconds = _our_step(ours, group, number)
            plain_loss, plain_seconds = _plain_step(plain, ours.store, group, directory)
            if number == 0:
                # Both start from the same weights; this round also warms both up.
                loss_difference = abs(our_loss - plain_loss)
                continue
            group_tokens = sum(int(ours.store.lengths[index]) for index in group)
            tokens += group_tokens
            supervised += sum(int(ours.store.tokens(index)[1].sum()) for index in group)
            speeds.append((group_tokens / our_seconds, group_tokens / plain_seconds))
    ratios = [mine / other for mine, other in speeds]
    return {
        "n": rounds * PER_ROUND,
        "tokens_per_s": round(statistics.median(mine for mine, _ in speeds), 1),
        "trainer_tokens_per_s": round(statistics.median(other for _, other in speeds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "loss_difference": round(loss_difference, 5),
        "tokens": tokens,
        "supervised_tokens": supervised,
        "rounds": len(speeds),
        "dtype": str(ours.dtype).removeprefix("torch."),
        "device": ours.accelerator.device.type,
        "threads": torch.get_num_threads(),
        "conversations": source,
    }


def _our_step(run: Run, group: Sequence[int], number: int) -> tuple[float, float]:
    recipe = run.recipe
    sequences = pack(
        group, run.store.lengths, max_tokens=recipe.max_tokens, seed=recipe.seed, epoch=number
    )
    started = time.perf_counter()
    done = step(
        run,
        [collate(run.store, sequence) for sequence in sequences],
        learning_rate=recipe.schedule.rate_at(number + 1, run.plan.steps),
        gamma=recipe.balancing.gamma,
        should_stop=lambda: False,
    )
    assert done is not None
    return done.loss, time.perf_counter() - started


def _plain_model(recipe: Recipe, dtype: torch.dtype) -> torch.nn.Module:
    base = AutoModelForCausalLM.from_pretrained(
        recipe.model_path, dtype=dtype, local_files_only=True
    )
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        target_modules=list(recipe.lora.target_modules),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(base, config)


class _Clock(TrainerCallback):
    """Measures the optimiser step alone: neither the Trainer's start nor its end."""

    def __init__(self) -> None:
        self._started = 0.0
        self.seconds = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._started = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.seconds = time.perf_counter() - self._started


def _plain_step(
    model: torch.nn.Module, store: TokenStore, group: Sequence[int], directory: str
) -> tuple[float, float]:
    clock = _Clock()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=f"{directory}/plain",
            per_device_train_batch_size=PLAIN_BATCH,
            gradient_accumulation_steps=len(group) // PLAIN_BATCH,
            max_steps=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        ),
        train_dataset=[_labelled(store, index) for index in group],
        data_collator=_padded,
        callbacks=[clock],
    )
    loss = trainer.train().training_loss
    return loss, clock.seconds


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
