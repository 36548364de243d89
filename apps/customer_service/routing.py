"""One conversation over several services: which of them a message belongs to, and what is parked.

`follow` is a turn of it. Between tasks a message goes to the service whose intents it is nearest to. In
the middle of a task only a clear wish leads away: the task is parked with everything that is known
there, the other service takes over, and afterwards the task goes on at the question that was open. A
message may name wishes of several services; they are taken up one after another. A question about
another service's terms is answered from the documents, and nothing moves.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apps.customer_service.intents import label
from apps.customer_service.phrases import Acts, clean, read_acts, telling_words, words
from apps.customer_service.policy import (
    MOST_WAITING,
    UNSURE_WHETHER_MEANT,
    Notes,
    advance,
    note,
    take_up,
)
from apps.customer_service.schema import Service, Slot
from apps.customer_service.tracker import (
    CLAUSE,
    LONGEST_WISH,
    STATES_WISH,
    Ranking,
    Reading,
    ReadMore,
    State,
    apply,
    empty_state,
    evidence_in,
    offered_intent,
    read,
)
from apps.customer_service.values import choices_of, find

Key = int | str
"""What `state["definition"]` names a service by."""
Rank = Callable[[str, frozenset[str]], Ranking]
Hear = Callable[[Service, State, Reading, str], tuple[Reading, State]]

# In units of the score below which a text speaks of no service at all; chosen on the sentences of the
# simulated customers: what opens a wish leads by 1.6 and more, what answers a question by 2 at most.
NEARER = 0.2
"""By so much another service must lead to take a message between two tasks."""
AWAY = 2.0
"""By so much it must lead to interrupt a task."""
BACK = 1.0
"""By so much it must lead where a task of it was parked."""
CLEAR = 2.2
"""The least score that interrupts."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The services that are offered in a conversation, and what reads a message for them."""

    services: Mapping[Key, Service]
    """Also those that a task in hand began with, when they are offered no longer."""
    today: datetime.date
    rank: Callable[[Key, str, frozenset[str]], Ranking]
    """`rank(service, text, evidence)`: the intents of one service."""
    rank_all: Rank
    """The intents of all services, each called by `intents.label`."""
    read_more: ReadMore | None = None
    hear: Hear | None = None
    """Lets the language model read beside the rules."""

    def read(self, state: State, text: str) -> tuple[Reading, State]:
        key = state["definition"]
        service = self.services[key]
        reading = read(
            service,
            state,
            text,
            today=self.today,
            recognise=lambda part, evidence: self.rank(key, part, evidence),
            read_more=self.read_more,
        )
        return self.hear(service, state, reading, text) if self.hear else (reading, state)


@dataclass(frozen=True)
class Part:
    """Some clauses of a message that belong to one service."""

    service: Key
    text: str
    intent: str = ""
    """What it most likely speaks of, for a service that it leads to."""
    sure: bool = False


def follow(offer: Offer, state: State, text: str, *, number: int) -> State:
    """The state after message `number`, with the next move in it."""
    text = clean(text)
    state, parts = _parts(offer, state, text)
    service = offer.services[state["definition"]]
    own = " ".join(part.text for part in parts if part.service == state["definition"])
    elsewhere = [part for part in parts if part.service != state["definition"]]
    wishes = [part for part in elsewhere if _is_wish(offer, part)]
    reading = Reading(acts=Acts())
    if words(own) or not elsewhere:
        reading, state = offer.read(state, own)
    reading = replace(reading, asks_beside=len(wishes) < len(elsewhere))
    if wishes and _leaves(state, reading):
        return _interrupt(offer, state, reading, wishes, number)
    after = advance(service, state, reading, turn=number, text=own or text)
    return _queue(offer, after, wishes, number)


def is_free(state: State) -> bool:
    """No task is in hand, so the next message may belong to another service."""
    return not (state["intent"] or state["waiting"] or state["parked"] or state["asked"])


def carried_over(state: State, before: Service, after: Service) -> State:
    """A new state for `after` with what holds for the whole conversation in both services alike."""
    known = {slot.name: slot for slot in after.slots if slot.keep}
    slots = {
        name: entry
        for name, entry in state["slots"].items()
        if name in known and before.slot(name).keep and before.slot(name).kind == known[name].kind
        if before.slot(name).pattern == known[name].pattern
    }
    return {**empty_state(), "slots": slots}


def come_back(services: Mapping[Key, Service], state: State) -> State:
    """The state when a service has nothing left to do and the task parked last goes on."""
    task, *rest = state["parked"]
    service = services[task["definition"]]
    known = carried_over(state, services[state["definition"]], service)["slots"]
    meant = {
        name: {**entry, "confidence": min(entry["confidence"], UNSURE_WHETHER_MEANT)}
        for name, entry in known.items()
    }
    following = _unparked(task, rest)
    following["slots"] = {**meant, **following["slots"]}
    return take_up(service, following, [note("resumed", service, task["intent"])])


