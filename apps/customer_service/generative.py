"""A second reading, by meaning and by the language model, of an answer the rules could not read.

What it finds has a low confidence, so that the policy reads it back to the person before it is used.

Measured on 30 answers to the demo's closed questions, 11 of them no answer at all: the embedding finds
10 values, misses 9 and is wrong on 2; the shipped 135M model finds 10 and is wrong on the other 20,
nonsense included, at some seconds a message. The model is therefore asked only where the installation
serves another one; see `assistant.py`.
"""

import datetime
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from apps.customer_service.intents import Complete, Embed
from apps.customer_service.schema import Slot
from apps.customer_service.values import Choice, Found, SlotValue, WrongValue, normalise

CONFIDENCE = 0.45
"""Below the policy's threshold for verifying."""
AGREED_CONFIDENCE = 0.55
NEAR = 0.35
MARGIN = 0.06
MOST_TOKENS = 60
LONGEST_MESSAGE = 400


def read_answer(
    slot: Slot,
    text: str,
    choices: Sequence[Choice],
    *,
    today: datetime.date,
    embed: Embed,
    complete: Complete | None,
) -> list[Found]:
    """The value that the text means for the slot, or nothing; two readings that differ are nothing."""
    near = nearest_value(slot, text, choices, embed)
    if complete is None:
        return [near] if near else []
    said = read_by_model(slot, text, choices, today=today, complete=complete)
    if near is None or said is None:
        return [one for one in (near, said) if one is not None]
    return [replace(near, confidence=AGREED_CONFIDENCE)] if near.value == said.value else []


def nearest_value(slot: Slot, text: str, choices: Sequence[Choice], embed: Embed) -> Found | None:
    """The listed value whose title or synonyms the text is clearly nearest to in meaning."""
    if len(choices) < 2:
        return None
    names = [
        (choice.value, name) for choice in choices for name in (choice.title, *choice.synonyms)
    ]
    vector, *others = embed([text[:LONGEST_MESSAGE], *(name for _value, name in names)])
    likeness: dict[str, float] = {}
    for (value, _name), other in zip(names, others, strict=True):
        cosine = sum(a * b for a, b in zip(vector, other, strict=True))
        likeness[value] = max(likeness.get(value, -1.0), cosine)
    (best, score), (_next, second) = sorted(likeness.items(), key=lambda pair: -pair[1])[:2]
    if score < NEAR or score - second < MARGIN:
        return None
    return _found(slot, best, text)


def read_by_model(
    slot: Slot,
    text: str,
    choices: Sequence[Choice],
    *,
    today: datetime.date,
    complete: Complete,
) -> Found | None:
    """What the model reads; a free value that does not stand in the text is dropped."""
    try:
        change = json.loads(complete(_prompt(slot, text, choices), change_schema(slot, choices)))
    except json.JSONDecodeError:
        return None  # cut off in the middle
    raw = change.get(slot.name) if isinstance(change, dict) else None
    value = _checked(slot, raw, text, choices, today)
    return None if value is None else _found(slot, value, text)


def change_schema(slot: Slot, choices: Sequence[Choice]) -> dict[str, Any]:
    """The change of state as JSON: the slot null, one of its listed values, or a short text."""
    free = {"anyOf": [{"type": "string", "maxLength": 80}, {"type": "null"}]}
    listed = {"enum": [*(choice.value for choice in choices), None]}
    return {
        "type": "object",
        "properties": {slot.name: listed if choices else free},
        "required": [slot.name],
        "additionalProperties": False,
    }


def _prompt(slot: Slot, text: str, choices: Sequence[Choice]) -> list[dict[str, str]]:
    listed = ", ".join(f"{choice.value} ({choice.title})" for choice in choices)
    return [
        {
            "role": "system",
            "content": "Read the customer's answer and fill the field. Use null if it gives no "
            f"value.\n{slot.name}: {slot.description}{f' One of: {listed}.' if listed else ''}",
        },
        {
            "role": "user",
            "content": f"Question: {slot.question}\nAnswer: {text[:LONGEST_MESSAGE]}\nField as JSON:",
        },
    ]


def _checked(
    slot: Slot, raw: object, text: str, choices: Sequence[Choice], today: datetime.date
) -> SlotValue | None:
    if not isinstance(raw, str) or not raw.strip():
        return None
    if choices:
        return raw if raw in {choice.value for choice in choices} else None
    if raw.casefold() not in text.casefold():
        return None
    try:
        return normalise(slot, raw, today=today)
    except WrongValue:
        return None


def _found(slot: Slot, value: SlotValue, text: str) -> Found:
    return Found(
        slot=slot.name, value=value, text=text, start=0, end=len(text), confidence=CONFIDENCE
    )
