"""The dialogue state after each message of the person, read by rules from the service's schema.

The state is JSON. `read` says what a message contains, `apply` writes it into the state; neither
knows what the service is about. An answer that the rules can't read may be read by its meaning
(`meaning.py`); the language model reads beside the rules (`model_tracker.py`).
"""

import copy
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.customer_service.phrases import (
    Acts,
    clean,
    content_words,
    read_acts,
    telling_words,
    without_lead_in,
    words,
)
from apps.customer_service.schema import DONT_CARE, Service, Slot
from apps.customer_service.values import (
    LONGEST_ANSWER,
    Choice,
    Found,
    SlotValue,
    as_whole,
    choices_of,
    denied,
    find,
    fits,
    spoken_names,
    title_of,
)

State = dict[str, Any]
EXACT = 0.75
"""From this confidence on, a value stands in the text as it is listed."""
LONGEST_WISH = 600
"""Of a longer message, the first characters are asked for what the person wants."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What a text may want, best first, with scores from 0 to 1."""

    scored: tuple[tuple[str, float], ...] = ()
    decided: str = ""
    """The intent, when the classifier is sure of it."""
    strong: bool = False
    """Sure enough to leave what is being done for it."""
    scope: float = 0.0
    """The score below which a text speaks of none of them."""
    confidence: float | None = None
    """The calibrated probability of the first; None where only words were compared."""

    def best(self, count: int) -> tuple[str, ...]:
        return tuple(name for name, _score in self.scored[:count])


Recognise = Callable[[str, frozenset[str]], Ranking]
"""`recognise(text, evidence)`; the evidence names intents of whose slots the text gives values."""
ReadMore = Callable[[Slot, str, Sequence[Choice]], Sequence[Found]]
"""`read_more(slot, text, choices)`: what an answer that the rules can't read means for the slot."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one message contains."""

    acts: Acts
    found: tuple[Found, ...] = ()
    removed: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    """What the person now wants in addition to what is being done."""
    guesses: tuple[str, ...] = ()
    """What they may want, when that isn't sure."""
    cancels_task: bool = False
    """Names the task in order to stop it."""
    asks_beside: bool = False
    """Part of the message is a question that no task answers, about another service."""

    @property
    def changes_values(self) -> bool:
        return bool(self.found or self.removed)

    @property
    def says_something(self) -> bool:
        return bool(self.changes_values or self.intents)


def empty_state() -> State:
    return {
        "definition": None,
        "intent": "",
        "intent_confidence": None,
        "slots": {},
        "options": {},
        "waiting": [],
        "parked": [],
        "asked": "",
        "offered": [],
        "attempts": 0,
        "heard": "",
        "heard_in": None,
        "proposal": None,
        "key": "",
        "reader": None,
        "move": {"kind": "none", "notes": []},
    }


def read(
    service: Service,
    state: State,
    text: str,
    *,
    today: datetime.date,
    recognise: Recognise,
    read_more: ReadMore | None = None,
) -> Reading:
    text = clean(text)
    acts = read_acts(text)
    if acts.person or acts.restarts or (state["asked"] and (acts.affirms or acts.denies)):
        return Reading(acts=acts)
    if _cancels_task(service, state, text):
        return Reading(acts=acts, cancels_task=True)
    if chosen := offered_intent(service, state, text):
        return Reading(acts=acts, intents=(chosen,))
    asked = _asked_slot(service, state)
    near = _find_all(service, state, text, _slots_in_play(service, state, ()), today, acts)
    if asked is not None and acts.lacks and not near:
        return Reading(acts=acts)
    wishes, guesses = _wishes(service, state, text, acts, near, asked, recognise, today)
    wishes = wishes or _question_about_another(service, state, acts, near, guesses)
    wanted = _wanted_slots(service, wishes)
    found = (
        near
        if not wanted
        else _find_all(service, state, text, _slots_in_play(service, state, wishes), today, acts)
    )
    if wishes and not any(service.intent(wish).action for wish in wishes):
        # A question about refunds is no wish for one.
        found = tuple(one for one in found if service.slot(one.slot).keep)
    found = _with_groups(service, state, found)
    removed = _removed(service, state, text, found)
    if asked is not None and not removed and not any(one.slot == asked.name for one in found):
        found = (*found, *_whole_answer(service, state, asked, text, acts, found, wishes))
    if read_more and asked is not None and _unread(state, acts, found, removed, wishes):
        choices = choices_of(asked, state["options"].get(asked.name, ()))
        found = tuple(read_more(asked, text, choices))
    return Reading(acts=acts, found=tuple(found), removed=removed, intents=wishes, guesses=guesses)