def _is_wish(offer: Offer, part: Part) -> bool:
    return offer.services[part.service].intent(part.intent).action is not None


def _leaves(state: State, reading: Reading) -> bool:
    """Whether a wish elsewhere comes before what the message says here.

    An answer ("yes, and …") is acted upon first, as is a wish of this service.
    """
    answers = bool(state["asked"]) and (reading.acts.affirms or reading.acts.denies)
    return not (answers or reading.intents)


def _interrupt(
    offer: Offer, state: State, reading: Reading, wishes: Sequence[Part], number: int
) -> State:
    """Park what is in hand, begin the first wish, let the others wait."""
    key = state["definition"]
    service = offer.services[key]
    notes: Notes = []
    if reading.acts.cancels or reading.cancels_task:
        state = advance(service, state, reading, turn=number, text="")
        notes = state["move"]["notes"]
    elif reading.changes_values:
        state = apply(service, state, reading, turn=number)
    if not state["intent"] and state["waiting"]:
        state = take_up(service, state, [])
    parked = list(state["parked"])
    if state["intent"]:
        notes = [*notes, note("interrupted", service, state["intent"])]
        parked.insert(0, _parked(service, state))
    first, *others = wishes
    following = _begin(offer, {**state, "parked": parked}, first, number)
    following["move"]["notes"] = [*notes, *following["move"]["notes"]]
    return _queue(offer, following, others, number)


def _begin(offer: Offer, state: State, wish: Part, number: int) -> State:
    """The state of the wish's service when it takes over; what waits there is gone on with."""
    service = offer.services[wish.service]
    rest = [task for task in state["parked"] if task["definition"] != wish.service]
    task = next((task for task in state["parked"] if task not in rest), None)
    if task is None:
        fresh = carried_over(state, offer.services[state["definition"]], service)
        state = {**fresh, "definition": wish.service, "parked": rest[:MOST_WAITING]}
    else:
        state = _unparked(task, rest)
    retrying = state["asked"] == "retry"
    reading, state = offer.read({**state, "asked": ""}, wish.text)
    if task is not None and not reading.intents:
        known = [note("resumed", service, state["intent"])]
        if retrying and not reading.says_something:
            return take_up(service, {**state, "asked": "retry"}, known)
        return take_up(service, apply(service, state, reading, turn=number), known)
    if task is None and wish.sure and wish.intent not in reading.intents:
        reading = replace(reading, intents=(wish.intent, *reading.intents))
    return advance(service, state, reading, turn=number, text=wish.text)


def _queue(offer: Offer, state: State, wishes: Sequence[Part], number: int) -> State:
    """Let wishes of other services wait behind what is in hand, before what was parked earlier."""
    parked, notes = list(state["parked"]), list(state["move"]["notes"])
    for place, wish in enumerate(wishes):
        begun = _begin(offer, {**state, "parked": []}, replace(wish, sure=True), number)
        service = offer.services[wish.service]
        parked = [task for task in parked if task["definition"] != wish.service]
        parked.insert(place, _parked(service, begun))
        notes.append(note("queued", service, begun["intent"]))
    if not wishes:
        return state
    state = {**state, "parked": parked[:MOST_WAITING]}
    if state["move"]["kind"] == "anything_else":
        state["move"] = {**state["move"], "kind": "come_back"}
    return {**state, "move": {**state["move"], "notes": notes}}


def _parked(service: Service, state: State) -> dict[str, Any]:
    kept = {name: part for name, part in state.items() if name not in ("parked", "move")}
    return {**kept, "title": service.intent(state["intent"]).title}


def _unparked(task: Mapping[str, Any], rest: Sequence[Mapping[str, Any]]) -> State:
    kept = {name: part for name, part in task.items() if name != "title"}
    return {**empty_state(), **kept, "attempts": 0, "parked": list(rest)}


def _parts(offer: Offer, state: State, text: str) -> tuple[State, list[Part]]:
    """The message by services, and the state: of another service if nothing held it here."""
    here = state["definition"]
    acts = read_acts(text)
    if len(offer.services) < 2 or acts.person or acts.wordless or acts.greets or acts.leaves:
        return state, [Part(here, text)]
    if offered_intent(offer.services[here], state, text):
        return state, [Part(here, text)]
    asked = _asked_slot(offer.services[here], state)
    clauses = _clauses(text[:LONGEST_WISH])
    leaders = [
        None if asked and _answers(asked, state, clause, offer.today)
        else _leader(offer, state, clause)
        for clause in clauses
    ]  # fmt: skip
    if is_free(state):
        chosen = next((leader.service for leader in leaders if leader), None)
        if chosen is None:
            chosen = _nearest(offer, here, text[:LONGEST_WISH])
        if chosen != here:
            following = carried_over(state, offer.services[here], offer.services[chosen])
            state, here = {**following, "definition": chosen}, chosen
    parts = [Part(here, "")]
    for clause, leader in zip(clauses, leaders, strict=True):
        last = parts[-1]
        if leader is None or leader.service == last.service:
            # What names no wish of its own belongs to what was said before it.
            parts[-1] = replace(last, text=f"{last.text} {clause}".strip())
        else:
            parts.append(leader)
    if all(part.service == here for part in parts):
        return state, [Part(here, text)]
    return state, [part for part in parts if part.text]


