"""Making a model read a schema instead of remembering services: every pass over the dialogues sees
other descriptions, other orders and letters, more and fewer slots, other names, and sometimes a
state that went wrong before.

Each measure is a share in `Augmentation`, so that its worth can be measured by leaving it out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from modeling.state_tracking.format import (
    DONT_CARE,
    Change,
    IntentText,
    ServiceText,
    SlotText,
    Turn,
    apply,
    conversation,
    user_message,
    write_change,
)
from modeling.state_tracking.sgd import Step, Track
from modeling.training.chat import Message


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Shares from 0 to 1 of the tracks (or, where it says so, of slots) that are changed so."""

    paraphrase: float = 0.85
    """Descriptions of a paraphrased schema (SGD-X); otherwise the original's."""
    mix_paraphrases: float = 0.5
    """Of the paraphrased: each slot's description from another paraphrase."""
    names_only: float = 0.08
    """Of the slots: the name in words instead of a description."""
    shuffle: float = 1.0
    drop_unused: float = 0.5
    """In such a track every slot that is never used goes with a chance of one half."""
    distract: float = 0.25
    """One to three slots of a service of another domain are added."""
    rename: float = 0.4
    """Names, places and titles are exchanged for others, in text and state alike."""
    corrupt: float = 0.2
    """Some earlier changes are wrong; what follows repairs the state."""
    ask_always: float = 0.15
    """The model is also asked at turns that are about another service; nothing changes there."""
    lower: float = 0.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be from 0 to 1; got {value!r}")


NONE = Augmentation(
    paraphrase=0.0,
    mix_paraphrases=0.0,
    names_only=0.0,
    shuffle=0.0,
    drop_unused=0.0,
    distract=0.0,
    rename=0.0,
    corrupt=0.0,
    ask_always=0.0,
    lower=0.0,
)
"""The dialogues as they are."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training conversation; weight 0 marks what is read, not learnt."""

    messages: list[Message]
    weights: list[int]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What augmentation draws from; all of it from the training part."""

    schemas: Mapping[str, ServiceText]
    """The original schema of each service."""
    paraphrases: Mapping[str, Sequence[ServiceText]]
    """Of each service, with slots and intents in the original's order."""
    names: Mapping[str, Sequence[str]]
    """Values that are names, by slot name."""

    @classmethod
    def of(
        cls,
        schema_files: Mapping[str, Mapping[str, ServiceText]],
        tracks: Sequence[Track],
        *,
        split: str = "train",
    ) -> Sources:
        schemas = dict(schema_files[f"{split}/schema.json"])
        others = [
            list(services.values())
            for name, services in sorted(schema_files.items())
            if name.startswith("sgd_x/") and name.endswith(f"/{split}/schema.json")
        ]
        paraphrases = {
            service: [variant[index] for variant in others] for index, service in enumerate(schemas)
        }
        names: dict[str, set[str]] = {}
        for track in tracks:
            for step in track.steps:
                for slot, values in step.changed.items():
                    if values and not schemas[track.service].slot(slot).values:
                        names.setdefault(slot, set()).update(v for v in values if _is_name(v))
        return cls(
            schemas=schemas,
            paraphrases=paraphrases,
            names={slot: sorted(values) for slot, values in names.items() if len(values) >= 8},
        )


def sample(
    track: Track,
    sources: Sources,
    augmentation: Augmentation,
    rng: random.Random,
) -> Sample:
    """One training conversation from a track."""
    service = _described(track.service, sources, augmentation, rng)
    steps = list(track.steps)
    if rng.random() < augmentation.drop_unused:
        service = _without_unused(service, steps, rng)
    if rng.random() < augmentation.distract:
        service = _with_distractors(service, track, sources, rng)
    if rng.random() < augmentation.shuffle:
        service = _shuffled(service, rng)
    if rng.random() < augmentation.rename:
        steps = _renamed(steps, service, sources, rng)
    if rng.random() < augmentation.lower:
        steps = _lowered(steps, service)
    if rng.random() < augmentation.ask_always:
        steps = _asked_always(steps)
    corrupt = 0.25 if rng.random() < augmentation.corrupt else 0.0
    written, weights = _written(service, steps, corrupt, rng)
    return Sample(
        messages=conversation(
            service,
            [(step.turns, text) for step, text in zip(steps, written, strict=True)],
        ),
        weights=weights,
    )


