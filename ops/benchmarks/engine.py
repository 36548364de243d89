"""Bytes and speed of the shipped model in llama.cpp, type by type, beside the dense base.

Per type: `bytes` of the file, median `decode_tokens_per_s` and `prompt_tokens_per_s`, and
`ratio_to_dense`: our decoding speed over the base's in the same type and round, the median of the
rounds and the `_spread` from smallest to largest; `prompt_ratio_to_dense` likewise. Both engines take
all cores, one after the other, in changing order; the first round warms up and isn't counted.

`--model DIR` measures the shards of another folder (as `modeling.weights.pack` writes them), a
mixture's for example; `--limit` is the number of rounds. No data is needed. The figures hold for an
idle machine only.
"""

import argparse
import os
import random
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from modeling.weights.assemble import SHIPPED, WEIGHT_TYPES
from ops.benchmarks._engine import dense_base, engine, trained_model

ROUNDS = 4
PROMPT_TOKENS = 128
ANSWER_TOKENS = 48
VOCABULARY = range(100, 40_000)
"""Ids of ordinary tokens: what they say doesn't change the speed."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    rounds = args.limit or ROUNDS
    figures: dict[str, Any] = {"n": rounds, "threads": os.cpu_count() or 1}
    for kind in WEIGHT_TYPES:
        # One type at a time: all files together would be two gigabytes.
        with tempfile.TemporaryDirectory(prefix="praxis-bench-") as folder:
            ours = trained_model(kind, Path(folder), shards=args.model or SHIPPED)
            base = dense_base(kind, Path(folder))
            figures[kind] = {
                "bytes": ours.stat().st_size,
                "dense_bytes": base.stat().st_size,
                **compared(ours, base, rounds, random.Random(args.seed)),
            }
    return figures


def compared(ours: Path, base: Path, rounds: int, chance: random.Random) -> dict[str, Any]:
    decoding: dict[Path, list[float]] = {ours: [], base: []}
    reading: dict[Path, list[float]] = {ours: [], base: []}
    with ExitStack() as stack:
        clients = {
            model: stack.enter_context(engine(model, threads=os.cpu_count() or 1))
            for model in (ours, base)
        }
        for number in range(rounds + 1):
            prompt = chance.choices(VOCABULARY, k=PROMPT_TOKENS)
            for model in (ours, base) if number % 2 else (base, ours):
                timed = timings(clients[model], prompt)
                if number:
                    decoding[model].append(timed["predicted_per_second"])
                    reading[model].append(timed["prompt_per_second"])
    return {
        "decode_tokens_per_s": round(statistics.median(decoding[ours]), 1),
        "prompt_tokens_per_s": round(statistics.median(reading[ours]), 1),
        **ratios("ratio_to_dense", decoding[ours], decoding[base]),
        **ratios("prompt_ratio_to_dense", reading[ours], reading[base]),
    }


def ratios(name: str, ours: list[float], base: list[float]) -> dict[str, Any]:
    by_round = [one / other for one, other in zip(ours, base, strict=True)]
    return {
        name: round(statistics.median(by_round), 3),
        f"{name}_spread": [round(min(by_round), 3), round(max(by_round), 3)],
    }


def timings(client: httpx.Client, prompt: list[int]) -> dict[str, float]:
    answer = client.post(
        "/completion",
        json={
            "prompt": prompt,
            "n_predict": ANSWER_TOKENS,
            "ignore_eos": True,
            "temperature": 0,
            "cache_prompt": False,
        },
    )
    answer.raise_for_status()
    timed: dict[str, float] = answer.json()["timings"]
    return timed
