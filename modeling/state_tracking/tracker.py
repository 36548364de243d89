"""Tracking a dialogue with a language model: what to ask it, and what of its answer to believe."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from modeling.state_tracking.format import (
    DONT_CARE,
    Change,
    ServiceText,
    SlotText,
    Turn,
    apply,
    conversation,
    read_change,
    user_message,
    write_change,
)
from modeling.training.chat import Message

SHORTEST_MISSPELT = 6
LEAST_LIKENESS = 0.82
"""From this similarity on (of letters in sequence), other letters are a misspelling."""


@dataclass(kw_only=True)
class Tracker:
    """One dialogue about one service. `ask`, give the messages to a model, `accept` its text."""

    service: ServiceText
    state: dict[str, str] = field(default_factory=dict)
    """Slot → value, after the last accepted answer."""
    steps: list[tuple[Sequence[Turn], str | None]] = field(default_factory=list)

    def ask(self, turns: Sequence[Turn]) -> list[Message]:
        """The messages whose answer `accept` takes; they only grow, so an engine's cache holds."""
        self.steps.append((tuple(turns), None))
        return conversation(self.service, self.steps)

    def accept(self, text: str) -> Change:
        """Read the model's answer, drop what can't be so, and put the rest into the state."""
        heard = "\n".join(user_message(turns) for turns, _ in self.steps)
        change = believable(self.service, read_change(self.service, text), heard, self.state)
        turns, _ = self.steps[-1]
        # What the model reads back is what was believed, not what it wrote.
        self.steps[-1] = (turns, write_change(self.service, change))
        self.state = apply(self.state, change)
        return change


def believable(service: ServiceText, change: Change, heard: str, state: dict[str, str]) -> Change:
    """The change without what can't be so.

    A listed value must be listed; a free one must stand in the dialogue, and is written as it stands
    there (a name that the model misspelt is put right). A day in a slot for a time, or the other way
    round, goes to the one slot that takes it, or to none. People hardly ever take back several values
    at once, so more than one removal is the model rambling.
    """
    values: dict[str, str | None] = {}
    removed = [name for name, value in change.values.items() if value is None]
    for name, value in change.values.items():
        if value is None:
            if len(removed) == 1:
                values[name] = None
        elif value == DONT_CARE:
            values[name] = value
        elif (known := _known(service.slot(name), value, heard)) is not None:
            values[name] = known
    values = _in_right_slots(service, values)
    unchanged = {name for name, value in values.items() if state.get(name) == value}
    return replace(change, values={n: v for n, v in values.items() if n not in unchanged})


def _known(slot: SlotText, value: str, heard: str) -> str | None:
    if slot.values:
        return value if value in slot.values else None
    return span_of(value, heard)


def span_of(value: str, heard: str) -> str | None:
    """The whole words of the dialogue that the value is: as it is, in other case, or misspelt."""
    whole = rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])"
    found = re.search(whole, heard) or re.search(whole, heard, re.IGNORECASE)
    if found:
        return found[0]
    if len(value) < SHORTEST_MISSPELT or any(character.isdigit() for character in value):
        return None
    places = [(match.start(), match.end()) for match in re.finditer(r"\S+", heard)]
    count = len(value.split())
    best, likeness = None, LEAST_LIKENESS
    for number in {max(1, count - 1), count, count + 1}:
        for first, last in zip(places, places[number - 1 :], strict=False):
            span = heard[first[0] : last[1]].strip(" .,;:!?\"'()")
            if abs(len(span) - len(value)) > len(value) // 4 or "\n" in span:
                continue
            ratio = difflib.SequenceMatcher(None, value.lower(), span.lower()).ratio()
            if ratio > likeness:
                best, likeness = span, ratio
    return best


def _in_right_slots(service: ServiceText, values: dict[str, str | None]) -> dict[str, str | None]:
    """Days and times under slots that take such; what no slot is left for is dropped."""
    right: dict[str, str | None] = {}
    astray: list[tuple[str, str]] = []
    for name, value in values.items():
        wanted, is_a = takes(service.slot(name)), _is_a(value or "")
        if wanted and is_a and wanted != is_a and value is not None:
            astray.append((is_a, value))
        else:
            right[name] = value
    for kind, value in astray:
        fit = [slot.name for slot in service.slots if takes(slot) == kind]
        if len(fit) == 1 and fit[0] not in right:
            right[fit[0]] = value
    return right


def takes(slot: SlotText) -> str:
    """ "day" or "time" for a free slot whose description asks for the one and not the other."""
    text = slot.description.lower()
    time, day = bool(_ASKS_TIME.search(text)), bool(_ASKS_DAY.search(text))
    return "" if slot.values or time == day else "time" if time else "day"


def _is_a(value: str) -> str:
    time, day = bool(_A_TIME.search(value)), bool(_A_DAY.search(value))
    return "" if time == day else "time" if time else "day"


_ASKS_TIME = re.compile(r"\b(?:time|hour|o'clock)\b")
_ASKS_DAY = re.compile(r"\b(?:date|day)\b")
_A_TIME = re.compile(
    r"\d ?[ap]\.?m\b|\d:\d\d|o.?clock|\b(?:noon|midnight|morning|afternoon|evening|night)\b"
    r"|\b(?:half|quarter) (?:past|to)\b",
    re.IGNORECASE,
)
_A_DAY = re.compile(
    r"\b(?:today|tomorrow|tonight|day after|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|(?:next|this) (?:week|month)|\d{1,2}(?:st|nd|rd|th)"
    r"|january|february|march|april|may|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
