"""What the assistant does next: ask, verify, confirm, act, answer in between, give up.

Pure functions from a state to a state whose `move` says what is to be done; `replies.py` does it.
The rules in short:

- one question at a time, and none before a wish that the same message brought is taken up;
- a new wish interrupts; the interrupted task waits with its values and is taken up afterwards (one of
  another service is parked with all that is known there, see `routing.py`);
- a question in between is answered from the documents and leaves everything as it was;
- a change is done only after a yes to exactly the values that were shown;
- after two failed attempts a person is offered; asking for one gets one.
"""

import copy
import datetime
from dataclasses import dataclass, field, replace
from typing import Any

from apps.customer_service.schema import DONT_CARE, PLACEHOLDER, Intent, Reply, Service, Slot
from apps.customer_service.tracker import Reading, State, apply, lookup_slots, set_value
from apps.customer_service.values import choices_of, find

VERIFY_BELOW = 0.6
"""A value less sure than this is verified before it is used."""
MOST_ATTEMPTS = 2
MOST_WAITING = 3
Notes = list[dict[str, str]]
"""What is said before the move: that a task was interrupted, cancelled, taken up again …"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a call of the action ended.

    `kind`: ok; refused (the service said no, `code` says why); unavailable (nothing was done);
    uncertain (a change was sent and no answer came); wrong (the answer can't be believed).
    """

    kind: str
    code: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def advance(service: Service, state: State, reading: Reading, *, turn: int, text: str) -> State:
    """The state after the message that `reading` describes, with the next move in it."""
    state = copy.deepcopy(state)
    acts, asked = reading.acts, state["asked"]
    if acts.person:
        return _move(state, "hand_over", reason="asked")
    if acts.restarts:
        state |= {"intent": "", "slots": {}, "options": {}, "waiting": [], "parked": []}
        state["attempts"] = 0
        return _move(state, "menu", notes=[{"note": "restarted"}])
    if acts.cancels or reading.cancels_task:
        return _cancel(service, state, everything=acts.cancels_all)
    if asked == "person" and (acts.affirms or acts.denies):
        if acts.affirms:
            return _move(state, "hand_over", reason="stuck")
        state["asked"], state["attempts"] = "", 0
        return next_step(service, state)
    wishes = [name for name in reading.intents if service.intent(name).action]
    notes = _begin(service, state, wishes, text, turn)
    state = _file_values(service, state, reading, turn)
    questions = (
        reading.asks_beside
        or len(wishes) < len(reading.intents)
        or (acts.asks and not reading.says_something)
    )
    if wishes or (state["intent"] and reading.changes_values):
        state["attempts"] = 0
        if asked == "retry":
            state["key"] = ""
        following = next_step(service, state, notes)
        following["move"]["documents_too"] = questions
        return following
    if questions and asked != "retry":
        return _move(state, "documents")
    if asked == "retry":
        return _after_retry_question(service, state, reading)
    if asked.startswith("verify:") and (acts.affirms or acts.denies):
        return _after_verification(service, state, asked.removeprefix("verify:"), acts.affirms)
    if asked == "confirm" and acts.affirms and state["proposal"]:
        return _move(state, "act")
    if asked == "confirm" and acts.denies:
        state["asked"], state["proposal"] = "change", None
        return _move(state, "ask_change")
    if not state["intent"]:
        return _without_task(service, state, reading)
    if acts.lacks:
        state["asked"] = "person"
        return _move(state, "offer_person", reason="lacks")
    if acts.greets or acts.thanks or (acts.affirms and asked in ("", "change")):
        return next_step(service, state)
    return _not_understood(service, state)


def take_up(service: Service, state: State, notes: Notes) -> State:
    """Go on with a task that was parked, at the question that was open."""
    if state["asked"] == "retry":
        # It may have been done: asked anew, with a new key, it could be done twice.
        return _move(copy.deepcopy(state), "offer_retry", notes)
    return next_step(service, state, notes)


