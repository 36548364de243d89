"""Carrying out a move and saying it: sentences, cards, proposals, results."""

import datetime
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from apps.customer_service.policy import (
    Notes,
    Outcome,
    after_action,
    after_look_up,
    arguments,
    next_step,
    reply_to,
)
from apps.customer_service.schema import DONT_CARE, Intent, Service, Slot
from apps.customer_service.tracker import State, lookup_slots
from apps.customer_service.values import choices_of
from praxis.assistants.contract import (
    ActionProposed,
    ActionResult,
    Card,
    Event,
    Handoff,
    StateChanged,
    Token,
)
from praxis.assistants.pipeline import difference

MOST_STEPS = 8
"""In one turn: a list that is looked up, an action, and what waited or was parked behind it."""
LONGEST_LIST = 20
Perform = Callable[[Intent, Mapping[str, Any], State], Outcome]
"""`perform(intent, arguments, state)` calls the intent's action."""
ComeBack = Callable[[State], tuple[Service, State]]
"""The service and the state of the task that was parked last; see `routing.come_back`."""


def translate(text: str) -> str:
    """A text of the definition in the person's language, where a translation is installed."""
    return _(text) if text else ""  # gettext("") is the catalogue's header


def plain(value: object) -> str:
    """A value inside a sentence: one line, and nothing in it is markup."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(str(value).split()))


_FIELD = re.compile(r"\{([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)\}")


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The text with its fields filled in; a part in brackets goes when a field of it is unset."""

    def optional(part: re.Match[str]) -> str:
        names = _FIELD.findall(part[1])
        return part[1] if all(_look_up(values, name) != "" for name in names) else ""

    text = re.sub(r"\[([^\[\]]*\{[^\[\]]*)\]", optional, template)
    return _FIELD.sub(lambda name: plain(_look_up(values, name[1])), text)


def _look_up(values: Mapping[str, Any], name: str) -> Any:
    value: Any = values
    for part in name.split("."):
        value = value.get(part, "") if isinstance(value, Mapping) else ""
    return value


def shown(slot: Slot, entry: Mapping[str, Any]) -> str:
    """A slot's value as people read it."""
    value = entry["value"]
    if value == DONT_CARE:
        return _("any")
    if slot.kind == "date":
        return date_format(datetime.date.fromisoformat(str(value)), "DATE_FORMAT")
    if slot.kind == "categorical":
        return translate(entry["title"])
    if slot.kind == "money":
        return f"{value:.2f} {slot.currency}".strip()
    return str(value)


