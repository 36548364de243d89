"""The action's HTTP call against endpoints that answer, fail, hang, lie and redirect."""

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from apps.customer_service import actions
from apps.customer_service.actions import Endpoint, call, read_answer
from apps.customer_service.schema import Action
from apps.customer_service.simulation import LOOPBACK, SERVICE, running_shop


def action_of(intent: str) -> Action:
    action = SERVICE.intent(intent).action
    assert action is not None
    return action


STATUS = action_of("order_status")
RETURN = action_of("return_item")
ORDER = {"order_number": "HP-10422", "email": "ben@example.com"}
GOODS = {
    "order_number": "HP-10426",
    "email": "fatima@example.com",
    "item": "VAS-01",
    "reason": "damaged",
}
GOOD_ANSWER = {"number": "HP-10422", "status": "shipped", "status_text": "on its way", "items": []}

Respond = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def endpoint(
    respond: Respond, bodies: list[bytes] | None = None
) -> Iterator[tuple[Endpoint, list[tuple[str, str, dict[str, str]]]]]:
    """An HTTP server that answers as `respond` does, and what it was asked; `bodies` takes theirs."""
    asked: list[tuple[str, str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.command, self.path, dict(self.headers)))
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if bodies is not None:
                bodies.append(body)
            respond(self)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/api"
        yield Endpoint(base_url=url, secret="s3cret", allowed=LOOPBACK), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(status: int, body: object, **headers: str) -> Respond:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(raw)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            handler.wfile.write(raw)

    return respond


def test_it_sends_values_in_their_places_and_the_token() -> None:
    with endpoint(answer(200, GOOD_ANSWER)) as (place, asked):
        outcome = call(STATUS, ORDER, place)
    assert outcome.kind == "ok"
    method, path, headers = asked[0]
    assert (method, path) == ("GET", "/api/orders/HP-10422?email=ben%40example.com")
    assert headers["Authorization"] == "Bearer s3cret"


def test_a_value_cannot_leave_its_segment_of_the_path() -> None:
    with endpoint(answer(404, {"code": "not_found"})) as (place, asked):
        call(STATUS, {**ORDER, "order_number": "../reset?x=1#"}, place)
    assert asked[0][1].startswith("/api/orders/..%2Freset%3Fx%3D1%23?email=")


def test_a_change_carries_its_key_and_is_sent_once() -> None:
    with endpoint(answer(503, {})) as (place, asked):
        outcome = call(RETURN, GOODS, place, idempotency_key="k-1")
    assert outcome.kind == "uncertain"
    assert [request[2]["Idempotency-Key"] for request in asked] == ["k-1"]


def test_values_are_sent_in_the_type_that_the_endpoint_wants() -> None:
    action = Action(
        method="POST", path="/parcels",
        body={"fragile": "fragile", "size": "size", "count": "count", "note": "note"},
        sent_as={"fragile": "flag", "size": "number"},
    )  # fmt: skip
    sent: list[bytes] = []
    with endpoint(answer(200, {}), sent) as (place, _asked):
        values = {"fragile": "false", "size": "2", "count": 3, "note": "true"}
        call(action, values, place, idempotency_key="k-1")
    assert json.loads(sent[0]) == {"fragile": False, "size": 2, "count": 3, "note": "true"}


def test_a_question_is_asked_twice_when_the_server_stumbles() -> None:
    answers = iter([answer(503, {}), answer(200, GOOD_ANSWER)])
    with endpoint(lambda handler: next(answers)(handler)) as (place, asked):
        assert call(STATUS, ORDER, place).kind == "ok"
    assert len(asked) == 2


def test_a_change_without_an_answer_is_uncertain() -> None:
    with endpoint(lambda handler: time.sleep(0.6)) as (place, _asked):
        outcome = call(RETURN, GOODS, place, idempotency_key="k", timeout_seconds=0.2)
    assert outcome.kind == "uncertain"


def test_a_change_that_never_left_is_not_uncertain() -> None:
    place = Endpoint(base_url="http://127.0.0.1:9", allowed=LOOPBACK)
    assert call(RETURN, GOODS, place, idempotency_key="k").kind == "unavailable"


def test_a_slow_drip_is_cut_off() -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for _byte in range(60):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)

    with endpoint(drip) as (place, _asked):
        started = time.monotonic()
        outcome = call(RETURN, GOODS, place, idempotency_key="k", timeout_seconds=0.3)
    assert outcome.kind == "uncertain"
    assert time.monotonic() - started < 4


def test_a_redirect_is_not_followed() -> None:
    with (
        endpoint(answer(200, GOOD_ANSWER)) as (other, asked_there),
        endpoint(answer(302, {}, Location=other.base_url)) as (place, _asked),
    ):
        assert call(STATUS, ORDER, place).kind == "wrong"
    assert asked_there == []


def test_a_huge_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "LARGEST_ANSWER", 1000)
    with endpoint(answer(200, {**GOOD_ANSWER, "more": "x" * 5000})) as (place, _asked):
        assert call(STATUS, ORDER, place).kind == "wrong"


def test_a_private_address_that_nobody_opened_is_not_called() -> None:
    with endpoint(answer(200, GOOD_ANSWER)) as (place, asked):
        closed = dataclasses.replace(place, allowed=())
        assert call(STATUS, ORDER, closed).kind == "unavailable"
    assert asked == []


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"",
        b"[]",
        b"null",
        {**GOOD_ANSWER, "number": "HP-10421"},
        {**GOOD_ANSWER, "items": "none"},
        {key: value for key, value in GOOD_ANSWER.items() if key != "status"},
        b"[" * 60_000,
    ],
)
def test_an_answer_that_lies_is_not_believed(body: object) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert read_answer(STATUS, ORDER, 200, raw).kind == "wrong"


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (404, {"code": "not_found"}, "refused", "not_found"),
        (404, b"", "refused", "404"),
        (409, {"code": ["odd"]}, "refused", "['odd']"),
        (429, {}, "unavailable", ""),
        (500, {}, "unavailable", ""),
        (302, {}, "wrong", ""),
    ],
)
def test_what_a_status_means(status: int, body: object, kind: str, code: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome = read_answer(STATUS, ORDER, status, raw)
    assert (outcome.kind, outcome.code) == (kind, code)


def test_the_shop_does_a_repeated_change_once() -> None:
    with running_shop() as shop:
        first = call(RETURN, GOODS, shop.endpoint, idempotency_key="k-1")
        again = call(RETURN, GOODS, shop.endpoint, idempotency_key="k-1")
        other = call(RETURN, {**GOODS, "reason": "other"}, shop.endpoint, idempotency_key="k-1")
        fresh = call(RETURN, GOODS, shop.endpoint, idempotency_key="k-2")
        assert first.data["return_number"] == again.data["return_number"] == "R-7001"
        assert (other.kind, other.code) == ("refused", "key_reused")
        assert (fresh.kind, fresh.code) == ("refused", "already_returned")
        assert len(shop.shop.calls) == 1


def test_the_shop_wants_its_token() -> None:
    with running_shop() as shop:
        stranger = dataclasses.replace(shop.endpoint, secret="guess")
        assert call(STATUS, ORDER, stranger).code == "unauthorised"
        assert (
            call(STATUS, {**ORDER, "email": "eve@example.com"}, shop.endpoint).code == "not_found"
        )
