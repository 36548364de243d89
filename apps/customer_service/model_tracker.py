"""The language model as a tracker: it reads the schema and the dialogue and writes what changed.

The rules (`tracker.py`) read the same message first. `hear` asks the model when their reading leaves
words over, and puts the two together: where both read the same, the value is surer; where they
differ, less sure; what the model alone read is marked so, and the policy asks about it before anything
is done with it. Without an answer in time the rules' reading stands.

The conversation that the model reads goes from the message that began the task in hand to this one
and only grows, so that the engine's prefix cache keeps a turn cheap. `state["reader"]` holds what it
needs for that: the number of the first message, and what was believed of each answer of the model.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.customer_service.phrases import clean, content_words, telling_words
from apps.customer_service.schema import DONT_CARE, Service, Slot
from apps.customer_service.tracker import EXACT, Reading, State
from apps.customer_service.values import (
    Found,
    SlotValue,
    WrongValue,
    choices_of,
    find,
    normalise,
)
from modeling.state_tracking import format as form
from modeling.state_tracking.confidence import FITTED, Agreement, Score, scores_by_slot
from modeling.state_tracking.tracker import believable
from modeling.training.chat import Message

ANSWER_TOKENS = 64
RECENT_TOKENS = 1200
LONGEST_SAID = 600
LONGEST_SHOWN = 300
"""Of a longer answer of the assistant the end is read: there stands the question."""
SILENT = 0.92
"""What the rules alone read, though the model was asked too, is by this factor less sure."""
DIFFERENT = 0.55
"""The most that is believed of a value that the two read differently; the policy verifies it."""
SURE_TO_REMOVE = 0.8
SURE_OF_INTENT = 0.8
LEAST = 0.3
"""What the model alone read and is less sure of than this isn't worth a question."""
_FOREIGN = re.compile(r"[\u3400-\u9fff]")

Write = Callable[[Sequence[Message], str], Sequence[tuple[str, float]]]
"""`write(messages, grammar)`: the tokens of the model's answer with their log-probabilities; none when
there was no answer in time."""
Recent = Callable[[int], Sequence[Mapping[str, str]]]
"""`recent(max_tokens)`: the messages before this one, oldest first, as `{"role", "content"}`."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What the model read for one slot."""

    value: SlotValue | None
    """In the form in which the slot's values are stored; None takes the value back."""
    text: str
    score: Score

    def confidence(self, agreement: Agreement) -> float:
        return FITTED.probability(self.score, agreement)


def new_reader(number: int) -> dict[str, Any]:
    """What the model has read when the conversation for it begins with message `number`."""
    return {"since": number, "lines": {}}


def hear(
    service: Service,
    state: State,
    reading: Reading,
    text: str,
    *,
    number: int,
    today: datetime.date,
    recent: Recent,
    write: Write,
) -> tuple[Reading, State]:
    """The two readings of message `number` together, and the state that remembers the model's."""
    if not state["reader"] or not (state["intent"] or state["waiting"]):
        state = {**state, "reader": new_reader(number)}
    text = clean(text)[:LONGEST_SAID]
    if not leaves_words(service, reading, text):
        return reading, state
    reader = state["reader"]
    described = description_of(service)
    steps = _steps(reader, transcript(recent(RECENT_TOKENS), text, number), number)
    tokens = write(form.conversation(described, steps), form.grammar(described))
    if not tokens:
        return reading, state
    written = form.read_change(described, "".join(token for token, _score in tokens))
    said = "\n".join(form.user_message(turns) for turns, _line in steps)
    change = believable(described, written, said, _believed(described, state))
    lines = {**reader["lines"], str(number): form.write_change(described, change)}
    state = {**state, "reader": {**reader, "lines": lines}}
    heard = _heard(service, state, change, scores_by_slot(described, tokens), today)
    combined = _with_values(service, state, reading, heard, text)
    sure = tokens[0][1] > -0.22  # log-probability of the intent's letter: 0.8
    return _with_intent(service, state, combined, change.intent if sure else "", text), state


def leaves_words(service: Service, reading: Reading, text: str) -> bool:
    """Whether the message says more than the rules have read in it, so that the model may add."""
    acts = reading.acts
    if acts.person or acts.restarts or acts.wordless or acts.greets or acts.leaves:
        return False
    if reading.cancels_task or _FOREIGN.search(text):
        return False
    rest = text
    for one in sorted(reading.found, key=lambda one: -one.start):
        rest = rest[: one.start] + " " + rest[one.end :]
    titles = content_words(" ".join(service.slot(one.slot).title for one in reading.found))
    return bool(telling_words(rest) - titles)


def description_of(service: Service) -> form.ServiceText:
    """The service as the model reads it. A choice is shown by its title."""
    return form.ServiceText(
        description=service.description,
        slots=tuple(
            form.SlotText(
                name=slot.name,
                description=slot.description.rstrip("."),
                values=tuple(value.title for value in slot.values),
            )
            for slot in service.slots
        ),
        intents=tuple(
            form.IntentText(name=intent.name, description=intent.description.rstrip("."))
            for intent in service.intents
        ),
    )


def transcript(
    recent: Sequence[Mapping[str, str]], text: str, number: int
) -> list[tuple[int, form.Turn]]:
    """The messages of the person by number, each with what the assistant said before it."""
    turns: list[form.Turn] = []
    agent = ""
    for message in (*recent, {"role": "user", "content": text}):
        if message["role"] == "assistant":
            agent = message["content"]
        else:
            turns.append(shown_turn(agent, message["content"]))
            agent = ""
    first = number - len(turns) + 1
    return list(enumerate(turns, first))


