"""What all parts of the mix share: an item to learn, reading the packed files, the held-out part."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from modeling.training.chat import Message

Domain = Literal["customer_service", "medical", "legal", "general"]
HELD_OUT_ONE_IN = 12


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to learn: a conversation, or plain text of which every token is learnt."""

    domain: Domain
    task: str
    document: str
    """What the held-out part is divided by: a dialogue, disease, contract or prompt."""
    messages: list[Message] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    """Of the assistant's messages; empty: all are learnt."""
    text: str = ""
    is_cut: bool = False
    """The last answer goes on; that it ends where it is cut isn't learnt."""

    @property
    def is_held_out(self) -> bool:
        return is_held_out(self.document)


def hash_of(document: str) -> int:
    """A number that follows from a document's name alone, for orders and splits."""
    return int.from_bytes(hashlib.sha256(document.encode()).digest()[:8], "big")


def is_held_out(document: str) -> bool:
    """Whether a document belongs to the part that never trains, by the hash of its name."""
    return hash_of(document) % HELD_OUT_ONE_IN == 0


def rows(path: Path) -> Iterator[Any]:
    """The JSON values of a packed file, line by line."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def contract_name(file_name: str) -> str:
    """A contract's name as CUAD's texts have it; its table of clauses adds an ending."""
    return re.sub(r"\.pdf$", "", file_name, flags=re.IGNORECASE)


def asked(system: str, question: str, answer: str, **facts: Any) -> Item:
    """A conversation of one question and its answer."""
    return Item(
        messages=[
            Message(role="system", content=system),
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ],
        **facts,
    )


def sentences(text: str) -> list[str]:
    """Sentences of running text, white space normalised; what is no sentence is left out."""
    found = []
    for line in text.split("\n"):
        for part in re.split(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(])", line.strip(" -\t*")):
            sentence = " ".join(part.split())
            if 25 <= len(sentence) <= 400 and sentence[-1] in ".!?" and " " in sentence:
                found.append(sentence)
    return found
