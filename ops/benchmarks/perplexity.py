"""Perplexity of the shipped model on text that it never learnt, as a ratio to the base's.

`customer_service`, `medical`, `legal`: the dialogues, articles and contracts that no training mix
takes. `general`: what the base itself answers to everyday requests that are held out from the mix by
their hash; the answers are drawn here, from the base of the wheel with `--seed`, and both models read
the same ones. Of an answer its own tokens count, of a text all but the first. `ratio_to_base` below 1
means that the trained model is less surprised.

`--limit` is the number of rows of each domain, each of at most `ROW_TOKENS` tokens and of another
document. `--model DIR` measures another Hugging Face folder instead of the shipped one, `--type` the
shipped weights as llama.cpp keeps them in that type. Everything is computed in float32.
"""

import argparse
import itertools
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from modeling.training.chat import ChatTokenizer, Message
from modeling.training.mix import chat
from modeling.training.mix.items import is_held_out
from modeling.training.mix.texts import held_out_texts
from modeling.weights.assemble import BASE_MODEL_NAME, training_base
from ops.benchmarks._engine import MODELS, trained_model

ROWS = 24
ROW_TOKENS = 384
REQUESTS = 4000
"""Of which a twelfth is held out."""
BAR_OF_TRADES, BAR_OF_GENERAL = 0.80, 1.03


@dataclass(frozen=True, kw_only=True)
class Row:
    tokens: list[int]
    start: int
    """The first token that counts."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    transformers_logging.disable_progress_bar()
    base = training_base(MODELS, base=BASE_MODEL_NAME)
    number = args.limit or ROWS
    rows = {
        **text_rows(base, held_out_texts(args.data, args.split), number),
        "general": answer_rows(base, number, args.seed),
    }
    of_base = losses(load(base), rows)
    if args.type:
        with tempfile.TemporaryDirectory(prefix="praxis-bench-") as folder:
            of_trained = losses(load(trained_model(args.type, Path(folder))), rows)
    else:
        of_trained = losses(load(args.model or training_base(MODELS)), rows)
    figures: dict[str, Any] = {"n": sum(map(len, rows.values()))}
    for domain, found in rows.items():
        ratio = math.exp(of_trained[domain] - of_base[domain])
        bar = BAR_OF_GENERAL if domain == "general" else BAR_OF_TRADES
        figures[domain] = {
            "ratio_to_base": round(ratio, 4),
            "bar": bar,
            "met": ratio <= bar,
            "perplexity": round(math.exp(of_trained[domain]), 3),
            "base_perplexity": round(math.exp(of_base[domain]), 3),
            "tokens": sum(len(row.tokens) - row.start for row in found),
        }
    return figures


def text_rows(base: Path, texts: dict[str, Iterator[str]], number: int) -> dict[str, list[Row]]:
    """The beginnings of the first documents; both models have the same tokeniser."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)

    def tokens_of(text: str) -> list[int]:
        # Eight characters a token are more than any of these texts has.
        cut = text[: 8 * ROW_TOKENS]
        return list(tokenizer(cut, add_special_tokens=False)["input_ids"][:ROW_TOKENS])

    return {
        domain: [Row(tokens=tokens_of(text), start=1) for text in itertools.islice(found, number)]
        for domain, found in texts.items()
    }


def answer_rows(base: Path, number: int, seed: int) -> list[Row]:
    """The base's answers to the first held-out requests, as chats."""
    every = chat.prompts(REQUESTS, seed)
    asked = [prompt for prompt in every if is_held_out(prompt)][:number]
    tokenizer = ChatTokenizer.load(base)
    rows = []
    for prompt, answer, finished in chat.answer(base, asked, batch=number, seed=seed, device="cpu"):
        if not answer:
            continue
        talk = [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
        (encoded,) = tokenizer.encode([talk])
        start = encoded.supervised.index(True)
        # Where the base was cut off, the end of the answer is nothing that it said.
        end = len(encoded.token_ids)
        if not finished:
            mark = tokenizer.tokenizer.encode("<|im_end|>", add_special_tokens=False).ids
            end = encoded.token_ids.index(mark[0], start)
        rows.append(Row(tokens=encoded.token_ids[:end], start=start))
    return rows


def load(model: Path) -> PreTrainedModel:
    """A Hugging Face folder, or the weights of a GGUF file, dequantised."""
    form: dict[str, Any] = {"use_safetensors": True}
    if model.suffix == ".gguf":
        model, form = model.parent, {"gguf_file": model.name}
    loaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        model, local_files_only=True, dtype=torch.float32, **form
    )
    return loaded.eval()


@torch.inference_mode()
def losses(model: PreTrainedModel, rows: dict[str, list[Row]]) -> dict[str, float]:
    """Mean loss in nats over the tokens that count, by domain."""

    def summed(row: Row) -> float:
        ids = torch.tensor([row.tokens])
        logits = model(ids).logits[0, row.start - 1 : -1]
        return float(
            torch.nn.functional.cross_entropy(logits, ids[0, row.start :], reduction="sum")
        )

    return {
        domain: sum(map(summed, found)) / sum(len(row.tokens) - row.start for row in found)
        for domain, found in rows.items()
    }
