"""Talking with a definition before it is published: the same tracker, policy and sentences.

In a dry run nothing is sent: an action answers with made-up data of the promised form, so that the
whole conversation can be seen. Otherwise the draft's endpoint is called for real.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from apps.customer_service import actions
from apps.customer_service.actions import Endpoint
from apps.customer_service.intents import IntentIndex, rank
from apps.customer_service.policy import Outcome, advance
from apps.customer_service.replies import Performance, shown, translate
from apps.customer_service.schema import Intent, Service
from apps.customer_service.tracker import Ranking, State, empty_state, read
from praxis.assistants.contract import ModelUnavailable, StateChanged, Token
from praxis.assistants.language_model import embed

LONGEST_TALK = 60
"""Lines that are kept; the oldest go."""


@dataclass
class Rehearsal:
    """One talk with a draft. `lines` and `state` are JSON, to be kept between two requests."""

    service: Service
    endpoint: Endpoint | None = None
    """None: a dry run."""
    state: State = field(default_factory=empty_state)
    lines: list[dict[str, Any]] = field(default_factory=list)
    turn: int = 0
    without_embedding: bool = False
    """The embedding server doesn't answer, so only the words are compared."""

    def say(self, text: str) -> None:
        """Add the person's words, the calls that they lead to, and the answer."""
        self.turn += 1
        self.lines.append({"who": "person", "text": text})
        index = IntentIndex.of(self.service)
        reading = read(
            self.service,
            self.state,
            text,
            today=timezone.localdate(),
            recognise=lambda part, evidence: self._rank(index, part, evidence),
        )
        self.state = advance(self.service, self.state, reading, turn=self.turn, text=text)
        self.lines.append({"who": "assistant", "text": self._answer()})
        del self.lines[:-LONGEST_TALK]

    def _answer(self) -> str:
        kind = self.state["move"]["kind"]
        if kind == "documents":
            return _("(Here the documents would be asked.)")
        if kind == "unclear":
            return _("(I did not understand that. In the chat, the nearest intents are offered.)")
        performance = Performance(service=self.service, state=self.state, perform=self._call)
        said = []
        for event in performance.events():
            if isinstance(event, StateChanged):
                self.state = event.state
            elif isinstance(event, Token):
                said.append(event.text)
        # The panel shows plain text, the chat Markdown.
        return re.sub(r"\\([\\`*_\[\]<>|~])", r"\1", "".join(said))

    def _call(self, intent: Intent, values: Mapping[str, Any], state: State) -> Outcome:
        assert intent.action is not None
        action = intent.action
        if self.endpoint is None:
            outcome = Outcome(kind="ok", data=made_up_answer(intent, values))
        else:
            if action.changes_something and not state["key"]:
                state["key"] = str(uuid.uuid4())
            outcome = actions.call(action, values, self.endpoint, idempotency_key=state["key"])
        self.lines.append(
            {
                "who": "call",
                "text": f"{action.method} {action.path}",
                "detail": json.dumps(dict(values), ensure_ascii=False),
                "outcome": _("not sent") if self.endpoint is None else outcome.code or outcome.kind,
            }
        )
        return outcome

    def _rank(self, index: IntentIndex, text: str, evidence: frozenset[str]) -> Ranking:
        if not self.without_embedding:
            try:
                return rank(index, text, embed=embed, evidence=evidence)
            except ModelUnavailable:
                self.without_embedding = True
        return rank(index, text, embed=None, evidence=evidence)


_MADE_UP: dict[str, Callable[[str], Any]] = {
    "text": lambda name: _("(%(field)s)") % {"field": name},
    "number": lambda name: 1,
    "flag": lambda name: True,
    "list": lambda name: [],
    "object": lambda name: {},
}


def made_up_answer(intent: Intent, values: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the promised form: fields that repeat a slot do, lists have two entries."""
    assert intent.action is not None
    action = intent.action
    data = {name: _MADE_UP[kind](name) for name, kind in action.result.items()}
    data |= {name: values[slot] for name, slot in action.echoes.items() if slot in values}
    if listing := action.listing:
        data[listing.items] = [
            {
                listing.value: f"example-{number}",
                listing.title: _("Example %(number)s") % {"number": number},
            }
            for number in (1, 2)
        ]
    return data


def understood(service: Service, state: State) -> list[tuple[str, str, float]]:
    """Slot, value as it is shown, confidence."""
    return [
        (
            translate(slot.title),
            shown(slot, state["slots"][slot.name]),
            state["slots"][slot.name]["confidence"],
        )
        for slot in service.slots
        if slot.name in state["slots"]
    ]