def apply(
    service: Service,
    state: State,
    reading: Reading,
    *,
    turn: int,
) -> State:
    """The state with the message's values in it; what depended on a changed value is gone."""
    state = copy.deepcopy(state)
    for name in reading.removed:
        state["slots"].pop(name, None)
        _forget_dependents(service, state, name, keep=())
    given = {found.slot for found in reading.found}
    for found in reading.found:
        slot = service.slot(found.slot)
        before = state["slots"].get(slot.name)
        if before is None or before["value"] != found.value:
            _forget_dependents(service, state, slot.name, keep=given)
        set_value(
            service,
            state,
            slot,
            found.value,
            confidence=found.confidence,
            turn=turn,
            source=found.source,
        )
    return state


def set_value(
    service: Service,
    state: State,
    slot: Slot,
    value: SlotValue,
    *,
    confidence: float,
    turn: int | None,
    source: str,
) -> None:
    """Write one value into the state, with how it is shown and where it came from."""
    choices = choices_of(slot, state["options"].get(slot.name, ()))
    state["slots"][slot.name] = {
        "value": value,
        "title": "" if value == DONT_CARE else title_of(slot, value, choices),
        "confidence": round(confidence, 3),
        "turn": turn,
        "source": source,
    }


def change_by_hand(service: Service, state: State, slot: Slot, value: SlotValue | None) -> State:
    """The state after the person corrected one value beside the chat; None empties the slot.

    What was about to be done with the old value has to be confirmed anew.
    """
    state = copy.deepcopy(state)
    _forget_dependents(service, state, slot.name, keep=())
    if value is None:
        state["slots"].pop(slot.name, None)
    else:
        set_value(service, state, slot, value, confidence=1.0, turn=None, source="corrected")
    if state["asked"] in ("confirm", slot.name, f"verify:{slot.name}", "retry"):
        state["asked"] = ""
    state["proposal"] = None
    state["key"] = ""
    return state


def change_intent_by_hand(service: Service, state: State, name: str) -> State:
    """The state after the person said what they want, "" for nothing of this service.

    Values that the chosen task doesn't need are gone, as is what was about to be done.
    """
    state = copy.deepcopy(state)
    needed = set(service.intent(name).slots) if name else set()
    needed |= {slot.name for slot in service.slots if slot.keep}
    for part in ("slots", "options"):
        state[part] = {key: entry for key, entry in state[part].items() if key in needed}
    state |= {"intent": name, "intent_confidence": 1.0 if name else None}
    return state | {"asked": "", "offered": [], "attempts": 0, "proposal": None, "key": ""}


def value_of(state: State, slot: str) -> SlotValue | None:
    entry = state["slots"].get(slot)
    return None if entry is None else entry["value"]


def lookup_slots(service: Service, slot: Slot) -> tuple[str, ...]:
    """The slots whose values the list of this slot's values depends on."""
    if slot.values_from is None:
        return ()
    action = service.intent(slot.values_from.intent).action
    return () if action is None else action.slots()


def _forget_dependents(
    service: Service, state: State, name: str, *, keep: Sequence[str] | set[str]
) -> None:
    for slot in service.slots:
        if name in lookup_slots(service, slot):
            state["options"].pop(slot.name, None)
            if slot.name not in keep:
                state["slots"].pop(slot.name, None)


def _asked_slot(service: Service, state: State) -> Slot | None:
    name = state["asked"].removeprefix("verify:")
    return next((slot for slot in service.slots if slot.name == name), None)


def offered_intent(service: Service, state: State, text: str) -> str:
    """The answer to "which of these would you like?", by number or by name."""
    if state["asked"] != "intent":
        return ""
    slot = Slot(name="intent", title="", description="", kind="categorical", question="")
    choices = [
        Choice(value=name, title=service.intent(name).title)
        for name in state["offered"]
        if service.has_intent(name)
    ]
    hits = find(slot, text, today=datetime.date.min, choices=choices, asked=True)
    if len(hits) == 1 and len(words(text)) <= 8:
        return str(hits[0].value)
    return ""


def _cancels_task(service: Service, state: State, text: str) -> bool:
    """ "Cancel the return": the words after the verb are those of the current change."""
    match = re.fullmatch(
        r"(?:please |no |ok |actually |sorry |i want to |i'd like to |can you )*"
        r"(?:cancel|stop|abort|forget|drop|scrap)\b(?P<what>[\w ]{1,40})\W*",
        text.lower(),
    )
    if match is None or not state["intent"]:
        return False
    intent = service.intent(state["intent"])
    named = content_words(match["what"])
    return intent.confirm and bool(named) and named <= content_words(intent.title)


