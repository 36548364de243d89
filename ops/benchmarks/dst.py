"""Dialogue state tracking on the schema-guided dialogues, with the shipped model on the CPU engine.

The model reads its own earlier answers, never the right ones. `--split` names the file of dialogues
(`sgd/dev.jsonl.xz`), `--limit` how many dialogues are drawn with `--seed`; without it all of them,
which takes hours on two cores. `--schemas` names another schema file of the pack, for the
paraphrased ones (`sgd_x/data/v1/dev/schema.json`); services are matched by their place in it.

`--type` measures the weights in another of llama.cpp's types.

`--answers FILE` keeps what the engine answered, so that a run that was cut off goes on where it was;
timings are those of the answers that this run asked for. `--part fitted` measures the half of the
development dialogues (by the hash of their id) that the confidence was fitted on and that was looked
at; without it the other half is measured.

Figures, in per cent per frame: `jga` (exact), `jga_fuzzy` (token-sort ratio for free values, as the
data's own evaluation), `jga_seen` and `jga_unseen` by whether the service's name is among the
training schemas, `jga_single` and `jga_multi` by the number of services in the dialogue, `intent`,
`requested_f1`; `slot_ece`, the calibration error of the confidence of each written value, with the
second tracker and as if it had read nothing; `ms_p50` and `ms_p95`, a turn of tracking. `--part fitted`
also prints the weights of the calibration, fitted on what it measures.
"""

import argparse
import datetime
import hashlib
import json
import random
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx
from rapidfuzz import fuzz