def _clauses(text: str) -> list[str]:
    """The message cut where a wish may end; what is too short to be one stays with what follows."""
    clauses: list[str] = []
    start = 0
    for cut in (*_CUT.finditer(text), None):
        piece = text[start : cut.end() if cut else len(text)]
        if len(words(piece)) >= 2 or cut is None:
            clauses.append(_JOINT.sub("", piece).strip())
            start = cut.end() if cut else len(text)
    if len(clauses) > 1 and len(words(clauses[-1])) < 2:
        clauses[-2:] = [f"{clauses[-2]} {clauses[-1]}".strip()]
    return [clause for clause in clauses if clause] or [text]


_CUT = re.compile(rf"{CLAUSE.pattern}|,\s+")
_JOINT = re.compile(r"[\s,]+(?:and also|and then|and|also|then|plus|oh and)\s*$", re.IGNORECASE)


def _asked_slot(service: Service, state: State) -> Slot | None:
    name = state["asked"].removeprefix("verify:")
    return next((slot for slot in service.slots if slot.name == name), None)


def _answers(slot: Slot, state: State, clause: str, today: datetime.date) -> bool:
    """Whether the clause answers the open question, so that it can't be a wish elsewhere."""
    if STATES_WISH.search(clause.lower()) or read_acts(clause).asks:
        return False
    choices = choices_of(slot, state["options"].get(slot.name, ()))
    return slot.kind == "text" or bool(find(slot, clause, today=today, choices=choices, asked=True))


def _leader(offer: Offer, state: State, text: str) -> Part | None:
    """The text as a part of the service that it clearly speaks of; None where there is none."""
    here, parked = state["definition"], {task["definition"] for task in state["parked"]}
    scope, likeliest = _by_service(offer, text)
    told = telling_words(_without_numbers(offer, _without_phones(offer, text), spoken=False))
    if not likeliest or not told:
        return None
    (score, key), *others = sorted(
        ((intents[0][1], key) for key, intents in likeliest.items()), key=lambda one: -one[0]
    )
    if key != here and not is_free(state):
        others = [one for one in others if one[1] == here]
    rival = others[0][0] if others else 0.0
    away = BACK if key in parked else AWAY
    if score < CLEAR * scope or score - rival < away * scope:
        return None
    (intent, _best), *rest = likeliest[key]
    return Part(key, text, intent, sure=not rest or score - rest[0][1] >= scope)


def _nearest(offer: Offer, here: Key, text: str) -> Key:
    """The service whose intents the message is nearest to; the current one unless another leads."""
    scope, likeliest = _by_service(offer, text)
    scores = {key: intents[0][1] for key, intents in likeliest.items()}
    best = max(scores, key=lambda key: scores[key], default=here)
    return best if scores.get(best, 0.0) > scores.get(here, 0.0) + NEARER * scope else here


def _by_service(offer: Offer, text: str) -> tuple[float, dict[Key, list[tuple[str, float]]]]:
    """The scope's score, and of each service the intents with their scores, likeliest first."""
    text = _without_phones(offer, text)
    evidence = frozenset(
        label(str(key), name)
        for key, service in offer.services.items()
        for name in evidence_in(service, text, offer.today)
    )
    ranking = offer.rank_all(_without_numbers(offer, text, spoken=True), evidence)
    keys = {str(key): key for key in offer.services}
    likeliest: dict[Key, list[tuple[str, float]]] = {}
    for name, score in ranking.scored:
        key, _space, intent = name.partition(" ")
        likeliest.setdefault(keys[key], []).append((intent, score))
    return ranking.scope, likeliest


def _without_phones(offer: Offer, text: str) -> str:
    """Five digits of a telephone number are no order's number."""
    for slot in (slot for service in offer.services.values() for slot in service.slots):
        if slot.kind == "phone":
            for hit in reversed(find(slot, text, today=offer.today, asked=False)):
                text = text[: hit.start] + text[hit.end :]
    return text


def _without_numbers(offer: Offer, text: str, *, spoken: bool) -> str:
    """The text with "order number" for an order's number, or nothing: digits tell of no wish."""
    for slot in (slot for service in offer.services.values() for slot in service.slots):
        if slot.kind != "pattern":
            continue
        title = slot.title.lower()
        for hit in reversed(find(slot, text, today=offer.today, asked=False)):
            before = text[: hit.start].rstrip()
            if spoken and before.lower().endswith(title.split()[0]):
                before = before[: -len(title.split()[0])]
            text = f"{before} {title if spoken else ''}{text[hit.end :]}"
    return re.sub(r"\S+@\S+", "", text)
