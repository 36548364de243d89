"""Making the shipped weights: mix, training, packing. `make weights` runs this.

    python -m modeling.training.mix.weights --data DIR --work DIR [--seconds 430]

It wants a CUDA GPU with 80 GB (less with a smaller `--tokens`). The recipe is below; the figures of
the run that made the shipped weights are in docs/model-card.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from modeling.training.mix import build
from modeling.training.recipe import Lora, Recipe, Schedule
from modeling.training.run import EXIT_DONE, execute
from modeling.weights import pack
from modeling.weights.assemble import BASE_MODEL_NAME, SHIPPED, assemble, training_base

MODEL_NAME = "praxis-135m"
PASSES, DOCUMENT_REPEATS = 6, 2
CHAT_PROMPTS, CHAT_ANSWERS = 4000, 8
"""The base answers each of so many prompts so many times: the same answers again would be learnt by
heart, and what the base would say to anything else forgotten."""
FEED_FORWARD_KEPT = 0.7
"""See `modeling.weights.pack.kept`; docs/model-card.md has what was tried."""
DATA = (
    "schema-guided dialogues, train, with SGD-X paraphrases (CC BY-SA 4.0)",
    "MedQuAD (CC BY 4.0)",
    "phenopacket-store (BSD-3-Clause) with names of the Human Phenotype Ontology",
    "CUAD, development contracts (CC BY 4.0)",
    "answers of the base to our own prompts",
)


def recipe(model: Path, tokens: Path, output: Path, *, seconds: float, max_tokens: int) -> Recipe:
    """The recipe of the shipped weights: an adapter on every matrix, and the norms."""
    return Recipe(
        model_path=str(model),
        model_name=BASE_MODEL_NAME,
        data_path=str(tokens),
        output_dir=str(output),
        trainable={"lora": 1.0, "norms": 0.3},
        lora=Lora(rank=64, alpha=128),
        schedule=Schedule(learning_rate=1e-3, warmup_share=0.04, final_share=0.03),
        max_seconds=seconds,
        max_tokens=max_tokens,
        sequences_per_step=1,
        weight_decay=0.01,
        evaluation_share=0.0,
        save_every_steps=10**6,
        dtype="bf16",
        export_gguf=False,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for all steps")
    parser.add_argument("--seconds", type=float, default=430.0, help="of training, by the clock")
    parser.add_argument("--tokens", type=int, default=49152, help="in one packed sequence")
    parser.add_argument("--to", type=Path, default=SHIPPED)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.stderr.write("Training the shipped weights needs a CUDA GPU; none is visible here.\n")
        return 1
    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    model = training_base(work / "models", base=BASE_MODEL_NAME)
    items, chat, tokens = work / "items.jsonl.xz", work / "chat.jsonl", work / "tokens"
    data = ("--data", str(options.data))
    build.main(["items", *data, "--out", str(items)])
    build.main(
        [
            *("chat", "--model", str(model), "--out", str(chat)),
            *("--count", str(CHAT_PROMPTS), "--answers", str(CHAT_ANSWERS)),
        ]
    )
    build.main(
        [
            *("tokens", *data, "--model", str(model), "--items", str(items), "--chat", str(chat)),
            *("--out", str(tokens), "--passes", str(PASSES)),
            *("--document-repeats", str(DOCUMENT_REPEATS)),
            *("--workers", str(os.cpu_count() or 1)),
        ]
    )
    run = recipe(
        model, tokens / "train", work / "run", seconds=options.seconds, max_tokens=options.tokens
    )
    if (code := execute(run)) != EXIT_DONE:
        return code
    base = assemble(work / "models", base=BASE_MODEL_NAME)
    facts = {
        "model": MODEL_NAME,
        "base_sha256": base.base_sha256,
        "licence": "Apache-2.0",
        "data": list(DATA),
        "recipe": {
            name: value
            for name, value in run.to_dict().items()
            if not name.endswith(("_path", "_dir"))
        },
        "top_k": 0 if run.experts is None else run.experts.top_k,
    }
    (work / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return pack.main(
        [
            "--from",
            str(run.output / "adapter"),
            "--facts",
            str(work / "facts.json"),
            "--to",
            str(options.to),
            "--kept",
            str(FEED_FORWARD_KEPT),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