def _described(
    name: str, sources: Sources, augmentation: Augmentation, rng: random.Random
) -> ServiceText:
    """The service under its own names, described by the original or by paraphrases."""
    original = sources.schemas[name]
    paraphrases = sources.paraphrases.get(name, ())
    if not paraphrases or rng.random() >= augmentation.paraphrase:
        chosen = [original]
    elif rng.random() < augmentation.mix_paraphrases:
        chosen = [original, *paraphrases]
    else:
        chosen = [rng.choice(paraphrases)]
    slots = []
    for index, slot in enumerate(original.slots):
        source = rng.choice(chosen).slots[index]
        in_words = rng.random() < augmentation.names_only
        text = source.name.replace("_", " ") if in_words else source.description
        slots.append(replace(slot, description=text))
    return ServiceText(
        description=rng.choice(chosen).description,
        slots=tuple(slots),
        intents=tuple(
            replace(intent, description=rng.choice(chosen).intents[index].description)
            for index, intent in enumerate(original.intents)
        ),
    )


def _without_unused(service: ServiceText, steps: Sequence[Step], rng: random.Random) -> ServiceText:
    used = {slot for step in steps for slot in (*step.changed, *step.requested)}
    kept = tuple(slot for slot in service.slots if slot.name in used or rng.random() < 0.5)
    return replace(service, slots=kept or service.slots)


def _with_distractors(
    service: ServiceText, track: Track, sources: Sources, rng: random.Random
) -> ServiceText:
    domains = {name.partition("_")[0] for name in track.services}
    foreign = [name for name in sources.schemas if name.partition("_")[0] not in domains]
    other = sources.schemas[rng.choice(foreign)]
    known = {slot.name for slot in service.slots}
    # A place or a time would be a right answer under another name.
    eligible = [
        slot
        for slot in other.slots
        if slot.name not in known and not _COMMON.search(f"{slot.name} {slot.description}".lower())
    ]
    added = rng.sample(eligible, k=min(len(eligible), rng.randint(1, 3)))
    return replace(service, slots=(*service.slots, *added))


def _shuffled(service: ServiceText, rng: random.Random) -> ServiceText:
    slots: list[SlotText] = [
        replace(slot, values=tuple(rng.sample(slot.values, k=len(slot.values))))
        if slot.values
        else slot
        for slot in service.slots
    ]
    intents: list[IntentText] = list(service.intents)
    rng.shuffle(slots)
    rng.shuffle(intents)
    return replace(service, slots=tuple(slots), intents=tuple(intents))


def _renamed(
    steps: Sequence[Step], service: ServiceText, sources: Sources, rng: random.Random
) -> list[Step]:
    """Other names for the names among the values, the same in all texts and states."""
    listed = {slot.name for slot in service.slots if slot.values}
    exchanged: dict[str, str] = {}
    for step in steps:
        for slot, values in step.changed.items():
            pool = sources.names.get(slot, ())
            for value in values or ():
                if slot in listed or value in exchanged or not pool or not _is_name(value):
                    continue
                drawn = rng.choice(pool) if rng.random() < 0.6 else _invented(rng)
                if drawn not in exchanged.values():
                    exchanged[value] = drawn
    if not exchanged:
        return list(steps)
    pattern = re.compile(
        r"(?<!\w)(?:"
        + "|".join(re.escape(value) for value in sorted(exchanged, key=len, reverse=True))
        + r")(?!\w)"
    )

    def changed(text: str) -> str:
        return pattern.sub(lambda found: exchanged[found[0]], text)

    renamed = [_mapped(step, changed, keep=listed) for step in steps]
    return renamed if _spans_hold(renamed, listed) else list(steps)


def _lowered(steps: Sequence[Step], service: ServiceText) -> list[Step]:
    listed = {slot.name for slot in service.slots if slot.values}
    return [_mapped(step, str.lower, keep=listed) for step in steps]


def _mapped(step: Step, change: Callable[[str], str], *, keep: set[str]) -> Step:
    def values(slot: str, given: tuple[str, ...]) -> tuple[str, ...]:
        if slot in keep:
            return given
        return tuple(value if value == DONT_CARE else change(value) for value in given)

    return replace(
        step,
        turns=tuple(Turn(agent=change(t.agent), user=change(t.user)) for t in step.turns),
        changed={s: None if v is None else values(s, v) for s, v in step.changed.items()},
        state={s: values(s, v) for s, v in step.state.items()},
    )


