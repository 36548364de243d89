"""Domain text as it is, every token learnt, and service dialogues as a chat."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modeling.training.chat import Message
from modeling.training.mix.items import Item, is_held_out, rows

LONGEST_TEXT = 40_000
"""Characters of one contract; a single long one shouldn't be a tenth of its domain."""
TRAINING_CONTRACTS = "dev"
"""CUAD's file that trains, but for a twelfth; its dialogues' counterpart is called `train`."""
PIECE = 3_200
"""Characters of one piece of a long text: about 800 tokens."""
SERVICE_INSTRUCTIONS = (
    "You serve customers. Be short and friendly, and ask for what is missing.",
    "You are a service assistant. Help the customer, one question at a time.",
    "Answer the customer briefly and politely.",
)


def dialogue_text(row: Mapping[str, Any]) -> str:
    """A service dialogue as plain lines."""
    return "\n".join(
        f"Assistant: {turn}" if isinstance(turn, str) else f"User: {turn[0]}" for turn in row["t"]
    )


def medical_text(row: Mapping[str, Any]) -> str:
    """All questions and answers about one disease."""
    return "\n\n".join(f"Question: {pair['q']}\nAnswer: {pair['a']}" for pair in row["qa"])


def domain_texts(data: Path) -> Iterator[tuple[str, str, str]]:
    """(domain, document, text) of every document of the three trades that may train."""
    yield from dialogue_texts(data, "train")
    yield from medical_texts(data)
    yield from contract_texts(data, TRAINING_CONTRACTS)


def held_out_texts(data: Path, split: str) -> dict[str, Iterator[str]]:
    """Each domain's text that never trains.

    Dialogues of the split; medical documents by their hash; contracts of the split, and where that
    is the split that trains or has no file, those held out of training by their hash.
    """
    contracts = split if (data / f"legal/cuad_{split}.jsonl.xz").is_file() else TRAINING_CONTRACTS
    return {
        "customer_service": (text for _, _, text in dialogue_texts(data, split)),
        "medical": (text for _, name, text in medical_texts(data) if is_held_out(name)),
        "legal": (
            text
            for _, name, text in contract_texts(data, contracts)
            if contracts != TRAINING_CONTRACTS or is_held_out(name)
        ),
    }


def dialogue_texts(data: Path, split: str) -> Iterator[tuple[str, str, str]]:
    for row in rows(data / f"sgd/{split}.jsonl.xz"):
        yield "customer_service", row["i"], dialogue_text(row)


def medical_texts(data: Path) -> Iterator[tuple[str, str, str]]:
    for row in rows(data / "medical/medquad.jsonl.xz"):
        yield "medical", row["focus"], medical_text(row)


def contract_texts(data: Path, split: str) -> Iterator[tuple[str, str, str]]:
    for row in rows(data / f"legal/cuad_{split}.jsonl.xz"):
        yield "legal", row["name"], row["text"][:LONGEST_TEXT]


def texts(data: Path) -> Iterator[Item]:
    for domain, document, text in domain_texts(data):
        for piece in pieces(text):
            yield Item(domain=domain, task="text", document=document, text=piece)  # type: ignore[arg-type]


def pieces(text: str) -> list[str]:
    """Parts of at most about PIECE characters, cut at line ends or blanks."""
    parts = []
    while len(text) > PIECE:
        cut = max(text.rfind("\n", PIECE // 2, PIECE), text.rfind(". ", PIECE // 2, PIECE) + 1)
        cut = cut if cut > 0 else PIECE
        parts.append(text[:cut])
        text = text[cut:].lstrip()
    return [*parts, text] if text.strip() else parts


def service_answers(data: Path, rng: random.Random, *, share: float) -> Iterator[Item]:
    """Service dialogues as chats in which the assistant's turns are learnt."""
    for row in rows(data / "sgd/train.jsonl.xz"):
        if rng.random() >= share:
            continue
        messages = [Message(role="system", content=rng.choice(SERVICE_INSTRUCTIONS))]
        for turn in row["t"]:
            if isinstance(turn, str):
                messages.append(Message(role="assistant", content=turn))
            else:
                messages.append(Message(role="user", content=turn[0]))
        while messages[-1]["role"] != "assistant":
            messages.pop()
        yield Item(domain="customer_service", task="service", document=row["i"], messages=messages)