def shown_turn(agent: str, user: str) -> form.Turn:
    """A message of the person, and what was said to them before it, as the model reads them."""
    return form.Turn(agent=_end_of(agent), user=clean(user)[:LONGEST_SAID])


def _end_of(agent: str) -> str:
    text = " ".join(re.sub(r"[*_`#>|]|\[\d+\]", " ", agent).split())
    if len(text) <= LONGEST_SHOWN:
        return text
    return text[-LONGEST_SHOWN:].partition(" ")[2]


def _steps(
    reader: Mapping[str, Any], turns: Sequence[tuple[int, form.Turn]], number: int
) -> list[tuple[list[form.Turn], str | None]]:
    """The turns of the task, parted after each that the model has read; the last is read now."""
    steps: list[tuple[list[form.Turn], str | None]] = []
    waiting: list[form.Turn] = []
    for turn_number, turn in turns:
        if turn_number < reader["since"]:
            continue
        waiting.append(turn)
        line = reader["lines"].get(str(turn_number))
        if line is not None or turn_number == number:
            steps.append((waiting, line if turn_number < number else None))
            waiting = []
    return steps


def _believed(described: form.ServiceText, state: State) -> dict[str, str]:
    """What the model has written so far; "" for what only the rules have read."""
    believed = dict.fromkeys(state["slots"], "")
    for line in state["reader"]["lines"].values():
        believed = form.apply(believed, form.read_change(described, line))
    return believed


def _heard(
    service: Service,
    state: State,
    change: form.Change,
    scores: Mapping[str, Score],
    today: datetime.date,
) -> dict[str, Heard]:
    """The changed slots whose value is one that the slot may have."""
    heard = {}
    for name, raw in change.values.items():
        slot = service.slot(name)
        if raw is None:
            heard[name] = Heard(value=None, text="", score=scores[name])
            continue
        value = _stored(slot, state, raw, today)
        if value is not None:
            heard[name] = Heard(value=value, text=raw, score=scores[name])
    return heard


def _stored(slot: Slot, state: State, raw: str, today: datetime.date) -> SlotValue | None:
    if raw == form.DONT_CARE:
        return DONT_CARE if slot.may_skip else None
    choices = choices_of(slot, state["options"].get(slot.name, ()))
    if slot.kind == "categorical" and not choices:
        return None  # the list isn't known yet; the rules read the message again when it is
    try:
        return normalise(slot, raw, today=today, choices=choices)
    except WrongValue:
        pass
    hits = {hit.value for hit in find(slot, raw, today=today, choices=choices, asked=True)}
    return hits.pop() if len(hits) == 1 else None


def _with_values(
    service: Service, state: State, reading: Reading, heard: Mapping[str, Heard], text: str
) -> Reading:
    found = [_weighed(service, one, heard.get(one.slot)) for one in reading.found]
    given = {one.slot for one in reading.found}
    for name, one in heard.items():
        if name in given or one.value is None:
            continue
        entry = state["slots"].get(name)
        if entry is not None and entry["value"] == one.value:
            continue
        alone = _alone(name, one, text)
        rivals = [other for other in found if _overlap(alone, other)]
        if rivals:
            # The same words for two slots: the rules' reading stands, and is asked about.
            found = [
                replace(other, confidence=min(other.confidence, DIFFERENT))
                if other in rivals and other.confidence < EXACT
                else other
                for other in found
            ]
        elif alone.confidence >= LEAST:
            found.append(alone)
    removed = [
        name
        for name, one in heard.items()
        if one.value is None
        and name in state["slots"]
        and name not in reading.removed
        and one.confidence("silent") >= SURE_TO_REMOVE
    ]
    return replace(reading, found=tuple(found), removed=(*reading.removed, *removed))


def _weighed(service: Service, one: Found, heard: Heard | None) -> Found:
    """What the rules read, surer or less sure by what the model read for the slot."""
    if heard is None:
        return replace(one, confidence=one.confidence * SILENT)
    if heard.value == one.value:
        both = 1 - (1 - one.confidence) * (1 - heard.confidence("agrees"))
        return replace(one, confidence=min(both, 0.995))
    exact = service.slot(one.slot).kind not in ("text", "categorical")
    if exact or one.confidence >= EXACT or heard.value is None:
        return replace(one, confidence=min(one.confidence, DIFFERENT))
    sure = min(heard.confidence("differs"), DIFFERENT)
    return replace(one, value=heard.value, text=heard.text, confidence=sure, source="model")


def _alone(name: str, heard: Heard, text: str) -> Found:
    assert heard.value is not None
    start = text.casefold().rfind(heard.text.casefold())
    return Found(
        slot=name,
        value=heard.value,
        text=heard.text,
        start=max(start, 0),
        end=start + len(heard.text) if start >= 0 else 0,
        confidence=heard.confidence("silent"),
        source="model",
    )


def _overlap(one: Found, other: Found) -> bool:
    return one.start < other.end and other.start < one.end


def _with_intent(
    service: Service, state: State, reading: Reading, intent: str, text: str
) -> Reading:
    """The model's intent decides where the classifier was not sure and has it among its guesses."""
    undecided = not reading.intents and not state["intent"]
    if undecided and intent in reading.guesses and service.intent(intent).action is not None:
        return replace(reading, intents=(intent,))
    return reading