def _spans_hold(steps: Sequence[Step], listed: set[str]) -> bool:
    """Whether every free value still stands in the dialogue."""
    text = ""
    for step in steps:
        text += user_message(step.turns) + "\n"
        for slot, values in step.changed.items():
            free = slot not in listed and values is not None and values[0] != DONT_CARE
            if free and not any(value in text for value in values or ()):
                return False
    return True


def _asked_always(steps: Sequence[Step]) -> list[Step]:
    """A step of its own for each turn; where the service had no frame, nothing changes."""
    asked: list[Step] = []
    state: Mapping[str, tuple[str, ...]] = {}
    for step in steps:
        asked.extend(
            Step(turns=(turn,), intent="", requested=(), changed={}, state=state)
            for turn in step.turns[:-1]
        )
        asked.append(replace(step, turns=step.turns[-1:]))
        state = step.state
    return asked


def _written(
    service: ServiceText, steps: Sequence[Step], corrupt: float, rng: random.Random
) -> tuple[list[str], list[int]]:
    """The model's lines; a corrupted one has weight 0 and is repaired by the next one.

    What a line must say is the difference between the right state and the one believed so far, so
    the model learns to mend what it missed.
    """
    believed: dict[str, str] = {}
    lines, weights = [], []
    for step in steps:
        text = user_message(step.turns)
        right = {name: values[0] for name, values in step.state.items()}
        repairs: dict[str, str | None] = {
            name: value
            for name, value in right.items()
            if believed.get(name) not in step.state[name] and name not in step.changed
        }
        wrong = {name: None for name in believed if name not in right and name not in step.changed}
        said = sorted(step.change.values.items(), key=lambda item: _place(text, item[1]))
        due = Change(
            intent=step.intent,
            values={**repairs, **wrong, **dict(said)},
            requested=step.requested,
        )
        made = _corrupted(due, service, rng) if due.values and rng.random() < corrupt else due
        believed = apply(believed, made)
        lines.append(write_change(service, made))
        weights.append(int(made is due))
    if weights and not any(weights):
        return _written(service, steps, 0.0, rng)
    return lines, weights


def _corrupted(change: Change, service: ServiceText, rng: random.Random) -> Change:
    """One value is lost, or stands under another slot."""
    values = dict(change.values)
    lost = rng.choice(list(values))
    value = values.pop(lost)
    others = [slot.name for slot in service.slots if not slot.values and slot.name not in values]
    if value is not None and others and not service.slot(lost).values and rng.random() < 0.4:
        values[rng.choice(others)] = value
    return replace(change, values=values)


def _place(text: str, value: str | None) -> int:
    """Where the value stands last, for the order in which it is written; at the end if nowhere."""
    found = -1 if value is None else text.rfind(value)
    return found if found >= 0 else len(text)


# Slots that exist in every trade: as distractors they would be answers.
_COMMON = re.compile(
    r"date|time|day|city|location|place|address|where|area|number of|name|phone|price|cost|amount"
)
_WORD = re.compile(r"[A-Za-z]{3,}")
_SYLLABLES = (
    "ba be bi bo da de do fa fi ga go ha he ka ki ko la le li lo ma me mi mo na ne no pa pe po ra "
    "re ri ro sa se si so ta te ti to va ve vi wa we za zo"
).split()
_ENDINGS = "n r s l nd rt th m x ck ld".split()
_TAILS = (
    "Street;Avenue;Park;House;Hall;Center;Road;Group;Garden;Bay;Hills;Club;Theatre;Project;Blues;"
    "Brothers;Kitchen;Plaza"
).split(";")


def _is_name(value: str) -> bool:
    """Capitalised words without figures: a person, place, title; not a time, date or count."""
    return (
        len(value) >= 4
        and value[0].isupper()
        and not any(character.isdigit() for character in value)
        and _WORD.search(value) is not None
        and value != DONT_CARE
        and not re.search(r"(day|morning|evening|noon|night)\b", value, re.I)
    )


def _invented(rng: random.Random) -> str:
    def word() -> str:
        made = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3)))
        return (made + rng.choice(("", "", rng.choice(_ENDINGS)))).capitalize()

    words = [word() for _ in range(rng.choice((1, 2, 2)))]
    if rng.random() < 0.3:
        words.append(rng.choice(_TAILS))
    return " ".join(words)
