"""Reading the schema-guided dialogues (dstc8-schema-guided-dialogue, CC BY-SA 4.0), packed.

A track is one dialogue seen by one of its services: the model is asked after each message of the
person for which the data give that service's frame; other turns are context only.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling.state_tracking.format import (
    Change,
    IntentText,
    ServiceText,
    SlotText,
    Turn,
)

Variants = tuple[str, ...]
"""A value as the data accept it: any of these."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One question to the model: the turns since the last one, and what is right."""

    turns: tuple[Turn, ...]
    intent: str
    requested: tuple[str, ...]
    changed: Mapping[str, Variants | None]
    state: Mapping[str, Variants]
    """Of the service after the step."""

    @property
    def change(self) -> Change:
        """With the first variant of each value."""
        values = {name: None if v is None else v[0] for name, v in self.changed.items()}
        return Change(intent=self.intent, values=values, requested=self.requested)


@dataclass(frozen=True, kw_only=True)
class Track:
    dialogue: str
    service: str
    services: tuple[str, ...]
    """All services of the dialogue."""
    steps: tuple[Step, ...] = field(repr=False)


def tracks(row: Mapping[str, Any]) -> list[Track]:
    """The tracks of one dialogue, in the order of its services."""
    return [
        Track(
            dialogue=row["i"],
            service=service,
            services=tuple(row["s"]),
            steps=tuple(_steps(row["t"], str(index))),
        )
        for index, service in enumerate(row["s"])
    ]


def _steps(turns: Sequence[Any], service: str) -> Iterator[Step]:
    waiting: list[Turn] = []
    agent = ""
    state: dict[str, Variants] = {}
    for turn in turns:
        if isinstance(turn, str):
            agent = turn
            continue
        text, frames = turn
        waiting.append(Turn(agent=agent, user=text))
        agent = ""
        if service not in frames:
            continue
        intent, requested, values = frames[service]
        changed = {
            name: None if not value else (value,) if isinstance(value, str) else tuple(value)
            for name, value in values.items()
        }
        state = {n: v for n, v in {**state, **changed}.items() if v is not None}
        yield Step(
            turns=tuple(waiting),
            intent="" if intent == "NONE" else intent,
            requested=tuple(requested),
            changed=changed,
            state=state,
        )
        waiting = []


def service_text(schema: Mapping[str, Any]) -> ServiceText:
    return ServiceText(
        description=schema["description"],
        slots=tuple(
            SlotText(
                name=slot["name"],
                description=slot["description"],
                values=tuple(slot["possible_values"]) if slot["is_categorical"] else (),
            )
            for slot in schema["slots"]
        ),
        intents=tuple(
            IntentText(name=intent["name"], description=intent["description"])
            for intent in schema["intents"]
        ),
    )


def read_schemas(path: Path) -> dict[str, dict[str, ServiceText]]:
    """The services of each schema file of the pack, by name; the key is the file's path in it."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        packed = json.load(file)
    return {
        name: {schema["service_name"]: service_text(schema) for schema in schemas}
        for name, schemas in packed.items()
    }