def _slots_in_play(service: Service, state: State, wishes: Sequence[str]) -> list[Slot]:
    """The slots that a value in the message may belong to, the likeliest first."""
    asked = state["asked"].removeprefix("verify:")
    names = [asked]
    # What is said with a new wish belongs to that first.
    for intent_name in (*wishes, state["intent"]):
        if intent_name:
            names += service.intent(intent_name).slots
    names += [slot.name for slot in service.slots if slot.keep]
    known = {slot.name: slot for slot in service.slots}
    return [known[name] for name in dict.fromkeys(names) if name in known]


def _question_about_another(
    service: Service, state: State, acts: Acts, found: Sequence[Found], guesses: Sequence[str]
) -> tuple[str, ...]:
    """The likeliest reading intent of "has HP-10430 been sent?" in the middle of a task for HP-10421.

    A question that names another order than the task's is about that order, and corrects nothing.
    """
    if not state["intent"] or not acts.asks or acts.corrects:
        return ()
    others = {
        one.slot
        for one in found
        if service.slot(one.slot).keep
        and one.slot != state["asked"]
        and value_of(state, one.slot) not in (None, one.value)
    }
    for name in guesses:
        intent = service.intent(name)
        reads = intent.action is not None and not intent.action.changes_something
        if others and reads and name != state["intent"] and others <= set(intent.slots):
            return (name,)
    return ()


def _wanted_slots(service: Service, wishes: Sequence[str]) -> set[str]:
    return {name for wish in wishes for name in service.intent(wish).slots}


_FIRST_KINDS = {
    "pattern": 0, "email": 0, "phone": 0, "date": 1, "time": 1, "money": 1, "categorical": 2,
}  # fmt: skip
"""Which kinds get their words first: those whose form is the most particular."""


def _find_all(
    service: Service,
    state: State,
    text: str,
    slots: Sequence[Slot],
    today: datetime.date,
    acts: Acts,
) -> tuple[Found, ...]:
    """At most one value a slot, no two from the same words."""
    asked = state["asked"].removeprefix("verify:")
    order = {slot.name: index for index, slot in enumerate(slots)}

    hits_of = {
        slot.name: [
            hit
            for hit in find(
                slot,
                text,
                today=today,
                choices=choices_of(slot, state["options"].get(slot.name, ())),
                asked=slot.name == asked,
            )
            if not denied(text, hit.start)
        ]
        for slot in slots
    }

    def priority(slot: Slot) -> tuple[bool, int, bool, bool, bool, int, int]:
        entry = state["slots"].get(slot.name)
        # A correction goes to what was said last; anything else to what is still missing.
        return (
            not _named_before_value(slot, text),
            _FIRST_KINDS.get(slot.kind, 3),
            all(hit.confidence < EXACT for hit in hits_of[slot.name]),
            slot.name != asked,
            (entry is None) if acts.corrects else (entry is not None),
            -(entry["turn"] or 0) if entry and acts.corrects else 0,
            order[slot.name],
        )

    taken: list[tuple[int, int]] = []
    chosen: list[Found] = []
    for slot in sorted(slots, key=priority):
        hits = [
            hit
            for hit in (
                _cut(hit, taken) if slot.kind == "text" else hit for hit in hits_of[slot.name]
            )
            if words(hit.text) and all(hit.end <= start or hit.start >= end for start, end in taken)
        ]
        if not hits:
            continue
        hit = hits[-1] if acts.corrects else hits[0]
        if len({other.value for other in hits}) > 1 and not acts.corrects:
            hit = replace(hit, confidence=min(hit.confidence, 0.55))
        taken.append((hit.start, hit.end))
        chosen.append(hit)
    return tuple(sorted(chosen, key=lambda one: one.start))


def _cut(hit: Found, taken: Sequence[tuple[int, int]]) -> Found:
    """A free text up to the first words that are another slot's value: "a lamp (under £50)"."""
    ends = [start for start, _end in taken if hit.start < start < hit.end]
    if not ends:
        return hit
    text = re.sub(
        r"(?:[\s,]+(?:under|below|over|above|for|at|on|by|from|in|of|up to|less than|and|with|the|a"
        r"|my|is|(?:tele)?phone|tel|mobile|number|e-?mail|born))+[\s,:.]*$",
        "",
        hit.text[: min(ends) - hit.start].rstrip(" ,;"),
        flags=re.IGNORECASE,
    )
    return replace(hit, text=text, value=text, end=hit.start + len(text))


