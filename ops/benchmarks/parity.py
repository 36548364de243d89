"""Whether llama.cpp computes what torch computes, type by type, on 50 prompts.

The prompts are chats about held-out text of the three trades. torch computes in float32, llama.cpp
as it serves. Compared are the log-probabilities (logits, shifted so that their exponentials sum to
one) of the next token, for the `COMPARED` tokens that torch finds likeliest. Per type:
`max_logit_diff`, the largest difference over all prompts, `mean_logit_diff`, `top1_agreement`, the
percentage of prompts with the same likeliest token, and `within_tolerance`, whether the mean
difference and the agreement keep to `TOLERANCES`. Each stands there twice: against the weights
before they were written in the type, which is what a type costs, and as `same_weights` against torch
on the very weights of the file, which is what the engine does differently. `template_identical` is
the percentage of prompts of which llama.cpp's chat template and tokeniser make the same tokens as
transformers'.

`--model DIR` compares the shards of another folder (a mixture's file is nothing that transformers
reads, so it has no `same_weights`); `--limit` is the number of prompts, `--seed` N takes the N-th as
many of them.
"""

import argparse
import itertools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from modeling.training.mix.texts import held_out_texts
from modeling.weights.assemble import BASE_MODEL_NAME, SHIPPED, WEIGHT_TYPES, training_base
from modeling.weights.trained import save_trained
from ops.benchmarks._engine import MODELS, engine, trained_model
from ops.benchmarks.perplexity import load

PROMPTS = 50
CHARACTERS = 300
COMPARED = 50
NAMED_BY_ENGINE = 1000


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    mean_logit_diff: float
    top1_agreement: float
    """In percent, at least."""


TOLERANCES = {
    "F16": Tolerance(mean_logit_diff=0.05, top1_agreement=98),
    "BF16": Tolerance(mean_logit_diff=0.05, top1_agreement=98),
    "Q8_0": Tolerance(mean_logit_diff=0.1, top1_agreement=96),
    "Q4_1": Tolerance(mean_logit_diff=0.5, top1_agreement=80),
    "Q4_0": Tolerance(mean_logit_diff=0.5, top1_agreement=80),
}

Chat = list[dict[str, str]]
Likeliest = dict[int, float]
"""Log-probabilities by token."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    transformers_logging.disable_progress_bar()
    shards = args.model or SHIPPED
    number = args.limit or PROMPTS
    chats = conversations(args.data, args.split, number, skip=args.seed * number)
    prompts, expected, is_mixture = by_torch(shards, chats)
    figures: dict[str, Any] = {"n": len(chats)}
    for kind in WEIGHT_TYPES:
        with tempfile.TemporaryDirectory(prefix="praxis-bench-") as folder:
            model = trained_model(kind, Path(folder), shards=shards)
            with engine(model, threads=os.cpu_count() or 1) as client:
                if "template_identical" not in figures:
                    written = [tokens_of(client, chat) for chat in chats]
                    figures["template_identical"] = share(written, prompts)
                found = [next_token(client, prompt) for prompt in prompts]
            figures[kind] = difference(expected, found, TOLERANCES[kind])
            if not is_mixture:
                same = likeliest(load(model), prompts)
                figures[kind]["same_weights"] = difference(same, found, TOLERANCES[kind])
    return figures


def conversations(data: Path, split: str, number: int, *, skip: int = 0) -> list[Chat]:
    """Chats that quote the beginning of a held-out text, from each trade in turn."""
    in_turn = itertools.chain.from_iterable(
        zip(*held_out_texts(data, split).values(), strict=False)
    )
    return [
        [
            {"role": "system", "content": "Answer from the text only."},
            {"role": "user", "content": f"{text[:CHARACTERS]}\n\nWhat is this about?"},
        ]
        for text in itertools.islice(in_turn, skip, skip + number)
    ]


def by_torch(shards: Path, chats: list[Chat]) -> tuple[list[list[int]], list[Likeliest], bool]:
    """The tokens of each chat, what may come next, and whether the shards make a mixture."""
    with tempfile.TemporaryDirectory(prefix="praxis-bench-") as folder:
        if shards == SHIPPED:
            source = training_base(MODELS)
        else:
            source = Path(folder)
            save_trained(training_base(MODELS, base=BASE_MODEL_NAME), shards, source)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        model = load(source)
    texts = [
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        for chat in chats
    ]
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return prompts, likeliest(model, prompts), model.config.model_type != "llama"


@torch.inference_mode()
def likeliest(model: PreTrainedModel, prompts: list[list[int]]) -> list[Likeliest]:
    found = []
    for prompt in prompts:
        logits = model(torch.tensor([prompt]), logits_to_keep=1).logits[0, -1]
        best = logits.double().log_softmax(dim=-1).topk(COMPARED)
        found.append(dict(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
    return found


def tokens_of(client: httpx.Client, chat: Chat) -> list[int]:
    templated = client.post("/apply-template", json={"messages": chat})
    templated.raise_for_status()
    body = {"content": templated.json()["prompt"], "add_special": False, "parse_special": True}
    answer = client.post("/tokenize", json=body)
    answer.raise_for_status()
    return list(answer.json()["tokens"])


def next_token(client: httpx.Client, prompt: list[int]) -> Likeliest:
    body = {"prompt": prompt, "n_predict": 1, "temperature": 0, "n_probs": NAMED_BY_ENGINE}
    answer = client.post("/completion", json={**body, "cache_prompt": False})
    answer.raise_for_status()
    named = answer.json()["completion_probabilities"][0]["top_logprobs"]
    return {one["id"]: one["logprob"] for one in named}


def difference(
    expected: list[Likeliest], found: list[Likeliest], tolerance: Tolerance
) -> dict[str, Any]:
    """A token that the engine didn't name is taken for the last it did: it is less likely still."""
    differences = [
        abs(value - theirs.get(token, min(theirs.values())))
        for ours, theirs in zip(expected, found, strict=True)
        for token, value in ours.items()
    ]
    mean = float(np.mean(differences))
    agreement = share([best(one) for one in expected], [best(one) for one in found])
    return {
        "max_logit_diff": round(max(differences), 4),
        "mean_logit_diff": round(mean, 4),
        "top1_agreement": agreement,
        "within_tolerance": mean <= tolerance.mean_logit_diff
        and agreement >= tolerance.top1_agreement,
    }


def best(likeliest: Likeliest) -> int:
    return max(likeliest, key=likeliest.__getitem__)


def share(ours: list[Any], theirs: list[Any]) -> float:
    """How many percent are equal."""
    equal = [one == other for one, other in zip(ours, theirs, strict=True)]
    return round(100 * sum(equal) / len(equal), 1)
