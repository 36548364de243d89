"""From a customer's message to the first word of the reply, with the demo services' state behind it.

A running installation with the embedded model; every message goes over REST in the order of its
dialogue, and the stream is read up to the first piece of text. A turn is the whole way: intent, state
(rules, and the model where it is asked), policy, an endpoint where one is called, the reply.
`first_token_ms_*` are of all turns, `opening_ms_p50` of those that begin a dialogue, whose intent is
to be found. `--limit` is how often the dialogues are held (3).
"""

import argparse
from typing import Any

import httpx

from ops.benchmarks.answer_latency import first_token_ms, percentile
from ops.installation import running

ROUNDS = 3
DIALOGUES = (
    ("is my order on its way?", "it's A-10433", "mia.lund@example.org", "thanks, bye"),
    (
        "I am not happy with the kettle and would like to return it",
        "order A-10433",
        "my e-mail is mia.lund@example.org",
        "it leaks",
        "a refund please",
        "no, make it an exchange",
    ),
    ("could we get a table on Friday?", "we are four", "at half past seven", "the name is Lund"),
    (
        "need a reservation for 6 people tomorrow at 8 pm",
        "do you have parking?",
        "make it five people",
        "under the name Okafor",
        "you can reach me on 0151 2345678",
    ),
    (
        "my back hurts, can a doctor have a look at it?",
        "the earliest day",
        "I was born on 3.4.1980",
    ),
    ("my pills are nearly gone, can I get a new prescription?", "Ramipril", "it's for Jo Berg"),
)


def run(args: argparse.Namespace) -> dict[str, Any]:
    openings: list[float] = []
    others: list[float] = []
    with running() as installation:
        api = installation.rest("chat", "conversations:write")
        hold(api, DIALOGUES[0])  # the engine and the encoder have read their first text
        for _ in range(args.limit or ROUNDS):
            for dialogue in DIALOGUES:
                first, *rest = hold(api, dialogue)
                openings.append(first)
                others += rest
    return {
        "n": len(openings) + len(others),
        "first_token_ms_p50": percentile(openings + others, 0.5),
        "first_token_ms_p95": percentile(openings + others, 0.95),
        "opening_ms_p50": percentile(openings, 0.5),
    }


def hold(api: httpx.Client, dialogue: tuple[str, ...]) -> list[float]:
    conversation = api.post("/conversations", json={"assistant": "service"}).json()["id"]
    return [first_token_ms(api, conversation, text) for text in dialogue]