def next_step(service: Service, state: State, notes: Notes | None = None) -> State:
    """What the current task needs next; when there is none, what waits is taken up."""
    state, notes = copy.deepcopy(state), list(notes or ())
    if not state["intent"]:
        if not state["waiting"]:
            return _move(state, "come_back" if state["parked"] else "anything_else", notes)
        _resume(service, state, notes)
    intent = service.intent(state["intent"])
    for name in intent.slots:
        if _must_verify(service, state, intent, name):
            state["asked"] = f"verify:{name}"
            return _move(state, "verify", notes, slot=name)
    for name in intent.required:
        if name in state["slots"]:
            continue
        slot = service.slot(name)
        if _must_look_up(service, state, slot):
            state["asked"] = ""
            return _move(state, "look_up", notes, slot=name)
        state["asked"] = name
        return _move(state, "ask", notes, slot=name)
    if intent.confirm:
        state["proposal"] = {"intent": intent.name, "arguments": arguments(intent, state)}
        state["asked"], state["key"] = "confirm", ""
        return _move(state, "propose", notes)
    state["asked"] = ""
    return _move(state, "act", notes)


def _must_verify(service: Service, state: State, intent: Intent, name: str) -> bool:
    """A value that isn't sure; or the model's alone, unless the person confirms it with the rest."""
    entry = state["slots"].get(name)
    if entry is None:
        return False
    if entry["confidence"] < VERIFY_BELOW:
        return True
    if entry["source"] != "model":
        return False
    used_before = {
        needed for slot in intent.slots for needed in lookup_slots(service, service.slot(slot))
    }
    return not intent.confirm or name in used_before


def after_look_up(service: Service, state: State, slot_name: str, outcome: Outcome) -> State:
    """The state when the list of a slot's values has been asked for."""
    state = copy.deepcopy(state)
    slot = service.slot(slot_name)
    source = slot.values_from
    assert source is not None
    if outcome.kind != "ok":
        return after_action(service, state, service.intent(source.intent), outcome)
    _show_list(state, slot.name, outcome.data.get(source.items), source.value, source.title)
    choices = choices_of(slot, state["options"].get(slot.name, ()))
    if not choices:
        state["asked"] = "person"
        return _move(state, "offer_person", reason="nothing_to_choose")
    no_day = datetime.date.min
    hits = find(slot, state["heard"], today=no_day, choices=choices, asked=False)
    if len({hit.value for hit in hits}) == 1:
        hit = hits[0]
        set_value(
            service, state, slot, hit.value,
            confidence=hit.confidence, turn=state["heard_in"], source="said",
        )  # fmt: skip
    elif len(choices) == 1 and service.intent(state["intent"]).confirm:
        # The only one there is; the person confirms it with the rest.
        set_value(
            service, state, slot, choices[0].value, confidence=0.9, turn=None, source="only choice"
        )
    return next_step(service, state)


def after_action(service: Service, state: State, intent: Intent, outcome: Outcome) -> State:
    """The state when the action of `intent` has been called."""
    state = copy.deepcopy(state)
    action = intent.action
    assert action is not None
    state["asked"] = ""
    if outcome.kind not in ("unavailable", "uncertain"):
        state["proposal"], state["key"] = None, ""
    if outcome.kind == "ok":
        if listing := action.listing:
            items = outcome.data.get(listing.items)
            _show_list(state, listing.slot, items, listing.value, listing.title)
        _finish(service, state)
        return next_step(service, state)
    if outcome.kind == "refused":
        reply = reply_to(intent, outcome)
        return _after_refusal(service, state, reply)
    if outcome.kind == "wrong":
        state["asked"] = "person"
        return _move(state, "offer_person", reason="wrong_answer")
    state["attempts"] += 1
    if state["attempts"] > MOST_ATTEMPTS:
        state["asked"] = "person"
        return _move(state, "offer_person", reason="unavailable")
    state["asked"] = "retry"
    return _move(state, "offer_retry")


def reply_to(intent: Intent, outcome: Outcome) -> Reply | None:
    """What the definition says on this outcome; None when it says nothing."""
    assert intent.action is not None
    return intent.action.replies.get(outcome.code or outcome.kind)


