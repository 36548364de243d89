import http.server
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from django.utils.translation import override
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.guarded_http import AddressRefused, AllowedNetwork
from praxis.integrations.events import emit
from praxis.integrations.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from praxis.integrations.tasks import deliver_due
from praxis.integrations.webhooks import (
    RETRY_SECONDS,
    attempt,
    claim_due,
    create_endpoint,
    replay,
    wait_before,
)

PrincipalOf = Callable[..., Principal]


class Receiver:
    """A real HTTP server that keeps what it got and answers with the queued statuses."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append(
                    ({name.lower(): value for name, value in self.headers.items()}, body)
                )
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOWED_NETWORKS = [AllowedNetwork.parse("127.0.0.1/32")]
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def endpoint(admin: User, receiver: Receiver, principal_of: PrincipalOf) -> WebhookEndpoint:
    row, secret = create_endpoint(principal=principal_of(admin), url=receiver.url)
    row.secret = secret  # type: ignore[attr-defined]
    return row


def emitted(
    endpoint: WebhookEndpoint, name: str = "document.ready", subject: str = "d1"
) -> WebhookEvent:
    event = emit(endpoint.workspace, name, subject=subject, data={"title": "Größe 大"})
    assert event is not None
    return event


def send_all() -> None:
    while deliveries := claim_due():
        for delivery in deliveries:
            attempt(delivery)


def test_the_reference_library_accepts_the_signature(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    event = emitted(endpoint)
    send_all()
    ((headers, body),) = receiver.received
    payload = Webhook(endpoint.secret).verify(body, headers)  # type: ignore[attr-defined]
    assert payload["type"] == "document.ready"
    assert payload["data"] == {"title": "Größe 大"}
    assert headers["webhook-id"] == event.pk
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint.secret).verify(body.replace(b"d1", b"d2"), headers)  # type: ignore[attr-defined]


def test_events_of_one_subject_are_numbered(endpoint: WebhookEndpoint) -> None:
    numbers = [emitted(endpoint).seq, emitted(endpoint).seq, emitted(endpoint, subject="d2").seq]
    assert numbers == [1, 2, 1]


def test_only_wanted_events_are_written(endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(event_names=["document.failed"])
    assert emit(endpoint.workspace, "document.ready", subject="d", data={}) is None
    assert emit(endpoint.workspace, "document.failed", subject="d", data={}) is not None
    with pytest.raises(ValueError, match=r"got .document\.gone."):
        emit(endpoint.workspace, "document.gone", subject="d", data={})


def test_retries_follow_the_schedule_until_given_up(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.statuses = [500] * 20
    emitted(endpoint)
    ids = set()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _round in range(12):
            clock.shift(timedelta(hours=13))
            send_all()
    delivery = WebhookDelivery.objects.get()
    ids = {headers["webhook-id"] for headers, _body in receiver.received}
    assert delivery.state == "dead"
    assert delivery.attempts == len(receiver.received) == len(RETRY_SECONDS) == 8
    assert len(ids) == 1
    assert sum(RETRY_SECONDS) >= 27 * 3600 + 35 * 60


def test_waits_are_spread_and_retry_after_is_clamped() -> None:
    for attempts in range(1, len(RETRY_SECONDS)):
        base = RETRY_SECONDS[attempts]
        waits = [wait_before(attempts) for _try in range(50)]
        assert all(0.8 * base <= wait <= 1.2 * base for wait in waits)
        assert len(set(waits)) > 1
        assert wait_before(attempts, retry_after=10**9) == 2 * base
        assert wait_before(attempts, retry_after=0) == base


@pytest.mark.parametrize(
    ("status", "state"),
    [(200, "delivered"), (204, "delivered"), (302, "pending"), (404, "pending")],
)
def test_only_2xx_is_success(
    endpoint: WebhookEndpoint, receiver: Receiver, status: int, state: str
) -> None:
    receiver.statuses = [status]
    emitted(endpoint)
    for delivery in claim_due():
        attempt(delivery)
    assert WebhookDelivery.objects.get().state == state
    assert len(receiver.received) == 1


def test_410_switches_the_endpoint_off(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.statuses = [410]
    emitted(endpoint)
    send_all()
    endpoint.refresh_from_db()
    assert not endpoint.enabled
    assert "410" in endpoint.disabled_reason
    assert emit(endpoint.workspace, "document.ready", subject="d", data={}) is None


def test_five_days_of_failure_switch_it_off_and_a_success_in_between_does_not(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        for day in range(11):
            receiver.statuses = [204 if day == 4 else 500]
            emitted(endpoint)
            for delivery in claim_due():
                attempt(delivery)
                WebhookDelivery.objects.all().delete()
            endpoint.refresh_from_db()
            assert endpoint.enabled == (day < 10), day
            clock.shift(timedelta(days=1))


def test_a_dead_sender_loses_nothing(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    emitted(endpoint)
    assert len(claim_due()) == 1  # claimed by a sender that dies here
    assert claim_due() == []
    with time_machine.travel(timezone.now() + timedelta(seconds=61)):
        send_all()
    assert len(receiver.received) == 1


def test_one_endpoint_never_takes_all_places(endpoint: WebhookEndpoint) -> None:
    for number in range(10):
        emitted(endpoint, subject=f"d{number}")
    assert len(claim_due()) == 2


@pytest.mark.django_db(transaction=True)
def test_the_task_sends_what_is_due(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    for number in range(5):
        emitted(endpoint, subject=f"d{number}")
    assert deliver_due.run() == 5
    assert deliver_due.run() == 0
    assert len(receiver.received) == 5


def test_replay_keeps_the_id(
    endpoint: WebhookEndpoint, receiver: Receiver, admin: User, principal_of: PrincipalOf
) -> None:
    emitted(endpoint)
    send_all()
    replay(principal=principal_of(admin), delivery=WebhookDelivery.objects.get())
    send_all()
    first, second = (headers["webhook-id"] for headers, _body in receiver.received)
    assert first == second
    assert WebhookDelivery.objects.get().log.count() == 2


def test_a_private_address_is_refused_when_registering_and_when_sending(
    admin: User, settings: Settings, endpoint: WebhookEndpoint, principal_of: PrincipalOf
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    with pytest.raises(AddressRefused):
        create_endpoint(principal=principal_of(admin), url="http://127.0.0.1:9/")
    emitted(endpoint)
    (delivery,) = claim_due()
    assert "private or reserved" in str(attempt(delivery).reason)


def test_the_page_registers_tests_and_lists(
    admin: User, receiver: Receiver, client_for: Callable[[User], Client]
) -> None:
    client = client_for(admin)
    base = "/w/north-clinic/integrations/"
    page = client.post(base + "webhooks/", {"url": "http://10.0.0.1/"}).content.decode()
    assert "private or reserved network" in page
    page = client.post(base + "webhooks/", {"url": receiver.url}).content.decode()
    assert "whsec_" in page
    row = WebhookEndpoint.objects.get()
    client.post(f"{base}webhooks/{row.pk}/", {"test": "1"})
    send_all()
    page = client.get(f"{base}webhooks/{row.pk}/").content.decode()
    assert "webhook.test" in page
    assert json.loads(receiver.received[0][1])["type"] == "webhook.test"


@pytest.mark.parametrize(
    ("status", "english", "chinese"),
    [
        (302, "The receiver redirects; redirects are not followed.", "系统不会跟随重定向"),
        (500, "The receiver answered 500.", "接收方返回了 500。"),
        (410, "The receiver answered 410 Gone.", "接收方返回了 410 Gone。"),
    ],
)
def test_the_page_says_in_the_reader_s_language_why_a_delivery_failed(
    endpoint: WebhookEndpoint,
    admin: User,
    receiver: Receiver,
    client_for: Callable[[User], Client],
    status: int,
    english: str,
    chinese: str,
) -> None:
    receiver.statuses = [status]
    emitted(endpoint)
    send_all()
    client = client_for(admin)
    page = f"/w/north-clinic/integrations/webhooks/{endpoint.pk}/"
    assert english in client.get(page).content.decode()
    client.cookies["django_language"] = "zh-hans"
    assert chinese in client.get(page).content.decode()


def test_why_no_connection_was_made_is_told_in_the_reader_s_language(
    endpoint: WebhookEndpoint, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    emitted(endpoint)
    (delivery,) = claim_due()
    tried = attempt(delivery)
    tried.refresh_from_db()
    with override("zh-hans"):
        assert "127.0.0.1" in str(tried.reason) and "private" not in str(tried.reason)
