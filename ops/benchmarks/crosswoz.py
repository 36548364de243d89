"""Chinese dialogues about Beijing (CrossWOZ), read by the rules from a definition of a travel desk.

After every message of the user the tracked state is compared with what the user has said so far: the
last value that the data's dialogue acts give for each slot (`Inform`; several values of one slot are
one set). `jga` is the share of messages after which the whole state of all domains is exactly that;
`precision`, `recall` and `f1` count the slots of those states; `turn_jga` asks only whether what the
message itself says was read. `jga_system_state` compares with the data's other annotation, the query
that the human assistant made next (`sys_state_init`, what published trackers of the data are trained
on): it drops constraints and names by a convention that no message states.

The rules, no encoder (the product reads Chinese wishes by their words). What the assistant named in
its own messages is known, as it is where the product shows a list. `--model-readings` measures the
shipped model instead, on the domains of each dialogue, from English descriptions. Of the split "val" the
definition was written on one half; the other is measured unless `--part fitted`.
"""

import argparse
import datetime
import json
import random
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.customer_service.intents import IntentIndex, rank
from apps.customer_service.model_tracker import description_of, shown_turn
from apps.customer_service.phrases import clean
from apps.customer_service.schema import Service
from apps.customer_service.tracker import Ranking, apply, empty_state, read
from modeling.state_tracking.format import ServiceText, SlotText, grammar
from modeling.state_tracking.tracker import Tracker
from modeling.weights.assemble import SERVED_TYPE
from ops.benchmarks._travel_desk import (
    DOMAINS,
    PLACES,
    place_of,
    slots_of,
    travel_desk,
)
from ops.benchmarks.dst import Engine, fitted