from apps.customer_service.phrases import clean
from apps.customer_service.schema import Slot, Value
from apps.customer_service.values import SlotValue, choices_of, denied, find
from modeling.state_tracking.confidence import (
    FITTED,
    Agreement,
    Score,
    expected_calibration_error,
    fit,
    scores_by_slot,
)
from modeling.state_tracking.format import ServiceText, SlotText, grammar
from modeling.state_tracking.scoring import Scores
from modeling.state_tracking.sgd import read_schemas, tracks
from modeling.state_tracking.tracker import Tracker, takes
from modeling.training.chat import Message
from modeling.training.mix.items import rows
from modeling.weights.assemble import SERVED_TYPE, default_base_name

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 2048
ANSWER_TOKENS = 96
FITTED_SPLIT = "dev"
ANY_DAY = datetime.date(2019, 3, 1)
"""The dialogues' days are relative to one that they don't name; both readings take the same."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    schemas = read_schemas(args.data / "sgd/schemas.json.xz")
    original = schemas[f"{args.split}/schema.json"]
    services = described(original, schemas[args.schemas or f"{args.split}/schema.json"])
    dialogues = [
        row
        for row in rows(args.data / f"sgd/{args.split}.jsonl.xz")
        if args.split != FITTED_SPLIT or fitted(row["i"]) == (args.part == "fitted")
    ]
    if args.limit:
        random.Random(args.seed).shuffle(dialogues)
        dialogues = dialogues[: args.limit]
    scores = Scores(
        seen_services=frozenset(schemas["train/schema.json"]),
        similarity=lambda one, other: fuzz.token_sort_ratio(one, other) / 100,
    )
    sure: list[tuple[Score, Agreement, bool]] = []
    with Engine(kept_in=args.answers, weight_type=args.type or SERVED_TYPE) as engine:
        for row in dialogues:
            for track in tracks(row):
                service = services[track.service]
                rules = grammar(service)
                tracker = Tracker(service=service)
                for step in track.steps:
                    answer = engine.write(tracker.ask(step.turns), rules)
                    change = tracker.accept(answer.text)
                    for name, score in scores_by_slot(service, answer.tokens).items():
                        if value := change.values.get(name):
                            said = agreement(service.slot(name), value, step.turns[-1].user)
                            right = value in step.state.get(name, ())
                            sure.append((score, said, right))
                    scores.add(track, step, service, tracker.state, change)
    return {
        "n": len(dialogues),
        "model": default_base_name(),
        "type": engine.weight_type,
        **scores.summary(),
        **confidence_figures(sure),
        **({"calibration": asdict(fit(sure))} if args.part == "fitted" else {}),
        **engine.timings(),
    }


def confidence_figures(sure: Sequence[tuple[Score, Agreement, bool]]) -> dict[str, float | None]:
    """In per cent: the calibration error of the values that were written, and how many were right."""
    outcomes = [(FITTED.probability(score, said), right) for score, said, right in sure]
    if not outcomes:
        return {"slot_ece": None}
    one_case = [(FITTED.probability(score, "silent"), right) for score, _said, right in sure]
    return {
        "slot_ece": round(100 * (expected_calibration_error(outcomes) or 0.0), 2),
        "slot_ece_without_second_tracker": round(
            100 * (expected_calibration_error(one_case) or 0.0), 2
        ),
        "values": len(outcomes),
        "values_right": round(100 * sum(right for _sure, right in outcomes) / len(outcomes), 1),
    }


def agreement(slot: SlotText, value: str, said: str) -> Agreement:
    """What the assistant's deterministic tracker reads for the slot in the person's message.

    Its patterns know listed values and days; yes or no, and free text, are beyond it here, because
    the data's services say nothing about the form of their values.
    """
    title = slot.name.replace("_", " ")
    kind = "categorical" if slot.values else "date" if takes(slot) == "day" else "text"
    if kind == "text" or set(slot.values) == {"True", "False"}:
        return "silent"
    values = tuple(Value(name=listed, title=listed) for listed in slot.values)
    rules = Slot(name=slot.name, title=title, description="", kind=kind, question="", values=values)
    choices = choices_of(rules)

    def read(text: str, *, asked: bool) -> set[SlotValue]:
        found = find(rules, text, today=ANY_DAY, choices=choices, asked=asked)
        return {one.value for one in found if not denied(text, one.start)}

    heard = read(clean(said), asked=False)
    if not heard:
        return "silent"
    return "agrees" if heard & {value, *read(value, asked=True)} else "differs"


def fitted(dialogue: str) -> bool:
    """Whether a development dialogue is of the half that confidences are fitted on."""
    return hashlib.sha256(dialogue.encode()).digest()[0] % 2 == 0


def described(
    original: Mapping[str, ServiceText], by: Mapping[str, ServiceText]
) -> dict[str, ServiceText]:
    """The services under their own names, with the descriptions of another schema file."""
    services = {}
    for (name, service), other in zip(original.items(), by.values(), strict=True):
        services[name] = replace(
            other,
            slots=tuple(
                replace(slot, name=own.name)
                for slot, own in zip(other.slots, service.slots, strict=True)
            ),
            intents=tuple(
                replace(intent, name=own.name)
                for intent, own in zip(other.intents, service.intents, strict=True)
            ),
        )
    return services


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    tokens: tuple[tuple[str, float], ...]
    """Each token and its log-probability, before the grammar."""


@dataclass(kw_only=True)
class Engine:
    """The model server, started when it is first asked, and what it answered before."""

    kept_in: Path | None
    weight_type: str
    known: dict[str, Answer] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _client: httpx.Client | None = None

    def __enter__(self) -> Self:
        if self.kept_in and self.kept_in.exists():
            for line in self.kept_in.read_text("utf-8").splitlines():
                kept = json.loads(line)
                tokens = tuple((token, score) for token, score in kept["tokens"])
                self.known[kept["key"]] = Answer(text=kept["text"], tokens=tokens)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, messages: Sequence[Message], rules: str | None) -> Answer:
        """The model's line for the conversation, under a grammar if one is given."""
        which = [] if self.weight_type == SERVED_TYPE else [self.weight_type]
        asked = json.dumps([default_base_name(), *which, rules, list(messages)])
        key = hashlib.sha256(asked.encode()).hexdigest()
        if key not in self.known:
            if self._client is None:
                self._client = self._stack.enter_context(
                    model_server(ROOT / "var" / "models", self.weight_type)
                )
            started = time.perf_counter()
            self.known[key] = complete(self._client, messages, rules)
            self.milliseconds.append(1000 * (time.perf_counter() - started))
            self._keep(key, self.known[key])
        return self.known[key]

    def timings(self) -> dict[str, float | None]:
        if len(self.milliseconds) < 2:
            return {"ms_p50": None, "ms_p95": None}
        return {
            "ms_p50": round(statistics.median(self.milliseconds), 1),
            "ms_p95": round(statistics.quantiles(self.milliseconds, n=20)[-1], 1),
        }

    def _keep(self, key: str, answer: Answer) -> None:
        if self.kept_in:
            with self.kept_in.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, **asdict(answer)}) + "\n")


def complete(client: httpx.Client, messages: Sequence[Message], rules: str | None) -> Answer:
    answer = client.post(
        "/v1/chat/completions",
        json={
            "model": default_base_name(),
            "messages": list(messages),
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            "grammar": rules,
            "logprobs": True,
        },
    )
    answer.raise_for_status()
    choice = answer.json()["choices"][0]
    return Answer(
        text=choice["message"]["content"],
        tokens=tuple((one["token"], one["logprob"]) for one in choice["logprobs"]["content"]),
    )


@contextmanager
def model_server(models: Path, weight_type: str) -> Iterator[httpx.Client]:
    """The product's model server with one slot, on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "modeling.inference.server", "--port", str(port)),
                *("--models-dir", str(models), "--adapters-dir", folder),
                *("--context", str(CONTEXT), "--parallel", "1", "--api-key-env", "BENCH_KEY"),
                *("--type", weight_type),
            ],
            cwd=ROOT,
            env={"BENCH_KEY": key, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=120,
            ) as client:
                wait_for(client, process)
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"the model server ended with {process.returncode}")
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the model server was not ready after 150 s")
