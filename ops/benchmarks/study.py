"""What to train: an adapter, routed experts, both or everything, on the same data for as many steps.

    python -m ops.benchmarks.study --base DIR --tokens DIR --items FILE --data DIR --work DIR
        [--arms lora,experts ...] [--seeds 0,1,2] [--steps 100] [--workers 4]

`--base` is a Hugging Face folder, `--tokens` and `--items` are what `modeling.training.mix.build`
makes. The arms of about 27 million trained weights: `lora` (rank 88 on every matrix of the dense
base), `experts` (16 routed experts of width 32, two per token, and routers), `experts_lora` (16 of
width 24 and rank 56 on attention). `everything` trains all 161 million of the mixture with 16 × 32,
`dense` all of the base. `top4` (16 × 16, four per token) and `top8` (64 × 8, eight) have as many
active weights as `experts`, trained in the same way.

First each arm is tried with two learning rates for a third of the steps, on another seed; the one
with the least loss on conversations held out of the *training* part is taken. Then one run per arm
and seed, and of each: loss per learnt token and spread of expert use on the held-out documents of
every domain, exact joint goal accuracy on dialogues of SGD dev (greedy, own earlier answers, no
grammar), and on held-out items the share of grounded answers that are right and the F1 of findings.
Several workers share the GPUs; what is done is in `results.jsonl`, and a second start goes on there.
As a bench (`ops/bench.py study`) it prints the table of a finished folder, `--answers DIR`.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, PreTrainedModel

from modeling.moe.balance import counted_load, measure
from modeling.moe.experts import use_training_experts
from modeling.moe.routers import use_training_routers
from modeling.moe.shape import Experts
from modeling.moe.upcycle import upcycle
from modeling.state_tracking.scoring import Scores
from modeling.state_tracking.sgd import read_schemas, tracks
from modeling.state_tracking.tracker import Tracker
from modeling.training.chat import ChatTokenizer
from modeling.training.lora import load_base, merge_adapter
from modeling.training.mix.build import read_items
from modeling.training.mix.grounded import NOT_SAID
from modeling.training.mix.items import Item, rows
from modeling.training.objective import SupervisedLoss
from modeling.training.packing import TokenStore, collate, pack
from modeling.training.recipe import ATTENTION_AND_FEED_FORWARD, Balancing, Lora, Recipe, Schedule
from modeling.training.trainer import UNFINISHED_ADAPTER, peak_memory_bytes, train

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ATTENTION = ATTENTION_AND_FEED_FORWARD[:4]
BALANCING = Balancing(gamma=1e-3, loss_weight=0.03)
ARMS: dict[str, dict[str, Any]] = {
    "lora": {"trainable": {"lora": 1.0}, "lora": Lora(rank=88, alpha=176)},
    "experts": {
        "trainable": {"experts": 1.0, "routers": 1.0},
        "experts": Experts(number=16, width=32, top_k=2),
    },
    "experts_lora": {
        "trainable": {"experts": 1.0, "routers": 1.0, "lora": 1.0},
        "experts": Experts(number=16, width=24, top_k=2),
        "lora": Lora(rank=56, alpha=112, target_modules=ATTENTION),
    },
    "everything": {
        "trainable": {"experts": 3.0, "routers": 3.0, "base": 1.0, "norms": 1.0},
        "experts": Experts(number=16, width=32, top_k=2),
    },
    "dense": {"trainable": {"base": 1.0, "norms": 1.0}},
    "top4": {
        "trainable": {"experts": 1.0, "routers": 1.0},
        "experts": Experts(number=16, width=16, top_k=4),
    },
    "top8": {
        "trainable": {"experts": 1.0, "routers": 1.0},
        "experts": Experts(number=64, width=8, top_k=8),
    },
}
RATES = {
    "lora": (7e-4, 1.5e-3),
    "experts": (2e-3, 5e-3),
    "experts_lora": (1e-3, 2e-3),
    "everything": (3e-4, 8e-4),
    "dense": (3e-4, 8e-4),
}
SAME_RATE = {"top4": "experts", "top8": "experts"}
TRIED_SEED = 97
SEQUENCE, PER_STEP = 24_576, 2
DIALOGUES, ITEMS = 60, 200


def recipe(
    arm: str, seed: int, rate: float, options: argparse.Namespace, steps: int, output: Path
) -> Recipe:
    return Recipe(
        model_path=str(options.base),
        data_path=str(options.tokens / "train"),
        output_dir=str(output),
        balancing=BALANCING,
        schedule=Schedule(learning_rate=rate, warmup_share=0.05, final_share=0.05),
        steps=steps,
        max_tokens=SEQUENCE,
        sequences_per_step=PER_STEP,
        weight_decay=0.01,
        seed=seed,
        save_every_steps=10**6,
        evaluation_share=0.004,
        max_evaluation_conversations=400,
        dtype="bf16",
        compile="off",
        export_gguf=False,
        **ARMS[arm],
    )


def load_trained(folder: Path, made_by: Recipe) -> PreTrainedModel:
    """The model of a finished run, adapter merged, in bfloat16 on the GPU."""
    model = load_base(Path(made_by.model_path), torch.bfloat16)
    if made_by.experts is not None:
        model = upcycle(model, made_by.experts, seed=made_by.seed)
        use_training_routers(model)
        use_training_experts(model)
    for file in sorted(folder.glob("*.safetensors")):
        if file.name != "adapter_model.safetensors":
            unknown = model.load_state_dict(load_file(file), strict=False).unexpected_keys
            if unknown:
                raise ValueError(f"{file} has weights that the model hasn't: {unknown[:3]}")
    if (folder / "adapter_model.safetensors").exists():
        model = merge_adapter(model, folder)
    torch.nn.Module.to(model, DEVICE)
    return model.eval()


@torch.inference_mode()
def held_out_losses(model: PreTrainedModel, stores: Path) -> dict[str, Any]:
    """Per domain: mean loss per learnt token, and of a mixture the spread of expert use."""
    module = SupervisedLoss(model, torch.bfloat16)
    mixture = any(hasattr(part, "e_score_correction_bias") for part in model.modules())
    found: dict[str, Any] = {}
    for folder in sorted(stores.iterdir()):
        store = TokenStore(folder)
        packed = pack(list(range(len(store))), store.lengths, max_tokens=8192, seed=0, epoch=0)

        def passes(
            store: TokenStore = store, packed: list[list[int]] = packed[:24]
        ) -> Iterator[tuple[float, int]]:
            for sequence in packed:
                batch = collate(store, sequence).to(torch.device(DEVICE))
                loss = module(
                    batch.token_ids, batch.position_ids, batch.bounds,
                    batch.bounds_tensor, batch.places, batch.targets,
                )  # fmt: skip
                yield loss.item(), len(batch.targets)

        if mixture:
            with counted_load(model) as counter:
                sums = list(passes())
                spread = measure(counter.read()).summary()
            found[f"{folder.name}_cv"] = round(float(spread["cv"]), 3)
            found[f"{folder.name}_dead"] = spread["dead_experts"]
        else:
            sums = list(passes())
        total, count = sum(loss for loss, _ in sums), sum(learnt for _, learnt in sums)
        found[f"{folder.name}_loss"] = round(total / count, 4)
    return found


class Writer:
    """Greedy answers of a model to rendered chats."""

    def __init__(self, model: PreTrainedModel, base: Path) -> None:
        model.set_attn_implementation("sdpa")
        self.model: Any = model
        self.chat = ChatTokenizer.load(base)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(base, padding_side="left")
        self.tokenizer.pad_token = self.tokenizer.pad_token or "<|endoftext|>"
        self.end = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    @torch.inference_mode()
    def answers(self, chats: Sequence[Any], most: int) -> list[str]:
        prompts = [self.chat.render(chat, add_generation_prompt=True) for chat in chats]
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        found = [""] * len(prompts)
        for start in range(0, len(order), 256):
            part = order[start : start + 256]
            encoded = self.tokenizer(
                [prompts[i] for i in part], return_tensors="pt", padding=True,
                add_special_tokens=False,
            ).to(DEVICE)  # fmt: skip
            written = self.model.generate(
                **encoded, max_new_tokens=most, do_sample=False, eos_token_id=self.end,
                pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
            texts = self.tokenizer.batch_decode(
                written[:, encoded["input_ids"].shape[1] :], skip_special_tokens=True
            )
            for place, text in zip(part, texts, strict=True):
                found[place] = text
        return found


def goal_accuracy(writer: Writer, data: Path, split: str = "dev") -> dict[str, Any]:
    files = read_schemas(data / "sgd/schemas.json.xz")
    schemas = files[f"{split}/schema.json"]
    scores = Scores(seen_services=frozenset(files["train/schema.json"]))
    dialogues = list(rows(data / f"sgd/{split}.jsonl.xz"))
    random.Random(5).shuffle(dialogues)
    live = [
        (track, Tracker(service=schemas[track.service]))
        for dialogue in dialogues[:DIALOGUES]
        for track in tracks(dialogue)
    ]
    number = 0
    while now := [(track, tracker) for track, tracker in live if len(track.steps) > number]:
        asked = [tracker.ask(track.steps[number].turns) for track, tracker in now]
        for (track, tracker), text in zip(now, writer.answers(asked, 80), strict=True):
            change = tracker.accept(text)
            scores.add(track, track.steps[number], tracker.service, tracker.state, change)
        number += 1
    return scores.summary()


def held_out_items(items: Path) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = defaultdict(list)
    for item in read_items(items):
        if item.is_held_out and item.task in ("grounded", "findings"):
            found[item.task].append(item)
    for kept in found.values():
        random.Random(7).shuffle(kept)
        del kept[ITEMS:]
    return found


def grounded_score(writer: Writer, items: Sequence[Item]) -> dict[str, float]:
    """Of answers: right passage cited, its sentences verbatim, or rightly "not said"; per cent."""
    said = writer.answers([item.messages[:-1] for item in items], 160)
    right: dict[bool, list[bool]] = {True: [], False: []}
    for item, text in zip(items, said, strict=True):
        expected = item.messages[-1]["content"]
        answerable = expected != NOT_SAID
        right[answerable].append(
            _supported(item.messages[-2]["content"], text, expected)
            if answerable
            else text.strip() == NOT_SAID
        )
    return {
        "grounded": round(100 * statistics.mean([*right[True], *right[False]]), 1),
        "grounded_answerable": round(100 * statistics.mean(right[True]), 1),
        "grounded_unanswerable": round(100 * statistics.mean(right[False]), 1),
    }


def _supported(question: str, text: str, expected: str) -> bool:
    cited = {number for number in "123456789" if f"[{number}]" in text}
    if cited != {number for number in "123456789" if f"[{number}]" in expected}:
        return False
    plain = text
    for number in cited:
        plain = plain.replace(f"[{number}]", "\n")
    return all(" ".join(part.split()) in question for part in plain.split("\n") if part.strip())


def findings_f1(writer: Writer, items: Sequence[Item]) -> float:
    """Micro-averaged F1, in per cent, of the lines "+ name" and "- name"."""
    hits = said_count = true_count = 0
    said = writer.answers([item.messages[:-1] for item in items], 200)
    for item, text in zip(items, said, strict=True):
        true = set(item.messages[-1]["content"].splitlines())
        lines = {line.strip() for line in text.splitlines() if line.strip()}
        hits += len(true & lines)
        said_count, true_count = said_count + len(lines), true_count + len(true)
    return round(100 * 2 * hits / max(1, said_count + true_count), 1)


def one_run(arm: str, seed: int, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    output = options.work / f"{arm}-{seed}"
    made_by = recipe(arm, seed, rate, options, options.steps, output)
    started = time.monotonic()
    result = train(made_by, on_metrics=lambda _: None, should_stop=lambda: False)
    trained = time.monotonic() - started
    model = load_trained(output / UNFINISHED_ADAPTER, made_by)
    found = {
        "arm": arm, "seed": seed, "rate": rate, "tokens": result.tokens,
        "trained": result.trainable_parameters, "seconds": round(trained, 1),
        "tokens_per_s": round(result.tokens / result.seconds),
        "memory_gb": round(peak_memory_bytes(torch.device(DEVICE)) / 1e9, 1),
        **held_out_losses(model, options.tokens / "held_out"),
    }  # fmt: skip
    writer = Writer(model, options.base)
    found |= goal_accuracy(writer, options.data)
    items = held_out_items(options.items)
    found |= grounded_score(writer, items["grounded"])
    found["findings_f1"] = findings_f1(writer, items["findings"])
    found["evaluated_s"] = round(time.monotonic() - started - trained, 1)
    return found


def tried(arm: str, rate: float, options: argparse.Namespace) -> dict[str, Any]:
    output = options.work / f"try-{arm}-{rate:g}"
    made_by = recipe(arm, TRIED_SEED, rate, options, options.steps // 3, output)
    result = train(made_by, on_metrics=lambda _: None, should_stop=lambda: False)
    return {"try": arm, "rate": rate, "loss": result.eval_loss}


def results(work: Path) -> list[dict[str, Any]]:
    file = work / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def worker(options: argparse.Namespace) -> None:
    """Takes the next job that nobody has taken, until none is left."""
    arms, seeds = options.arms.split(","), [int(seed) for seed in options.seeds.split(",")]
    tries = [(arm, rate) for arm in arms if arm in RATES for rate in RATES[arm]]
    for arm, rate in tries:
        if _claimed(options.work, f"try-{arm}-{rate:g}"):
            _done(options.work, tried(arm, rate, options))
    for seed in seeds:
        for arm in arms:
            if not _claimed(options.work, f"run-{arm}-{seed}"):
                continue
            rate = _chosen_rate(SAME_RATE.get(arm, arm), options.work)
            _done(options.work, one_run(arm, seed, rate, options))


def _claimed(work: Path, name: str) -> bool:
    try:
        (work / "claims" / name).mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def _done(work: Path, found: dict[str, Any]) -> None:
    with (work / "results.jsonl").open("a") as file:
        file.write(json.dumps(found) + "\n")
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _chosen_rate(arm: str, work: Path) -> float:
    """Waits for the tries of other workers."""
    while True:
        known = [found for found in results(work) if found.get("try") == arm]
        if len(known) == len(RATES[arm]):
            return float(min(known, key=lambda found: found["loss"])["rate"])
        time.sleep(1)


def table(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Per arm the mean of each figure over the seeds, with the smallest and the largest."""
    by_arm: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run_ in found:
        if "arm" in run_:
            by_arm[run_["arm"]].append(run_)
    return {
        arm: {
            "seeds": sorted(run_["seed"] for run_ in runs),
            **{
                name: [
                    round(statistics.mean(values), 4), min(values), max(values)
                ]
                for name in runs[0]
                if name not in ("arm", "seed")
                and all(isinstance(run_.get(name), int | float) for run_ in runs)
                and (values := [run_[name] for run_ in runs])
            },
        }
        for arm, runs in by_arm.items()
    }  # fmt: skip


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.answers is None or not results(args.answers):
        return {"skipped": "run `python -m ops.benchmarks.study` on a GPU, then give --answers DIR"}
    return table(results(args.answers))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("base", "tokens", "items", "data", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 is one in this one")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.workers:
        worker(options)
        return 0
    own = [*sys.argv[1:], "--workers", "0"]
    cards = max(1, torch.cuda.device_count())
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "ops.benchmarks.study", *own],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": str(number % cards)},
        )
        for number in range(options.workers)
    ]
    codes = [process.wait() for process in running]
    sys.stdout.write(json.dumps(table(results(options.work))) + "\n")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
