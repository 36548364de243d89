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
from apps.customer_service.policy import Outcome
from apps.customer_service.replies import Performance
from apps.customer_service.schema import Intent, Service, parse_service
from apps.customer_service.tracker import Ranking, Reading, ReadMore, State, empty_state
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
        state = {**self.state, "definition": self.state["definition"] or self.service.name}
        offer = routing.Offer(
            services={name: service for name, (service, _endpoint) in self._offered().items()},
            today=self.today,
            rank=lambda name, part, evidence: self._rank(str(name), part, evidence),
            rank_all=lambda part, evidence: self._rank("", part, evidence),
            read_more=self.read_more,
            hear=self._hear if self.write else None,
        )
        self._go_to(routing.follow(offer, state, text, number=self.turn))
        answer = self._answer()
        self.spoken += [
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ]
        return answer

    def _hear(
        self, service: Service, state: State, reading: Reading, text: str
    ) -> tuple[Reading, State]:
        assert self.write
        return hear(
            service,
            state,
            reading,
            text,
            number=self.turn,
            today=self.today,
            recent=lambda max_tokens: self.spoken,
            write=self.write,
        )

    def _offered(self) -> Mapping[str, tuple[Service, Endpoint]]:
        return self.offered or {self.service.name: (self.service, self.endpoint)}

    def _go_to(self, state: State) -> None:
        self.state = state
        self.service, self.endpoint = self._offered()[state["definition"]]

    def _come_back(self, state: State) -> tuple[Service, State]:
        services: dict[routing.Key, Service] = {
            name: service for name, (service, _endpoint) in self._offered().items()
        }
        self._go_to(routing.come_back(services, state))
        return self.service, self.state

    def _answer(self) -> str:
        kind = self.state["move"]["kind"]
        if kind in ("documents", "unclear"):
            return f"[{kind}]"
        events = list(self._perform())
        beside = "[documents] " if self.state["move"].get("documents_too") else ""
        return beside + "".join(event.text for event in events if isinstance(event, Token))

    def _rank(self, name: str, text: str, evidence: frozenset[str]) -> Ranking:
        """Of the intents of one service; of all of them for ""."""
        if not self.indexes:
            for one, (service, _endpoint) in self._offered().items():
                self.indexes[one] = IntentIndex.of(service)
            self.indexes[""] = IntentIndex.joined(self.indexes)
        return rank(self.indexes[name], text, embed=self.embed, evidence=evidence)

    def _perform(self) -> Iterator[Event]:
        performance = Performance(
            service=self.service, state=self.state, perform=self._call, come_back=self._come_back
        )
        for event in performance.events():
            if isinstance(event, StateChanged):
                self._go_to(event.state)
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
