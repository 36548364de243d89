"""Conversations with the tracker and the policy against the demo businesses, without the platform.

Tests script them; `ops/benchmarks/service_dialogues.py` lets simulated customers hold them.
"""

import contextlib
import datetime
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import uvicorn

from apps.customer_service import routing
from apps.customer_service.actions import Endpoint, call
from apps.customer_service.demo_businesses.app import create_app
from apps.customer_service.demo_businesses.business import Business
from apps.customer_service.demo_businesses.clinic import Clinic
from apps.customer_service.demo_businesses.restaurant import Restaurant
from apps.customer_service.demo_businesses.shop import Shop
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.intents import Embed, IntentIndex, rank
from apps.customer_service.model_tracker import Write, hear
from apps.customer_service.policy import Outcome, advance
from apps.customer_service.replies import Performance
from apps.customer_service.schema import Intent, Service, parse_service
from apps.customer_service.tracker import (
    LONGEST_WISH,
    Ranking,
    ReadMore,
    State,
    empty_state,
    evidence_in,
    read,
)
from praxis.assistants.contract import Event, Handoff, StateChanged, Token
from praxis.guarded_http import AllowedNetwork

TODAY = datetime.date(2026, 3, 4)  # a Wednesday
TOKEN = "token-of-the-simulated-demo"  # noqa: S105  (of businesses that live for one run)
LOOPBACK = [AllowedNetwork.parse("127.0.0.1/32")]
SERVICE = parse_service(SHOP)


@dataclass(frozen=True)
class RunningDemo:
    """The demo's businesses, answering on the loopback."""

    shop: Shop
    restaurant: Restaurant
    clinic: Clinic
    url: str

    @property
    def businesses(self) -> tuple[Business, ...]:
        return (self.shop, self.restaurant, self.clinic)

    def endpoint(self, business: str) -> Endpoint:
        return Endpoint(base_url=f"{self.url}/{business}", secret=TOKEN, allowed=LOOPBACK)


@dataclass(frozen=True)
class RunningShop:
    shop: Shop
    url: str

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=self.url, secret=TOKEN, allowed=LOOPBACK)


@contextlib.contextmanager
def running_demo() -> Iterator[RunningDemo]:
    """The businesses' own program, on a free port of the loopback."""
    shop, restaurant, clinic = Shop(TODAY), Restaurant(TODAY), Clinic(TODAY)
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(TOKEN, (shop, restaurant, clinic))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield RunningDemo(shop, restaurant, clinic, url)
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()


@contextlib.contextmanager
def running_shop() -> Iterator[RunningShop]:
    with running_demo() as demo:
        yield RunningShop(demo.shop, f"{demo.url}/shop")


@dataclass
class Talk:
    """A conversation with the tracker, the policy and real endpoints, without the platform."""

    endpoint: Endpoint
    service: Service = SERVICE
    embed: Embed | None = None
    read_more: ReadMore | None = None
    write: Write | None = None
    """The language model, to read beside the rules."""
    today: datetime.date = TODAY
    state: State = field(default_factory=empty_state)
    turn: int = 0
    sent: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    """Every call that was made: intent and values."""
    spoken: list[dict[str, str]] = field(default_factory=list)
    handed_over: bool = False
    offered: Mapping[str, tuple[Service, Endpoint]] = field(default_factory=dict)
    """All services of which the messages may speak, by name; `service` is the one spoken of."""
    indexes: dict[str, IntentIndex] = field(default_factory=dict)

    def say(self, text: str) -> str:
        """The assistant's words; "[documents]" or "[unclear]" where other chains would speak."""
        self.turn += 1
        self._choose_service(text)
        service = self.service
        reading = read(
            service,
            self.state,
            text,
            today=self.today,
            recognise=lambda part, evidence: self._rank(service, part, evidence),
            read_more=self.read_more,
        )
        if self.write:
            reading, self.state = hear(
                self.service,
                self.state,
                reading,
                text,
                number=self.turn,
                today=self.today,
                recent=lambda max_tokens: self.spoken,
                write=self.write,
            )
        self.state = advance(self.service, self.state, reading, turn=self.turn, text=text)
        answer = self._answer()
        self.spoken += [
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ]
        return answer

    def _answer(self) -> str:
        kind = self.state["move"]["kind"]
        if kind in ("documents", "unclear"):
            return f"[{kind}]"
        events = list(self._perform())
        beside = "[documents] " if self.state["move"].get("documents_too") else ""
        return beside + "".join(event.text for event in events if isinstance(event, Token))

    def _rank(self, service: Service, text: str, evidence: frozenset[str]) -> Ranking:
        if service.name not in self.indexes:
            self.indexes[service.name] = IntentIndex.of(service)
        return rank(self.indexes[service.name], text, embed=self.embed, evidence=evidence)

    def _choose_service(self, text: str) -> None:
        if len(self.offered) < 2 or not routing.is_free(self.state):
            return
        text = text[:LONGEST_WISH]
        rankings = {
            name: self._rank(service, text, evidence_in(service, text, self.today))
            for name, (service, _endpoint) in self.offered.items()
        }
        chosen, endpoint = self.offered[routing.nearest(self.service.name, rankings)]
        if chosen is not self.service:
            self.state = routing.carried_over(self.state, self.service, chosen)
            self.service, self.endpoint = chosen, endpoint

    def _perform(self) -> Iterator[Event]:
        performance = Performance(service=self.service, state=self.state, perform=self._call)
        for event in performance.events():
            if isinstance(event, StateChanged):
                self.state = event.state
            elif isinstance(event, Handoff):
                self.handed_over = True
            yield event

    def _call(self, intent: Intent, values: object, state: State) -> Outcome:
        assert intent.action is not None
        assert isinstance(values, dict)
        self.sent.append((intent.name, dict(values)))
        if intent.action.changes_something and not state["key"]:
            state["key"] = f"{id(self)}-{self.turn}-{intent.name}"
        return call(
            intent.action,
            values,
            self.endpoint,
            idempotency_key=state["key"],
            timeout_seconds=2,
        )

    def values(self) -> dict[str, object]:
        return {name: entry["value"] for name, entry in self.state["slots"].items()}
