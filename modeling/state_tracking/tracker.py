"""Tracking a dialogue with a language model: what to ask it, and what of its answer to believe."""

from __future__ import annotations

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
    """The change without values that are neither listed nor said in the dialogue."""
    values: dict[str, str | None] = {}
    for name, value in change.values.items():
        if value is None or value == DONT_CARE:
            values[name] = value
        elif (known := _known(service.slot(name), value, heard)) is not None:
            values[name] = known
    unchanged = {name for name, value in values.items() if state.get(name) == value}
    return replace(change, values={n: v for n, v in values.items() if n not in unchanged})


def _known(slot: SlotText, value: str, heard: str) -> str | None:
    if slot.values:
        return value if value in slot.values else None
    if value in heard:
        return value
    place = heard.casefold().find(value.casefold())
    return heard[place : place + len(value)] if place >= 0 else None