def arguments(intent: Intent, state: State) -> dict[str, Any]:
    """What the action is called with and the summary shows: exactly the values in the state."""
    assert intent.action is not None
    named = dict.fromkeys((*intent.action.slots(), *PLACEHOLDER.findall(intent.summary)))
    values = {name: state["slots"][name]["value"] for name in named if name in state["slots"]}
    return {name: value for name, value in values.items() if value != DONT_CARE}


def note(what: str, service: Service, intent: str) -> dict[str, str]:
    """Something to be said of a task, which may be one of another service by then."""
    return {"note": what, "title": service.intent(intent).title}


def _move(state: State, kind: str, notes: Notes | None = None, **details: Any) -> State:
    state["move"] = {"kind": kind, "notes": notes or [], **details}
    if kind in ("hand_over", "menu", "anything_else", "thanks", "goodbye"):
        state["asked"], state["offered"] = "", []
    return state


def _begin(service: Service, state: State, wishes: list[str], text: str, turn: int) -> Notes:
    """Make the first wish the current task; what was being done and the other wishes wait."""
    notes: Notes = []
    if not wishes:
        return notes
    if state["intent"]:
        notes.append(note("interrupted", service, state["intent"]))
        state["waiting"].insert(0, {**_suspend(service, state), "since": turn})
    first, *others = wishes
    waiting = {task["intent"]: task for task in reversed(state["waiting"])}
    state["waiting"] = [task for task in state["waiting"] if task["intent"] not in wishes]
    state["waiting"][:0] = [
        waiting.get(
            name, {"intent": name, "slots": {}, "options": {}, "heard": text, "heard_in": turn}
        )
        for name in others
    ]
    del state["waiting"][MOST_WAITING:]
    notes += [note("queued", service, name) for name in others]
    if first in waiting:
        _restore(state, waiting[first])
    state |= {"intent": first, "heard": text, "heard_in": turn, "asked": "", "proposal": None}
    state |= {"key": "", "attempts": 0, "offered": []}
    return notes


def _file_values(service: Service, state: State, reading: Reading, turn: int) -> State:
    """Each value goes to the current task, or to the waiting one that has such a slot."""
    mine = set(service.intent(state["intent"]).slots) if state["intent"] else set()
    here = [found for found in reading.found if found.slot in mine or service.slot(found.slot).keep]
    state = apply(service, state, replace(reading, found=tuple(here)), turn=turn)
    for found in reading.found:
        if found in here:
            continue
        for task in state["waiting"]:
            if found.slot in service.intent(task["intent"]).slots:
                elsewhere = {**state, "slots": task["slots"], "options": task["options"]}
                set_value(
                    service, elsewhere, service.slot(found.slot), found.value,
                    confidence=found.confidence, turn=turn, source=found.source,
                )  # fmt: skip
                break
    return state


def _suspend(service: Service, state: State) -> dict[str, Any]:
    """The current task as it stands, taken out of the state.

    What holds for the whole conversation is remembered with the task and stays as well: the
    interruption may be about another order.
    """
    names = [name for name in service.intent(state["intent"]).slots if name in state["slots"]]
    task = {
        "intent": state["intent"],
        "slots": {name: state["slots"][name] for name in names},
        "options": state["options"],
        "heard": state["heard"],
        "heard_in": state["heard_in"],
    }
    _finish(service, state)
    state["options"] = {}
    return copy.deepcopy(task)


def _restore(state: State, task: dict[str, Any]) -> None:
    state["slots"] = {**state["slots"], **task["slots"]}
    state["options"] = {**state["options"], **task["options"]}


UNSURE_WHETHER_MEANT = 0.5
"""Confidence in a value that was given for another task in between."""


def _resume(service: Service, state: State, notes: Notes) -> None:
    task = state["waiting"].pop(0)
    for entry in state["slots"].values():
        # "Where is my other order?" names an order, but perhaps not the one of this task.
        if "since" in task and (entry["turn"] or 0) >= task["since"]:
            entry["confidence"] = min(entry["confidence"], UNSURE_WHETHER_MEANT)
    _restore(state, task)
    state |= {"intent": task["intent"], "heard": task["heard"], "heard_in": task["heard_in"]}
    state |= {"attempts": 0, "proposal": None, "key": ""}
    notes.append(note("resumed", service, task["intent"]))


