"""How fast people get their answers, and what the platform adds to the model server alone.

The whole installation runs as `make run` starts it, with the tests' smallest domain, whose model
chain sends the same two messages that are sent to the model server directly. Both ways alternate,
each time with a question of its own, so that no cache helps one of them.
"""

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import openai

from modeling.weights.assemble import default_base_name
from ops.installation import running
from tests.tiny_domain.assistant import INSTRUCTIONS

PEOPLE = (1, 4, 16)
PLACES = ("Bergen", "Lisbon", "Odesa", "Tromsø", "Valletta", "Galway", "Split", "Riga")


@dataclass(frozen=True)
class Answer:
    first_ms: float
    total_ms: float
    text: str


def ask(client: openai.OpenAI, model: str, messages: list[Any]) -> Answer:
    started = time.perf_counter()
    first = None
    pieces: list[str] = []
    stream = client.chat.completions.create(
        model=model, messages=messages, stream=True, max_tokens=64, temperature=0
    )
    for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            if first is None:
                first = time.perf_counter()
            pieces.append(text)
    ended = time.perf_counter()
    assert first is not None, "an answer without a token"
    return Answer((first - started) * 1000, (ended - started) * 1000, "".join(pieces))


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(args: argparse.Namespace) -> dict[str, Any]:
    rounds = args.limit or 24
    chance = random.Random(args.seed)

    def question() -> str:
        return (
            f"Is the wind in {chance.choice(PLACES)} on day {chance.randrange(10**6)} good "
            "for sailing, and what should a beginner watch?"
        )

    with running(environment={"PRAXIS_DOMAIN_APPS": "tests.tiny_domain"}) as installation:
        browser = installation.sign_in()
        key = installation.make_key(browser, "chat")
        platform = openai.OpenAI(base_url=f"{installation.address}/v1", api_key=key, max_retries=0)
        services = installation.services
        direct = openai.OpenAI(
            base_url=services["LLM_BASE_URL"], api_key=services["LLM_API_KEY"], max_retries=0
        )
        served = default_base_name()

        def through_platform(text: str) -> Answer:
            return ask(platform, "tiny", [{"role": "user", "content": text}])

        def alone(text: str) -> Answer:
            system = {"role": "system", "content": INSTRUCTIONS}
            return ask(direct, served, [system, {"role": "user", "content": text}])

        def num_tokens(answers: Sequence[Answer]) -> int:
            root = services["LLM_BASE_URL"].removesuffix("/v1")
            headers = {"authorization": f"Bearer {services['LLM_API_KEY']}"}
            return sum(
                browser.post(f"{root}/tokenize", json={"text": a.text}, headers=headers).json()[
                    "count"
                ]
                for a in answers
            )

        for _warm_up in range(3):
            through_platform(question())
            alone(question())
        pairs = []
        for number in range(rounds):
            ways = [through_platform, alone]
            if number % 2:
                ways.reverse()
            answers = {way: way(question()) for way in ways}
            pairs.append((answers[through_platform], answers[alone]))
        # Answers differ in length, so the whole is compared per token of the same engine.
        added = [ours.first_ms - theirs.first_ms for ours, theirs in pairs]
        rate_ours = sum(ours.total_ms - ours.first_ms for ours, _ in pairs) / num_tokens(
            [ours for ours, _ in pairs]
        )
        rate_alone = sum(theirs.total_ms - theirs.first_ms for _, theirs in pairs) / num_tokens(
            [theirs for _, theirs in pairs]
        )
        figures: dict[str, Any] = {
            "n": rounds,
            "added_ttft_ms": round(statistics.median(added), 1),
            "added_ttft_ms_quartiles": [round(q, 1) for q in statistics.quantiles(added, n=4)],
            "added_percent": round((rate_ours / rate_alone - 1) * 100, 1),
        }
        for people in PEOPLE:
            started = time.perf_counter()
            with ThreadPoolExecutor(people) as crowd:
                questions = [question() for _ in range(max(rounds, 2 * people))]
                answers_all = list(crowd.map(through_platform, questions))
            seconds = time.perf_counter() - started
            first = [answer.first_ms for answer in answers_all]
            figures[f"ttft_ms_p50_c{people}"] = round(percentile(first, 0.5), 1)
            figures[f"ttft_ms_p95_c{people}"] = round(percentile(first, 0.95), 1)
            figures[f"tokens_per_s_c{people}"] = round(num_tokens(answers_all) / seconds, 1)
    return figures