WRITTEN_ON = "val"
ANY_DAY = datetime.date(2020, 3, 2)
Place = tuple[str, str]
"""The data's domain and slot: ("酒店", "评分")."""
Values = Mapping[Place, frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A message of the user, what the assistant said before it, and what the data says of it."""

    before: str
    offered: Mapping[str, Sequence[str]]
    """Domain → the places that the assistant has named so far, the last one first."""
    text: str
    told: Values
    """What this message says."""
    query: Values
    """What the human assistant then looked up."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    archive = args.data / f"dialogue/crosswoz_{args.split}.json.zip"
    with zipfile.ZipFile(archive) as packed:
        dialogues = list(json.loads(packed.read(packed.namelist()[0])).items())
    if args.split == WRITTEN_ON:
        dialogues = [one for one in dialogues if fitted(one[0]) == (args.part == "fitted")]
    if args.limit:
        random.Random(args.seed).shuffle(dialogues)
        dialogues = dialogues[: args.limit]
    scores = Scores()
    if not args.model_readings:
        reader = Rules()
        for _name, dialogue in dialogues:
            scores.add(list(exchanges(dialogue)), reader.states)
        return {"n": len(dialogues), "reader": "rules", **scores.summary()}
    with Engine(kept_in=args.answers, weight_type=args.type or SERVED_TYPE) as engine:
        model = Model(write=lambda messages, rules: engine.write(messages, rules).text)
        for _name, dialogue in dialogues:
            scores.add(list(exchanges(dialogue)), model.states)
        return {"n": len(dialogues), "reader": "model", **scores.summary(), **engine.timings()}


def exchanges(dialogue: Mapping[str, Any]) -> Iterator[Exchange]:
    before = ""
    offered: dict[str, list[str]] = {domain: [] for domain in DOMAINS.values()}
    for message, answer in zip(dialogue["messages"][::2], dialogue["messages"][1::2], strict=False):
        yield Exchange(
            before=before,
            offered={domain: tuple(reversed(names)) for domain, names in offered.items()},
            text=message["content"],
            told=informed(message["dialog_act"]),
            query=queried(answer["sys_state_init"]),
        )
        before = answer["content"]
        for act, domain, slot, value in answer["dialog_act"]:
            named = domain if slot == "名称" else slot.removeprefix("周边")
            if act in ("Inform", "Recommend") and named in offered and value not in ("", "无"):
                offered[named] = [one for one in offered[named] if one != value] + [value]


def informed(acts: Sequence[Sequence[str]]) -> dict[Place, frozenset[str]]:
    told: dict[Place, frozenset[str]] = {}
    for act, domain, slot, value in acts:
        if act == "Inform":
            told[domain, slot] = told.get((domain, slot), frozenset()) | {plain(value)}
    return told


def queried(state: Mapping[str, Mapping[str, Any]]) -> dict[Place, frozenset[str]]:
    """A query of the human assistant; its facilities are parted by spaces."""
    query: dict[Place, frozenset[str]] = {}
    for domain, slots in state.items():
        for slot, value in slots.items():
            if slot == "酒店设施":
                query |= {(domain, f"{slot}-{one}"): frozenset(("是",)) for one in value.split()}
            elif slot != "selectedResults" and value:
                query[domain, slot] = values_in(slot, value)
    return query


def values_in(slot: str, text: str) -> frozenset[str]:
    """What one text says for a slot: several dishes may be named together."""
    parts = re.split(r"[和、与跟]|以及|还有|\s+", text) if slot == "推荐菜" else [text]
    return frozenset(plain(part) for part in parts if part)


def plain(value: str) -> str:
    """The value without spaces, and spans as the data writes them: "2到3个小时" is "2小时-3小时"."""
    text = re.sub(r"\s", "", clean(str(value)))
    text = text.replace("个小时", "小时").replace("半小时", "0.5小时")
    text = re.sub(r"^[一二两三](?=小时|天)", lambda found: _DIGITS[found[0]], text)
    return re.sub(
        r"(\d)(小时|天)?[-~到至](\d+(?:\.\d+)?)(小时|天)",
        lambda found: f"{found[1]}{found[2] or found[4]}-{found[3]}{found[4]}",
        text,
    )


_DIGITS = {"一": "1", "二": "2", "两": "2", "三": "3"}


def from_slots(slots: Mapping[str, str]) -> dict[Place, frozenset[str]]:
    """The state in the data's terms."""
    state: dict[Place, frozenset[str]] = {}
    for name, value in slots.items():
        place = place_of(name)
        state[place] = values_in(place[1], value)
    return state


@dataclass
class Rules:
    """The product's deterministic tracker on one definition with a task for every domain."""

    service: Service = field(default_factory=travel_desk)

    def __post_init__(self) -> None:
        self.index = IntentIndex.of(self.service)

    def _rank(self, text: str, evidence: frozenset[str]) -> Ranking:
        return rank(self.index, text, embed=None, evidence=evidence)

    def states(self, dialogue: Sequence[Exchange]) -> Iterator[dict[Place, frozenset[str]]]:
        state = empty_state()
        for turn, exchange in enumerate(dialogue, 1):
            for domain in PLACES:
                names = exchange.offered[DOMAINS[domain]]
                state["options"][f"{domain}_name"] = [
                    {"value": name, "title": clean(name)} for name in names
                ]
            reading = read(self.service, state, exchange.text, today=ANY_DAY, recognise=self._rank)
            if reading.intents:
                state["intent"] = reading.intents[-1]
            state = apply(self.service, state, reading, turn=turn)
            for domain in PLACES:
                # Two slots for one thing: a name that was offered, and one that was only said.
                called = state["slots"].pop(f"{domain}_called", None)
                if called is not None:
                    state["slots"][f"{domain}_name"] = called
            yield from_slots({name: entry["value"] for name, entry in state["slots"].items()})


@dataclass(kw_only=True)
class Model:
    """The language model as a tracker, one conversation a domain as in the schema-guided data."""

    write: Callable[[Sequence[Any], str], str]
    services: Mapping[str, ServiceText] = field(default_factory=lambda: english_services())

    def states(self, dialogue: Sequence[Exchange]) -> Iterator[dict[Place, frozenset[str]]]:
        spoken_of = {domain for exchange in dialogue for domain, _slot in exchange.told}
        trackers = {
            domain: Tracker(service=service)
            for domain, service in self.services.items()
            if DOMAINS[domain] in spoken_of
        }
        for exchange in dialogue:
            state: dict[Place, frozenset[str]] = {}
            for domain, tracker in trackers.items():
                # Chinese costs the model about two tokens a character: two messages fit.
                del tracker.steps[:-1]
                messages = tracker.ask([shown_turn(exchange.before, exchange.text)])
                tracker.accept(self.write(messages, grammar(tracker.service)))
                slots = dict(tracker.state)
                facility = slots.pop("hotel_facility", None)
                state |= from_slots(slots)
                if facility is not None:
                    state[DOMAINS[domain], f"酒店设施-{facility}"] = frozenset(("是",))
            yield state


def english_services() -> dict[str, ServiceText]:
    """Each domain as the model reads a service; a hotel's facilities are one slot."""
    desk = travel_desk()
    whole = description_of(desk)
    services = {}
    for domain in DOMAINS:
        own = [
            whole.slot(name)
            for name in slots_of(domain)
            if not name.startswith("hotel_facility_") and not name.endswith("_called")
        ]
        if domain == "hotel":
            facility = "Facility that the hotel must offer"
            own.append(SlotText(name="hotel_facility", description=facility))
        services[domain] = ServiceText(
            description=f"Find a {domain} in Beijing",
            slots=tuple(own),
            intents=tuple(one for one in whole.intents if one.name == f"find_{domain}"),
        )
    return services


@dataclass
class Scores:
    """Counts messages and slots."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        dialogue: Sequence[Exchange],
        states: Callable[[Sequence[Exchange]], Iterator[Values]],
    ) -> None:
        said: dict[Place, frozenset[str]] = {}
        before: Values = {}
        for exchange, state in zip(dialogue, states(dialogue), strict=True):
            said |= exchange.told
            new = {place: value for place, value in state.items() if before.get(place) != value}
            # A value that is said once more changes nothing.
            again = {p: v for p, v in exchange.told.items() if before.get(p) == v}
            right = sum(said.get(place) == value for place, value in state.items())
            self.counts.update(
                turns=1,
                exact=state == said,
                turn=new | again == exchange.told,
                system=state == exchange.query,
                right=right,
                given=len(state),
                wanted=len(said),
            )
            before = dict(state)

    def summary(self) -> dict[str, float | int | None]:
        """Per cent, one decimal; None where nothing counts."""
        n = self.counts
        return {
            "turns": n["turns"],
            "jga": _share(n["exact"], n["turns"]),
            "turn_jga": _share(n["turn"], n["turns"]),
            "jga_system_state": _share(n["system"], n["turns"]),
            "precision": _share(n["right"], n["given"]),
            "recall": _share(n["right"], n["wanted"]),
            "f1": _share(2 * n["right"], n["given"] + n["wanted"]),
        }


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