def _finish(service: Service, state: State) -> None:
    """Drop the task with the values that were given for it alone."""
    state["slots"] = {
        name: entry for name, entry in state["slots"].items() if service.slot(name).keep
    }
    state |= {"intent": "", "heard": "", "heard_in": None, "asked": "", "proposal": None}
    state |= {"key": "", "attempts": 0}


def _cancel(service: Service, state: State, *, everything: bool) -> State:
    if not state["intent"] and not state["parked"]:
        state["waiting"] = []
        return _move(state, "anything_else")
    notes = [note("cancelled", service, state["intent"])] if state["intent"] else []
    _finish(service, state)
    if everything:
        notes += [note("cancelled", service, task["intent"]) for task in state["waiting"]]
        notes += [{"note": "cancelled", "title": parked["title"]} for parked in state["parked"]]
        state["waiting"], state["parked"] = [], []
    return next_step(service, state, notes)


def _after_retry_question(service: Service, state: State, reading: Reading) -> State:
    acts = reading.acts
    if acts.affirms or acts.retries:
        # The same key goes with it, so that a change is done once however often it is sent.
        return _move(state, "act") if state["proposal"] else next_step(service, state)
    if acts.denies:
        state["asked"] = "person"
        return _move(state, "offer_person", reason="unavailable")
    return _not_understood(service, state)


def _after_verification(service: Service, state: State, slot: str, affirmed: bool) -> State:
    if affirmed and slot in state["slots"]:
        state["slots"][slot] |= {"confidence": 1.0, "source": "confirmed"}
    else:
        state["slots"].pop(slot, None)
    return next_step(service, state)


def _after_refusal(service: Service, state: State, reply: Reply | None) -> State:
    again = [name for name in (reply.ask_again if reply else ()) if name in state["slots"]]
    if reply is None or reply.offer_person or (again and state["attempts"] + 1 >= MOST_ATTEMPTS):
        state["asked"] = "person"
        return _move(state, "offer_person", reason="refused")
    if not again:
        _finish(service, state)
        return next_step(service, state)
    for name in again:
        state["slots"].pop(name, None)
        for slot in service.slots:
            if name in lookup_slots(service, slot):
                state["slots"].pop(slot.name, None)
                state["options"].pop(slot.name, None)
    state["attempts"] += 1
    return next_step(service, state)


def _without_task(service: Service, state: State, reading: Reading) -> State:
    acts = reading.acts
    if acts.leaves or acts.denies:
        return _move(state, "goodbye")
    if acts.thanks:
        return _move(state, "thanks")
    if acts.greets or acts.affirms:
        return _move(state, "menu")
    given = [found.slot for found in reading.found]
    offered = list(reading.guesses)
    if given:
        offered = [i.name for i in service.intents if i.action and set(given) & set(i.slots)]
    if not given:
        state["attempts"] += 1
    if state["attempts"] >= MOST_ATTEMPTS:
        state["asked"] = "person"
        return _move(state, "unclear", offers_person=True)
    state["asked"], state["offered"] = "intent", offered
    return _move(state, "clarify" if given else "unclear")


def _not_understood(service: Service, state: State) -> State:
    state["attempts"] += 1
    if state["attempts"] >= MOST_ATTEMPTS:
        state["asked"] = "person"
        return _move(state, "offer_person", reason="stuck")
    attempts, asked = state["attempts"], state["asked"]
    if asked == "change":
        return _move(state, "ask_change")
    if asked == "retry":
        return _move(state, "offer_retry")
    following = next_step(service, state, [{"note": "not_understood"}])
    following["attempts"] = attempts
    return following


def _must_look_up(service: Service, state: State, slot: Slot) -> bool:
    return (
        slot.values_from is not None
        and slot.name not in state["options"]
        and all(name in state["slots"] for name in lookup_slots(service, slot))
    )


def _show_list(state: State, slot: str, items: object, value: str, title: str) -> None:
    """Remember the list that is shown now, so that "the second one" means something."""
    state["options"][slot] = [
        {"value": str(item[value]), "title": str(item[title])}
        for item in (items if isinstance(items, list) else [])[:20]
        if isinstance(item, dict) and value in item and title in item
    ]
