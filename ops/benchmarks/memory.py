"""Whether a fact that a person mentioned in turn 3 is still known in turn 300.

Each conversation is written into a running installation with 299 turns: one fact in the third, and
small talk, questions and other people's facts around it. Then the question is asked over REST, and
the answer is right if it holds the fact's value. The fact and the question are worded independently
of each other, so that the words alone often don't lead from one to the other.
"""

import argparse
import random
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ops.installation import Installation, running

TURNS, FACT_TURN = 299, 3
NAMES = ("Mira", "Tomas", "Aiko", "Lena", "Omar", "Ines", "Jonas", "Priya", "Emil", "Zoe", "Ravi")
CITIES = ("Ulm", "Porto", "Leeds", "Gdansk", "Turin", "Ghent", "Malmö", "Brno", "Cork", "Graz")
MONTHS = ("January", "March", "April", "June", "August", "October", "December")
FOODS = ("peanuts", "shellfish", "penicillin", "latex", "strawberries", "sesame", "soy")
MAKES = ("Skoda Fabia", "Fiat Panda", "Volvo V40", "Toyota Yaris", "Opel Corsa", "Mazda 3")
FIRMS = ("Norvik Textiles", "Bluefen Energy", "Arbor Press", "Kestrel Foods", "Lumen Labs")
COLOURS = ("green", "burgundy", "turquoise", "ochre", "violet", "grey")

Value = Callable[[random.Random], str]


@dataclass(frozen=True)
class Fact:
    """How people mention something, how they ask for it later, and what it may be."""

    mentions: tuple[str, ...]
    questions: tuple[str, ...]
    value: Value


def _one_of(values: Sequence[str]) -> Value:
    return lambda chance: chance.choice(values)


def _code(prefix: str) -> Value:
    return lambda chance: f"{prefix}-{chance.randint(1000, 9999)}"


def _number(low: int, high: int) -> Value:
    return lambda chance: str(chance.randint(low, high))


def _day(chance: random.Random) -> str:
    return f"{chance.randint(1, 28)} {chance.choice(MONTHS)}"


def _plate(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_uppercase, k=3)) + f" {chance.randint(100, 999)}"