def _named_before_value(slot: Slot, text: str) -> bool:
    return any(re.search(as_whole(name), text.lower()) for name in spoken_names(slot))


CLAUSE = re.compile(
    r"[.;!?]\s+|\n+|,?\s+(?:and also|and then|and|also|then|plus|oh and)\s+|[，。；！？]|[,;!?](?=[\u3400-\u9fff])|还有|另外|然后"
)


def _wishes(
    service: Service,
    state: State,
    text: str,
    acts: Acts,
    found: Sequence[Found],
    asked: Slot | None,
    recognise: Recognise,
    today: datetime.date,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The new intents that the message speaks of, and guesses when none is sure."""
    if acts.wordless or acts.greets or acts.leaves or (acts.dont_care and asked is not None):
        return (), ()
    rest = text
    for one in sorted(found, key=lambda one: -one.start):
        rest = rest[: one.start] + " " + rest[one.end :]
    left = telling_words(rest)
    if state["asked"]:
        left -= content_words(" ".join(slot.title for slot in service.slots))
    if not left or (state["asked"] and found and len(left) <= 2 and not acts.asks):
        return (), ()
    masked = _masked(service, text, found)[:LONGEST_WISH]
    whole = recognise(masked, evidence_in(service, masked, today))
    clauses = [part.strip() for part in CLAUSE.split(masked) if part and len(words(part)) >= 3]
    wishes: list[str] = []
    if len(clauses) > 1:
        for clause in clauses[:6]:
            ranking = recognise(clause, evidence_in(service, clause, today))
            if ranking.decided and ranking.strong and ranking.decided not in wishes:
                wishes.append(ranking.decided)
    if whole.decided and whole.decided not in wishes and len(wishes) < 2:
        wishes = [whole.decided]
    if state["intent"]:
        # Words of an answer may sound like another wish; only a clear one interrupts.
        interrupts = whole.strong or len(wishes) > 1
        free_text = asked is not None and asked.kind == "text" and not acts.asks
        if not interrupts or (free_text and not STATES_WISH.search(text.lower())):
            wishes = []
        if any(one.slot == state["asked"] for one in found) and not acts.asks and len(left) <= 4:
            wishes = []
    return tuple(wish for wish in wishes if wish != state["intent"]), whole.best(3)


_EMAIL_LEAD_IN = re.compile(
    r"(?:,? ?(?:and|with))? ?(?:(?:my|the|our) )?e-?mail(?: address)?(?: is|:| was)?\W*$",
    re.IGNORECASE,
)


def _masked(service: Service, text: str, found: Sequence[Found]) -> str:
    """The text with an order's number as "order number": the digits tell nothing about a wish."""
    for one in sorted(found, key=lambda one: -one.start):
        slot = service.slot(one.slot)
        before, after = text[: one.start], text[one.end :]
        if slot.kind == "pattern":
            spoken = slot.title.lower()
            if before.lower().rstrip().endswith(spoken.split()[0]):
                before = before.rstrip()[: -len(spoken.split()[0])]
            text = f"{before}{spoken}{after}"
        elif slot.kind == "email":
            text = _EMAIL_LEAD_IN.sub("", before).rstrip(" ,") + after
    return text


def evidence_in(service: Service, text: str, today: datetime.date) -> frozenset[str]:
    """The intents of whose own slots the text gives a value, in so many words.

    Of what holds for the whole conversation only a number of particular form tells something.
    """
    given = {
        slot.name
        for slot in service.slots
        if (not slot.keep or slot.kind == "pattern")
        and slot.values_from is None
        and slot.kind in ("categorical", "text", "pattern", "time", "money")
        and any(
            hit.confidence >= EXACT
            for hit in find(slot, text, today=today, choices=choices_of(slot), asked=False)
        )
    }
    return frozenset(intent.name for intent in service.intents if given & set(intent.slots))


STATES_WISH = re.compile(
    r"\b(?:i (?:want|need|would like|wish|'d like)|i'd like|can (?:i|you)|could (?:i|you)|please|help me"
    r"|let's|how (?:do|can)|where|what|when)\b"
    r"|\b(?:cancel|change|book|move|return|track|check|order|reserve|reschedule|renew|find|send)"
    r" (?:my|our|the|an?|me|us)\b|我想|我要|请|帮我|可以"
)


def _with_groups(service: Service, state: State, found: Sequence[Found]) -> tuple[Found, ...]:
    """A text that was found for the first slot of a group, shared among the group's slots."""
    result: list[Found] = []
    for one in found:
        slot = service.slot(one.slot)
        if slot.kind == "text" and slot.group:
            others = [other for other in found if other is not one]
            result += _split_group(service, state, slot, one, others)
        else:
            result.append(one)
    return tuple(result)


def _split_group(
    service: Service, state: State, slot: Slot, answer: Found, others: Sequence[Found]
) -> list[Found]:
    members = [other for other in service.slots if other.group == slot.group]
    given = {other.slot for other in others}
    free = [
        member
        for member in members[members.index(slot) :]
        if member.kind == "text" and member.name not in given
    ]
    missing = [member for member in free if member is slot or member.name not in state["slots"]]
    value = answer.text
    for other in others:
        value = value.replace(other.text, " ")
    parts = [part.strip(" .") for part in re.split(r"[,，;\n]", value) if part.strip(" .")]
    if not parts:
        return []
    for count in range(min(len(parts), len(missing)), 0, -1):
        # A part too many belongs to the first slot: "Flat 2, 12 Elm Road, Leeds".
        extra = len(parts) - count
        shares = [", ".join(parts[: extra + 1]), *parts[extra + 1 :]]
        if all(fits(member, share) for member, share in zip(missing, shares, strict=False)):
            return [
                replace(answer, slot=member.name, value=share, text=share)
                for member, share in zip(missing, shares, strict=False)
            ]
    return []


def _whole_answer(
    service: Service,
    state: State,
    asked: Slot,
    text: str,
    acts: Acts,
    found: Sequence[Found],
    wishes: Sequence[str],
) -> list[Found]:
    """The message as the answer to the question just asked, where the words may be anything."""
    if acts.dont_care and asked.may_skip:
        return [_answer(asked, DONT_CARE, text, 0.9)]
    if asked.kind != "text" or wishes or acts.wordless or acts.greets or acts.leaves:
        return []
    if acts.dont_care or (acts.asks and not re.search(r"\d", text)):
        return []
    value = without_lead_in(text if asked.group else _without_values(text, found))
    if not words(value) or len(value) > LONGEST_ANSWER or not (asked.group or fits(asked, value)):
        return []
    answer = _answer(asked, value, value, 0.85)
    if asked.group:
        return _split_group(service, state, asked, answer, found)
    return [answer]


_PART = re.compile(r"\s*[,;]\s*|\s+(?:and|but|with)\s+", re.IGNORECASE)


def _without_values(text: str, found: Sequence[Found]) -> str:
    """The text without the parts that give other slots' values: "Jane Miller, born 3 July"."""
    if not found:
        return text
    parts = [part for part in _PART.split(text) if part]
    if len(parts) > 1:
        return ", ".join(part for part in parts if not any(one.text in part for one in found))
    for one in found:
        text = text.replace(one.text, " ")
    return text


def _answer(slot: Slot, value: SlotValue, text: str, confidence: float) -> Found:
    return Found(
        slot=slot.name, value=value, text=text, start=0, end=len(text), confidence=confidence
    )


_WRONG = r"(?:wrong|incorrect|not right|not correct|a mistake|mistyped|不对|错了|写错了)"


def _removed(service: Service, state: State, text: str, found: Sequence[Found]) -> tuple[str, ...]:
    """Filled slots that the message takes back without giving a new value."""
    given = {one.slot for one in found}
    lower = text.lower()
    removed = []
    for name in state["slots"]:
        if name in given or not any(slot.name == name for slot in service.slots):
            continue
        slot = service.slot(name)
        names = [re.escape(slot.title.lower())]
        if slot.kind == "email":
            names.append("e-?mail")
        title = rf"(?:{'|'.join(names)})"
        if re.search(
            rf"\b(?:remove|delete|clear|forget|drop|change|correct|edit|update|fix|different|wrong)"
            rf"\W+(?:(?:the|my|that|this|an?)\W+)?{title}"
            rf"|{title}\W*(?:\w+\W+){{0,3}}?(?:is|was|are)? ?{_WRONG}"
            rf"|(?:删除|去掉|清除|修改|更改)(?:我的)?{title}",
            lower,
        ):
            removed.append(name)
    return tuple(removed)


def _unread(
    state: State,
    acts: Acts,
    found: Sequence[Found],
    removed: Sequence[str],
    wishes: Sequence[str],
) -> bool:
    """The message answers a question, and the rules read nothing from it."""
    return (
        bool(state["intent"])
        and not (found or removed or wishes)
        and not (acts.wordless or acts.asks or acts.greets or acts.leaves or acts.thanks)
    )
