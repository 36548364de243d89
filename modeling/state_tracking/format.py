"""How a service and a dialogue are written for the language model, and how its answer is read.

After each message of the person the model writes what changed, not the whole state: the intent, the
slots with a new value, the slots that the person asked about. Schemas are written without names, as
descriptions under letters whose order may be shuffled, so that the model reads what a slot means
instead of remembering what it is called (D3ST, arXiv 2201.08904).

    system     Track the state. Find and reserve restaurants
               a: City in which the restaurant is located
               b: Price range [inexpensive | moderate | expensive]
               A: Find a restaurant
               B: Reserve a table
    user       Agent: Which city?
               User: San Jose, and please nothing expensive. Do they have live music?
    assistant  A
               a=San Jose
               b=moderate
               ?c
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modeling.training.chat import Message

TASK = "Track the state."
NO_INTENT = "-"
ANY = "any"
"""How "the person doesn't mind" is written."""
DONT_CARE = "dontcare"
"""How a state holds it."""
LONGEST_VALUE = 200


@dataclass(frozen=True, kw_only=True)
class SlotText:
    name: str
    description: str
    values: tuple[str, ...] = ()
    """The only values that the slot takes; none for free text."""


@dataclass(frozen=True, kw_only=True)
class IntentText:
    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class ServiceText:
    description: str
    slots: tuple[SlotText, ...]
    intents: tuple[IntentText, ...]

    def slot(self, name: str) -> SlotText:
        return next(slot for slot in self.slots if slot.name == name)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the person said, and what was said to them just before ("" at the beginning)."""

    agent: str
    user: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one message of the person changes. A value of None takes the slot's value away."""

    intent: str = ""
    """The intent that is active after the message; "" for none."""
    values: Mapping[str, str | None] = field(default_factory=dict)
    requested: tuple[str, ...] = ()
    """Slots whose value the person wants to know."""


def letters(count: int, alphabet: str) -> list[str]:
    """`count` keys: one letter each, then two (aa, ab, …)."""
    keys = list(alphabet)
    keys += [first + second for first in alphabet for second in alphabet]
    if count > len(keys):
        raise ValueError(f"{count} slots or intents; at most {len(keys)} fit, split the service")
    return keys[:count]


def slot_keys(service: ServiceText) -> dict[str, str]:
    """Letter of each slot, by name."""
    keys = letters(len(service.slots), string.ascii_lowercase)
    return {slot.name: key for slot, key in zip(service.slots, keys, strict=True)}


def intent_keys(service: ServiceText) -> dict[str, str]:
    """Letter of each intent, by name."""
    keys = letters(len(service.intents), string.ascii_uppercase)
    return {intent.name: key for intent, key in zip(service.intents, keys, strict=True)}


def shown_value(value: str) -> str:
    """A listed value as the model reads it: truth values as yes and no."""
    return {"True": "yes", "False": "no"}.get(value, value)


def system_message(service: ServiceText) -> str:
    lines = [f"{TASK} {service.description}"]
    keys = slot_keys(service)
    for slot in service.slots:
        listed = f" [{' | '.join(map(shown_value, slot.values))}]" if slot.values else ""
        lines.append(f"{keys[slot.name]}: {slot.description}{listed}")
    letters_of = intent_keys(service)
    lines.extend(f"{letters_of[intent.name]}: {intent.description}" for intent in service.intents)
    return "\n".join(lines)


def user_message(turns: Sequence[Turn]) -> str:
    """The turns since the model was last asked, usually one."""
    lines = []
    for turn in turns:
        if turn.agent:
            lines.append(f"Agent: {_one_line(turn.agent)}")
        lines.append(f"User: {_one_line(turn.user)}")
    return "\n".join(lines)


def write_change(service: ServiceText, change: Change) -> str:
    """The model's line for a change; values in the order in which `change` holds them."""
    keys = slot_keys(service)
    lines = [intent_keys(service)[change.intent] if change.intent else NO_INTENT]
    for name, value in change.values.items():
        written = "" if value is None else ANY if value == DONT_CARE else shown_value(value)
        lines.append(f"{keys[name]}={_one_line(written)}")
    lines.extend(f"?{keys[name]}" for name in change.requested)
    return "\n".join(lines)


def read_change(service: ServiceText, text: str) -> Change:
    """What the model wrote; lines that name nothing of the service are passed over."""
    slots = {key: name for name, key in slot_keys(service).items()}
    intents = {key: name for name, key in intent_keys(service).items()}
    intent = ""
    values: dict[str, str | None] = {}
    requested: list[str] = []
    for number, line in enumerate(text.strip().split("\n")):
        if number == 0:
            intent = intents.get(line.strip(), "")
        elif line.startswith("?"):
            name = slots.get(line[1:].strip())
            if name is not None and name not in requested:
                requested.append(name)
        else:
            key, _, value = line.partition("=")
            name = slots.get(key.strip())
            if name is not None:
                values[name] = _read_value(service.slot(name), value.strip()[:LONGEST_VALUE])
    return Change(intent=intent, values=values, requested=tuple(requested))


def _read_value(slot: SlotText, written: str) -> str | None:
    if not written:
        return None
    for value in slot.values:
        if shown_value(value).casefold() == written.casefold():
            return value
    return DONT_CARE if written == ANY else written


def apply(state: Mapping[str, str], change: Change) -> dict[str, str]:
    """The state (slot → value) after a change."""
    merged = {**state, **change.values}
    return {name: value for name, value in merged.items() if value is not None}


def conversation(
    service: ServiceText, steps: Sequence[tuple[Sequence[Turn], str | None]]
) -> list[Message]:
    """The chat of all steps; each step is its turns and what the model wrote, None if asked now."""
    messages = [Message(role="system", content=system_message(service))]
    for turns, written in steps:
        messages.append(Message(role="user", content=user_message(turns)))
        if written is not None:
            messages.append(Message(role="assistant", content=written))
    return messages


def grammar(service: ServiceText) -> str:
    """A GBNF grammar that allows known intents, slots and listed values only.

    Free values are any text of one line; that they stand in the dialogue is checked afterwards.
    """
    intents = [*intent_keys(service).values(), NO_INTENT]
    rules = [
        'root ::= intent ("\\n" assignment)* ("\\n?" slot)*',
        f"intent ::= {_alternatives(intents)}",
        f"slot ::= {_alternatives(list(slot_keys(service).values()))}",
        f"free ::= [^\\n=]{{0,{LONGEST_VALUE}}}",
    ]
    assignments = []
    for slot, key in zip(service.slots, slot_keys(service).values(), strict=True):
        if slot.values:
            listed = [*map(shown_value, slot.values), ANY, ""]
            rules.append(f"value-{key} ::= {_alternatives(listed)}")
            assignments.append(f'"{key}=" value-{key}')
        else:
            assignments.append(f'"{key}=" free')
    rules.append(f"assignment ::= {' | '.join(assignments)}")
    return "\n".join(rules)


def _alternatives(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return " | ".join(f'"{text}"' for text in quoted)


def _one_line(text: str) -> str:
    return " ".join(text.split())