FACTS = (
    Fact(
        ("My order number is {}.", "It's order {} of mine that I mean.", "I ordered under {}."),
        ("What is my order number?", "Which order number did I give you?"),
        _code("PX"),
    ),
    Fact(
        ("I live in {}.", "We moved to {} two years ago.", "My flat is in {}, near the river."),
        ("Where do I live?", "Which town did I say I live in?", "What is my home town?"),
        _one_of(CITIES),
    ),
    Fact(
        ("My daughter is called {}.", "I have a little girl, {}.", "{} is my daughter."),
        ("What is my daughter's name?", "Do you remember what my daughter is called?"),
        _one_of(NAMES),
    ),
    Fact(
        ("My birthday is on {}.", "I was born on {}.", "I celebrate my birthday on {}."),
        ("When is my birthday?", "Which day did I say I was born?"),
        _day,
    ),
    Fact(
        ("I am allergic to {}.", "I can't stand {}, I get a rash from it.", "I have an allergy to {}."),
        ("What am I allergic to?", "Which allergy did I mention?"),
        _one_of(FOODS),
    ),
    Fact(
        ("I drive a {}.", "My car is a {}.", "We bought a {} last spring, that's our car."),
        ("Which car do I drive?", "What is my car?", "What kind of car did I say I have?"),
        _one_of(MAKES),
    ),
    Fact(
        ("I work at {}.", "My employer is {}.", "I have been with {} for years, that's my job."),
        ("Where do I work?", "Who is my employer?", "Which company did I say I work for?"),
        _one_of(FIRMS),
    ),
    Fact(
        ("My insurance policy is {}.", "The policy number on my card reads {}."),
        ("What is my policy number?", "Which policy number did I tell you?"),
        _code("IN"),
    ),
    Fact(
        ("My appointment is on {}.", "I see the specialist on {}, I have an appointment then."),
        ("When is my appointment?", "Which date did I give for my appointment?"),
        _day,
    ),
    Fact(
        ("My doctor is Dr {}son.", "I go to Dr {}son's practice when I am ill."),
        ("Who is my doctor?", "What did I say my doctor is called?"),
        _one_of(NAMES),
    ),
    Fact(
        ("My budget is {} euros.", "I can spend {} euros on it.", "At most {} euros, I can't pay more."),
        ("What is my budget?", "How much did I say I can spend?"),
        _number(210, 990),
    ),
    Fact(
        ("My shoe size is {}.", "I take shoes in size {}."),
        ("What is my shoe size?", "Which shoe size did I mention?"),
        _number(36, 46),
    ),
    Fact(
        ("My licence plate is {}.", "The plate on our car reads {}."),
        ("What is my licence plate?", "Which licence plate did I tell you?"),
        _plate,
    ),
    Fact(
        ("My contract ends on {}.", "The contract that I signed runs until {}."),
        ("When does my contract end?", "Until when did I say my contract runs?"),
        _day,
    ),
    Fact(
        ("My favourite colour is {}.", "I like {} best of all colours."),
        ("What is my favourite colour?", "Which colour did I say I like best?"),
        _one_of(COLOURS),
    ),
    Fact(
        ("I take {} mg of metformin a day.", "My dose is {} mg, of metformin, daily."),
        ("How much metformin did I say I take?", "What is my dose of metformin?"),
        _number(250, 990),
    ),
    Fact(
        ("My landlord is Mr {}ov.", "I rent from a Mr {}ov."),
        ("Who is my landlord?", "What did I say my landlord is called?"),
        _one_of(NAMES),
    ),
    Fact(
        ("My dog is called {}.", "I have a dog, {}, a terrier.", "{} is our dog."),
        ("What is my dog's name?", "Do you remember what my dog is called?"),
        _one_of(NAMES),
    ),
    Fact(
        ("Our flat has {} square metres.", "I rent {} square metres, a small flat."),
        ("How big is my flat?", "How many square metres did I say our flat has?"),
        _number(31, 120),
    ),
    Fact(
        ("My tax number ends in {}.", "The last digits of my tax number are {}."),
        ("What are the last digits of my tax number?", "How did I say my tax number ends?"),
        _number(1000, 9999),
    ),
)  # fmt: skip
LEAD_INS = ("", "By the way: ", "Before I forget it. ", "So you know. ", "Maybe this helps. ")
SMALL_TALK = (
    ("The weather in {city} is dreadful today.", "I hope that it clears up soon."),
    ("My neighbour {name} bought a {car}.", "That sounds like a nice car."),
    ("What is the refund period?", "The documents of this workspace say nothing about that."),
    ("My brother lives in {city} and likes it there.", "Good to hear."),
    ("Can you explain how a warranty works?", "A warranty promises that a defect is repaired."),
    ("My sister's appointment was moved to {day}.", "Thank you for telling me."),
    ("A colleague of mine works at {firm}.", "I see."),
    ("How long does shipping take?", "Most parcels arrive within a few days."),
    ("{name}'s dog ran away last week.", "I am sorry to hear that."),
    ("My friend {name} is allergic to {food}.", "That must be hard at times."),
    ("Which documents do you have?", "I can search what the workspace has added."),
    ("The order of my brother was {code}, it came late.", "That is annoying."),
    ("Thanks, that helps.", "You are welcome."),
    ("I read an article about {food} yesterday.", "What did it say?"),
    ("Is there a discount for pupils?", "I don't know of one."),
    ("The train to {city} was {number} minutes late.", "That is a long wait."),
    ("My boss is on holiday until {day}.", "Then there is time."),
    ("Let's go on with the next point.", "Gladly. Which one?"),
    ("{name} painted the kitchen {colour}.", "A brave choice."),
    ("What does a deductible mean?", "It is the part of a damage that one pays oneself."),
    ("The invoice of my mother was {number} euros.", "Noted."),
    ("I had a good lunch with {name}.", "How nice."),
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(args.seed)
    cases = []
    for number in range(args.limit or 100):
        fact = FACTS[number % len(FACTS)]
        value = fact.value(chance)
        mention = chance.choice(LEAD_INS) + chance.choice(fact.mentions).format(value)
        cases.append((mention, chance.choice(fact.questions), value))
    small_talk = [_small_talk(chance) for _ in range(TURNS)]
    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.document_desk"}) as installation:
        api = installation.rest("chat", "conversations:read", "conversations:write")
        archive = _Archive(installation, small_talk)
        answers = []
        for mention, question, value in cases:
            conversation = api.post("/conversations", json={"assistant": "desk"}).json()["id"]
            archive.fill(conversation, mention)
            address = f"/conversations/{conversation}/messages"
            answer = api.post(address, json={"text": question}).raise_for_status().json()
            answers.append((mention, question, value, answer))
            api.delete(f"/conversations/{conversation}").raise_for_status()
    right = [value.lower() in answer["text"].lower() for _, _, value, answer in answers]
    for (mention, question, _value, answer), is_right in zip(answers, right, strict=True):
        if not is_right:
            said = " ".join(answer["text"].split())
            print(f"missed: {mention!r} / {question!r} -> {said[:160]!r}", file=sys.stderr)
    took = sorted(answer["receipt"]["total_ms"] for *_, answer in answers)
    return {
        "n": len(right),
        "recall": round(sum(right) / len(right), 4),
        "ms_p50": took[len(took) // 2],
        "turns": TURNS + 1,
    }


def _small_talk(chance: random.Random) -> tuple[str, str]:
    said, answered = chance.choice(SMALL_TALK)
    filled = said.format(
        name=chance.choice(NAMES),
        city=chance.choice(CITIES),
        day=_day(chance),
        car=chance.choice(MAKES),
        firm=chance.choice(FIRMS),
        food=chance.choice(FOODS),
        colour=chance.choice(COLOURS),
        code=_code("PX")(chance),
        number=chance.randint(11, 99),
    )
    return filled, answered


class _Archive:
    """Writes conversations as if they had been led; the texts that repeat are embedded once."""

    def __init__(self, installation: Installation, small_talk: list[tuple[str, str]]) -> None:
        installation.connect_django()
        from praxis.assistants.language_model import embed

        self.small_talk = small_talk
        texts = sorted({text for pair in small_talk for text in pair})
        self.vectors = dict(zip(texts, embed(texts), strict=True))
        self.answer_to_fact = "Thank you, I will keep that in mind."
        self.vectors[self.answer_to_fact] = embed([self.answer_to_fact])[0]

    def fill(self, conversation_id: str, mention: str) -> None:
        from django.db import transaction
        from django.utils import timezone

        from praxis.assistants.language_model import embed
        from praxis.conversations.models import Conversation, Message, MessageEmbedding

        self.vectors[mention] = embed([mention])[0]
        conversation = Conversation.objects.get(pk=conversation_id)
        messages: list[Message] = []
        for turn, pair in enumerate(self.small_talk, 1):
            texts = (mention, self.answer_to_fact) if turn == FACT_TURN else pair
            for role, text in zip(("user", "assistant"), texts, strict=True):
                messages.append(
                    Message(
                        conversation=conversation,
                        parent=messages[-1] if messages else None,
                        turn=turn,
                        role=role,
                        text=text,
                        state_after={} if role == "assistant" else None,
                        finished_at=timezone.now(),
                    )
                )
        with transaction.atomic():
            Message.objects.bulk_create(messages)
            MessageEmbedding.objects.bulk_create(
                MessageEmbedding(message=one, vector=self.vectors[one.text]) for one in messages
            )
            conversation.head = messages[-1]
            conversation.save()
