"""What an import yields, and how its parts are named."""

import re
from dataclasses import dataclass, field
from typing import Any

from praxis.sentences import Sentence

Definition = dict[str, Any]


@dataclass
class Imported:
    definition: Definition
    report: list[Sentence] = field(default_factory=list)
    """What could not be taken over or has to be looked at, as sentences."""
    base_url: str = ""


class ImportRefused(ValueError):
    """The argument is a sentence for the person."""


def identifier(text: str) -> str:
    """`petId`, `X-Pet id` → pet_id; at most 60 characters, starting with a letter."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    plain = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")[:56].strip("_")
    if not plain:
        return "part"
    return plain if plain[0].isalpha() else f"n_{plain}"


def unused(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free in taken:
        free = f"{name}_{number}"
        number += 1
    taken.add(free)
    return free


def in_words(text: str) -> str:
    """`find_pets_byStatus` → "Find pets by status"."""
    words = identifier(text).replace("_", " ")
    return words[:1].upper() + words[1:]


def one_line(text: object, limit: int = 500) -> str:
    return " ".join(str(text or "").split())[:limit]