@dataclass
class Performance:
    """One answer in the making: what is said so far, and the state it leads to."""

    service: Service
    state: State
    perform: Perform
    come_back: ComeBack | None = None
    """Needed where several services are offered."""
    said: bool = False

    def events(self) -> Iterator[Event]:
        """Everything the move needs, calls included; ends with the new state if it changed."""
        before = self.state
        for _step in range(MOST_STEPS):
            yield from self._notes(self.state["move"]["notes"])
            kind = self.state["move"]["kind"]
            if kind == "look_up":
                yield from self._look_up()
            elif kind == "act":
                yield from self._act()
            elif kind == "come_back":
                assert self.come_back is not None, (
                    "a task was parked, but only one service is known"
                )
                self.service, self.state = self.come_back(self.state)
            else:
                yield from self._speak(kind)
                break
        if self.state != before:
            yield StateChanged(changes=difference(before, self.state), state=self.state)

    def _say(self, text: str) -> Token:
        token = Token(text=f"\n\n{text}" if self.said else text)
        self.said = True
        return token

    def _notes(self, notes: Notes) -> Iterator[Event]:
        for note in notes:
            title = translate(note.get("title", ""))
            sentences = {
                "interrupted": _("I'll come back to “%(task)s” afterwards.") % {"task": title},
                "queued": _("“%(task)s” comes right after this.") % {"task": title},
                "resumed": _("Back to “%(task)s”.") % {"task": title},
                "cancelled": _("All right, I have stopped “%(task)s”. Nothing was changed.")
                % {"task": title},
                "restarted": _("All right, we start from the beginning."),
                "not_understood": _("Sorry, I could not read an answer from that."),
            }
            yield self._say(sentences[note["note"]])

    def _values(self, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a template may name: slots as they are shown, and fields of an answer.

        A field that repeats a slot is shown like the slot; one that differs is the endpoint's word.
        """
        values: dict[str, Any] = dict(more or {})
        for slot in self.service.slots:
            entry = self.state["slots"].get(slot.name)
            if entry and str(values.get(slot.name, entry["value"])) == str(entry["value"]):
                values[slot.name] = shown(slot, entry)
        return values

    def _look_up(self) -> Iterator[Event]:
        slot = self.service.slot(self.state["move"]["slot"])
        assert slot.values_from is not None
        source = self.service.intent(slot.values_from.intent)
        values = {
            name: self.state["slots"][name]["value"] for name in lookup_slots(self.service, slot)
        }
        outcome = self.perform(source, values, self.state)
        if outcome.kind != "ok":
            yield from self._tell_failure(source, outcome)
        self.state = after_look_up(self.service, self.state, slot.name, outcome)

    def _act(self) -> Iterator[Event]:
        intent = self.service.intent(self.state["intent"])
        values = arguments(intent, self.state)
        proposal = self.state["proposal"]
        if intent.confirm and (proposal is None or proposal["arguments"] != values):
            # The values are not those that the person said yes to.
            self.state = next_step(self.service, self.state)
            return
        assert intent.action is not None
        outcome = self.perform(intent, values, self.state)
        if outcome.kind == "ok":
            text = fill(
                translate(intent.action.replies["ok"].text),
                self._values(_translated(outcome.data)),
            )
            yield self._say(text)
            if intent.action.card:
                yield Card(
                    type=intent.action.card,
                    title=translate(intent.title),
                    data=_card_data(intent.action.card, outcome.data),
                )
            yield ActionResult(name=intent.name, ok=True, summary=text, data=_trimmed(outcome.data))
        else:
            yield from self._tell_failure(intent, outcome)
        self.state = after_action(self.service, self.state, intent, outcome)

    def _tell_failure(self, intent: Intent, outcome: Outcome) -> Iterator[Event]:
        reply = reply_to(intent, outcome) if outcome.kind == "refused" else None
        if reply is not None:
            text = fill(translate(reply.text), self._values(_translated(outcome.data)))
        else:
            text = {
                "refused": _("The service refused this, and I don't know why."),
                "unavailable": _("The service behind this does not answer at the moment."),
                "uncertain": _(
                    "I sent it, but no answer came back, so I don't know whether it was done."
                ),
                "wrong": _(
                    "The service gave an answer that does not fit the question, so I don't trust it."
                ),
            }[outcome.kind]
        yield self._say(text)
        yield ActionResult(name=intent.name, ok=False, summary=text, data={"kind": outcome.kind})

    def _speak(self, kind: str) -> Iterator[Event]:
        move = self.state["move"]
        if kind == "hand_over":
            reason = (
                _("The person asked for a human.")
                if move["reason"] == "asked"
                else _("The assistant was stuck and the person accepted the offer.")
            )
            yield self._say(
                _("I'm handing you over to a person. They see this conversation and answer here.")
            )
            yield Handoff(reason=reason)
        elif kind == "propose":
            intent = self.service.intent(self.state["intent"])
            summary = fill(translate(intent.summary), self._values())
            yield self._say(
                _("Shall I do this? %(summary)s\n\nPlease answer yes or no.") % {"summary": summary}
            )
            yield ActionProposed(
                name=intent.name, summary=summary, arguments=self.state["proposal"]["arguments"]
            )
        elif kind == "ask":
            yield self._say(self._question(self.service.slot(move["slot"])))
        else:
            yield self._say(self._sentence(kind))

    def _question(self, slot: Slot) -> str:
        question = translate(slot.question)
        choices = choices_of(slot, self.state["options"].get(slot.name, ()))
        if not choices:
            return question
        return question + "\n\n" + _numbered([translate(choice.title) for choice in choices])

    def _sentence(self, kind: str) -> str:
        move = self.state["move"]
        if kind == "verify":
            slot = self.service.slot(move["slot"])
            return _("Did I get this right: %(slot)s is %(value)s?") % {
                "slot": translate(slot.title),
                "value": plain(shown(slot, self.state["slots"][slot.name])),
            }
        if kind == "offer_person":
            return offer_of_person(move["reason"])
        if kind == "offer_retry":
            if self.state["key"]:
                return _("Shall I try again? It will not be done twice.")
            return _("Shall I try again?")
        if kind == "clarify":
            return _("What would you like to do?") + "\n\n" + offered(self.service, self.state)
        if kind == "ask_change":
            return _(
                "What should I change? Tell me the right value, correct it in the panel, or say "
                "“cancel”."
            )
        if kind == "menu":
            titles = [translate(intent.title) for intent in self.service.intents]
            return _("I can help with:") + "\n\n" + _listed(titles)
        return {
            "anything_else": _("Is there anything else I can do for you?"),
            "thanks": _("You're welcome. Is there anything else?"),
            "goodbye": _("Thank you, and goodbye."),
        }[kind]


def offer_of_person(reason: str) -> str:
    reasons = {
        "lacks": _("Without it I can't go on here."),
        "stuck": _("I don't seem to understand you, sorry."),
        "unavailable": _("I can't do this at the moment."),
        "nothing_to_choose": _("I find nothing in it to choose from."),
        "wrong_answer": "",
        "refused": "",
    }
    offer = _("Shall I hand you over to a person?")
    return f"{reasons[reason]} {offer}".strip()


def offered(service: Service, state: State) -> str:
    return _numbered([translate(service.intent(name).title) for name in state["offered"]])


def _numbered(titles: list[str]) -> str:
    return "\n".join(
        f"{number}. {plain(title)}" for number, title in enumerate(titles[:LONGEST_LIST], 1)
    )


def _listed(titles: list[str]) -> str:
    return "\n".join(f"- {plain(title)}" for title in titles)


def _translated(data: Mapping[str, Any]) -> dict[str, Any]:
    """Sentences of an answer are translated like those of the definition; dates are written out."""
    return {key: _readable(value) for key, value in data.items()}


def _readable(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return date_format(datetime.datetime.strptime(value, "%Y-%m-%d").date(), "DATE_FORMAT")
    except ValueError:
        return translate(value)


def _card_data(card: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The card "details" shows whatever the answer has, as rows of name and value."""
    if card != "details":
        return _trimmed(data)
    return {
        "rows": [
            [key.replace("_", " "), value]
            for key, value in _trimmed(data).items()
            if isinstance(value, str | int | float)
        ]
    }


def _trimmed(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored and shown of an answer: long lists and texts are cut."""

    def cut(value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return value[:500]
        if isinstance(value, Mapping):
            if depth == 0:
                return {}
            return {str(key)[:80]: cut(part, depth - 1) for key, part in list(value.items())[:40]}
        if isinstance(value, list):
            return [cut(part, depth - 1) for part in value[:LONGEST_LIST]] if depth else []
        return value

    return {str(key)[:80]: cut(value, 3) for key, value in list(data.items())[:40]}
