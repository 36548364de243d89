"""Whether what a person has said is still known after ten turns with interruptions.

Somebody returns an item or changes an address with the demo shop and says one value after another;
in between they ask about the terms, look for a product, ask after another order, think aloud, curse,
mistype or correct a value. After every turn each value given so far must stand in the state, or in that
of the task that waits, as it was said last. `--limit` dialogues (200 unless given).

`kept`: the share of dialogues in which that holds after each of the ten turns; `kept_at_end`: after the
tenth; `kept_turns`: of all turns. Rules, policy and the sentence encoder; no language model is asked.
"""

import argparse
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

DIALOGUES = 200
TURNS = 10

ORDERS = {
    "return_item": [("HP-10426", "fatima@example.com"), ("HP-10429", "ivan@example.com")],
    "change_address": [
        ("HP-10423", "chen@example.com"),
        ("HP-10427", "goran@example.com"),
        ("HP-10433", "ana@example.com"),
    ],
}
OPENINGS = {
    "return_item": ["I want to return something", "I need to send an item back"],
    "change_address": [
        "I want to change my delivery address",
        "please change where my order is delivered",
    ],
}
SAID = {
    "order_number": ["{v}", "it is {v}", "the order number is {v}", "{v} I think"],
    "email": ["{v}", "my e-mail is {v}", "I used {v}"],
    "reason": ["{v}", "it is {v}", "well, {v}"],
    "resolution": ["{v}", "I would like a {v}", "{v} please"],
    "street": ["{v}, {city}", "it's {v}, {city}"],
    "postcode": ["{v}", "the postcode is {v}"],
}
REASONS = {"damaged": "broken", "wrong_size": "too small", "changed_mind": "no longer needed"}
ADDRESSES = [
    ("12 Elm Road", "Bristol", "BS1 4QA"),
    ("40 King Street", "Leeds", "LS1 2HL"),
    ("7 Rose Court", "Bath", "BA2 3AF"),
]
INTERRUPTIONS = [
    "how long does a refund take?",
    "by the way, what does delivery cost?",
    "do you ship to Germany?",
    "is there a guarantee on lamps?",
    "do you have any candles?",
    "can you also find me a mug",
    "where is my order HP-10422? ben@example.com",
    "has HP-10430 been sent? june@example.com",
    "hang on, I have to look for it",
    "give me a moment please",
    "hmm",
    "this takes ages, damn it",
    "asdfgh",
    "thanks",
    "are you a robot?",
    "what was the question again?",
]
CORRECTIONS = {
    "resolution": {"refund": "exchange", "exchange": "refund"},
    "postcode": {"BS1 4QA": "BS1 4QB", "LS1 2HL": "LS1 2HM", "BA2 3AF": "BA2 3AG"},
}


@dataclass
class Person:
    """Who wants one thing, says what is asked for, and wanders off in between."""

    chance: random.Random
    intent: str
    spoken: dict[str, str]
    """Slot → the value as it is said."""
    stored: dict[str, Any]
    """Slot → the value as it is kept."""
    given: dict[str, Any] = field(default_factory=dict)

    def next(self, asked: str) -> str:
        """The next message; what it gives is noted in `given`."""
        slot = asked.removeprefix("verify:")
        if asked.startswith("verify:"):
            return "yes"
        answerable = slot in SAID and slot in self.spoken
        if not answerable or self.chance.random() < 0.45:
            return self._correction() or self.chance.choice(INTERRUPTIONS)
        self.given[slot] = self.stored[slot]
        if slot == "street":
            self.given["city"] = self.stored["city"]
        template = self.chance.choice(SAID[slot])
        return template.format(v=self.spoken[slot], city=self.spoken.get("city", ""))

    def _correction(self) -> str:
        possible = [slot for slot in CORRECTIONS if slot in self.given]
        if not possible or self.chance.random() < 0.6:
            return ""
        slot = self.chance.choice(possible)
        other = CORRECTIONS[slot].get(str(self.given[slot]))
        if other is None:
            return ""
        self.given[slot] = self.stored[slot] = self.spoken[slot] = other
        return f"no, the postcode is {other}" if slot == "postcode" else f"no, make it {other}"


def _person(chance: random.Random) -> Person:
    intent = chance.choice(list(ORDERS))
    number, email = chance.choice(ORDERS[intent])
    spoken = {"order_number": number, "email": email}
    stored: dict[str, Any] = dict(spoken)
    if intent == "return_item":
        reason, resolution = chance.choice(list(REASONS)), chance.choice(["refund", "exchange"])
        spoken |= {"reason": REASONS[reason], "resolution": resolution}
        stored |= {"reason": reason, "resolution": resolution}
    else:
        street, city, postcode = chance.choice(ADDRESSES)
        spoken |= {"street": street, "city": city, "postcode": postcode}
        stored |= {"street": street, "city": city, "postcode": postcode}
    return Person(chance=chance, intent=intent, spoken=spoken, stored=stored)


def run(args: argparse.Namespace) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    import django

    django.setup()
    from django.utils import translation

    from apps.customer_service.simulation import Talk, running_shop
    from modeling.retrieval.encoder import Encoder
    from modeling.weights.assemble import encoder_folder

    count = args.limit or DIALOGUES
    held: list[list[bool]] = []
    embed = _remembering(Encoder(encoder_folder()))
    with running_shop() as shop, translation.override("en"):
        for number in range(count):
            shop.shop.reset()
            person = _person(random.Random(f"{args.seed}-{number}"))
            talk = Talk(shop.endpoint, embed=embed)
            text = person.chance.choice(OPENINGS[person.intent])
            turns = []
            for _turn in range(TURNS):
                talk.say(text)
                turns.append(kept(person, talk.state))
                if not turns[-1]:
                    print(
                        f"lost after {text!r}: gave {person.given}, has {talk.values()}",
                        file=sys.stderr,
                    )
                text = person.next(talk.state["asked"])
            held.append(turns)
    every = [turn for turns in held for turn in turns]
    return {
        "n": count,
        "kept": round(100 * sum(all(turns) for turns in held) / count, 1),
        "kept_at_end": round(100 * sum(turns[-1] for turns in held) / count, 1),
        "kept_turns": round(100 * sum(every) / len(every), 1),
    }


def _remembering(encoder: Any) -> Callable[[Sequence[str]], list[list[float]]]:
    """The encoder's vectors; the definition's samples are encoded once for all dialogues."""
    known: dict[str, list[float]] = {}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, encoder.encode(new).tolist(), strict=True))
        return [known[text] for text in texts]

    return embed


def kept(person: Person, state: dict[str, Any]) -> bool:
    """Whether all that was given stands in the task in hand, or in the same task where it waits."""
    if state["intent"] == person.intent:
        slots = state["slots"]
    else:
        waiting = [task for task in state["waiting"] if task["intent"] == person.intent]
        slots = waiting[0]["slots"] if waiting else {}
    values = {name: entry["value"] for name, entry in slots.items()}
    return all(values.get(name) == value for name, value in person.given.items())
