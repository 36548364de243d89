"""A slot that was put right in the panel, as an example for the model that tracks the state.

The example is the dialogue as the model reads it (`modeling.state_tracking.format`): after each message
what changed. Only the message that the right value belongs to is learnt; those before it are context.
A value that is neither listed nor said in the dialogue teaches nothing, because the model may only
write what is listed or said, and is left out.
"""

from dataclasses import dataclass
from typing import Any

from apps.customer_service.model_tracker import description_of, shown_turn
from apps.customer_service.phrases import clean
from apps.customer_service.schema import DONT_CARE, Service, Slot
from apps.customer_service.tracker import State
from apps.customer_service.values import choices_of, find
from modeling.state_tracking import format as form
from praxis.assistants.contract import CorrectedState, SaidTurn


@dataclass(frozen=True)
class _Step:
    """What one message changed: slots by stored value, and the intent after it."""

    intent: str
    values: dict[str, Any]


def example_of(service: Service, corrected: CorrectedState) -> list[dict[str, Any]] | None:
    slot = next((one for one in service.slots if one.name == corrected.key), None)
    if slot is None or not corrected.turns:
        return None
    steps = [
        _step(before, turn.state)
        for before, turn in zip(
            [{}, *(turn.state for turn in corrected.turns)], corrected.turns, strict=False
        )
    ]
    entry = corrected.after["slots"].get(slot.name)
    place = _place(slot, corrected, entry)
    if place is None:
        return None
    right = entry["value"] if entry else None
    wrong_there = steps[place].values.get(slot.name)
    values = {name: value for name, value in steps[place].values.items() if name != slot.name}
    if right is not None:
        values[slot.name] = right
    elif wrong_there is None:
        return None
    steps[place] = _Step(steps[place].intent, values)
    described = description_of(service)
    messages: list[dict[str, Any]] = [{"role": "system", "content": form.system_message(described)}]
    for number, turn in enumerate(corrected.turns[: place + 1]):
        change = form.Change(
            intent=steps[number].intent, values=_written(service, steps[number], turn)
        )
        messages += [
            {"role": "user", "content": form.user_message([shown_turn(turn.agent, turn.user)])},
            {
                "role": "assistant",
                "content": form.write_change(described, change),
                "weight": int(number == place),
            },
        ]
    return messages


def _step(before: State, after: State) -> _Step:
    """What the message between two states changed; what was said for a task that is done counts too."""
    old, new = before.get("slots", {}), after.get("slots", {})
    values = {
        name: entry["value"]
        for name, entry in new.items()
        if entry["value"] != old.get(name, {}).get("value")
    }
    return _Step(after.get("intent", ""), values)


def _place(slot: Slot, corrected: CorrectedState, entry: dict[str, Any] | None) -> int | None:
    """The message that the right value belongs to: the newest that says it. A value that was wrong
    altogether belongs to the message that it was read from."""
    if entry is None or entry["value"] == DONT_CARE:
        wrong = corrected.before["slots"].get(slot.name)
        turn = wrong["turn"] if wrong else None
        return turn - 1 if turn and turn <= len(corrected.turns) else None
    for number in range(len(corrected.turns) - 1, -1, -1):
        if _said(slot, entry["value"], corrected.turns[number], corrected.after):
            return number
    return None


def _said(slot: Slot, value: Any, turn: SaidTurn, state: State) -> str:
    """The words of the message that give the slot this value; "" when it doesn't."""
    text = clean(turn.user)
    if slot.kind == "text":
        place = text.casefold().find(str(value).casefold())
        return text[place : place + len(str(value))] if place >= 0 else ""
    choices = choices_of(slot, state.get("options", {}).get(slot.name, ()))
    hits = find(slot, text, today=turn.said_on, choices=choices, asked=True)
    return next((hit.text for hit in hits if hit.value == value), "")


def _written(service: Service, step: _Step, turn: SaidTurn) -> dict[str, str | None]:
    """Values as the model writes them: listed ones by title, others as they were said."""
    written: dict[str, str | None] = {}
    for name, value in step.values.items():
        slot = next((one for one in service.slots if one.name == name), None)
        if slot is None:
            continue
        if value == DONT_CARE:
            written[name] = form.DONT_CARE
        elif titles := [one.title for one in slot.values if one.name == value]:
            written[name] = titles[0]
        elif said := _said(slot, value, turn, turn.state):
            written[name] = said
    return written
