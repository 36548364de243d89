"""A program brings messages from elsewhere: who may, what comes of it, and what comes back."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, override
from standardwebhooks import Webhook

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations import streams, turns
from praxis.conversations.models import Conversation, Message
from praxis.conversations.tests.conftest import Capture
from praxis.conversations.tests.conftest import quick as quick
from praxis.conversations.tests.conftest import sample_assistant as sample_assistant
from praxis.handoff import services as handoff
from praxis.integrations import answers, channels, hook_views
from praxis.integrations.channels import create_channel, receive, rotate_secret, switch
from praxis.integrations.models import InboundChannel, InboundMessage, WebhookEvent
from praxis.integrations.tests.test_webhooks import Receiver, send_all
from praxis.integrations.tests.test_webhooks import receiver as receiver
from tests.fakes import ModelServer

PrincipalOf = Callable[..., Principal]


class Sender:
    """A program outside that keeps the secret."""

    def __init__(self, channel: InboundChannel, secret: str, capture: Capture) -> None:
        self.address = f"/hooks/{channel.name}/{channel.key}"
        self.secret, self.capture = secret, capture

    def send(
        self, text: str = "I like red", *, message_id: str = "m1", raw: bytes = b"", **more: Any
    ) -> Any:
        body = raw or json.dumps({"sender": "+49 1", "text": text, **more}).encode()
        with self.capture(execute=True):
            return self.post(body, self.headers(body, message_id))

    def headers(self, body: bytes, message_id: str, at: datetime | None = None) -> dict[str, str]:
        at = at or timezone.now()
        text = body.decode(errors="replace")
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(message_id, at, text),
        }

    def post(self, body: bytes, headers: dict[str, str]) -> Any:
        client = Client(enforce_csrf_checks=True)
        return client.post(self.address, body, content_type="application/json", headers=headers)


@pytest.fixture
def channel(admin: User, principal_of: PrincipalOf) -> InboundChannel:
    made, secret, _reply = create_channel(
        principal=principal_of(admin), name="sms", assistant="sample"
    )
    made.secret = secret  # type: ignore[attr-defined]
    return made


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test's transaction turns run after the response, and its connection must stay open."""

    async def as_it_is(said: Message) -> Message:
        return said

    monkeypatch.setattr(hook_views, "_finished", as_it_is)
    monkeypatch.setattr(answers, "connections", SimpleNamespace(close_all=lambda: None))


@pytest.fixture
def sender(
    channel: InboundChannel,
    quick: ModelServer,
    no_wait: None,
    django_capture_on_commit_callbacks: Capture,
) -> Sender:
    return Sender(channel, channel.secret, django_capture_on_commit_callbacks)  # type: ignore[attr-defined]


def accepted(answer: Any) -> dict[str, Any]:
    assert answer.status_code in (200, 202), answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_message_goes_the_way_of_every_message(sender: Sender, quick: ModelServer) -> None:
    quick.enqueue("Red suits you.")
    with sender.capture(execute=True):
        received = receive(
            InboundChannel.objects.get(), "m1", b'{"sender": "+49 1", "text": "I like red"}'
        )
    said = Message.objects.get(pk=received.said.pk)
    assert (said.text, said.conversation.state) == ("Red suits you.", {"colour": "red"})
    assert (said.conversation.channel, said.conversation.person) == ("hook-sms", None)
    assert "+49" not in said.conversation.visitor_key
    quick.enqueue("Still red.")
    again = accepted(sender.send("And now?", message_id="m2"))
    assert again["conversation"] == str(said.conversation_id)
    other = accepted(sender.send("Hi", message_id="m3", thread="invoices"))
    assert other["conversation"] != again["conversation"]


@pytest.mark.django_db(transaction=True)
def test_the_answer_stands_in_the_response(channel: InboundChannel, quick: ModelServer) -> None:
    quick.enqueue("Red suits you.")
    sender = Sender(channel, channel.secret, lambda **_: nullcontext())  # type: ignore[attr-defined]
    answer = sender.send()
    assert answer.status_code == 200
    reply = answer.json()["reply"]
    assert (reply["text"], reply["status"]) == ("Red suits you.", "complete")
    assert reply["ai_generated"] is True


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda headers: headers.update({"webhook-id": "m2"}), "another secret"),
        (lambda headers: headers.update({"webhook-signature": "v1,AAAA"}), "another secret"),
        (lambda headers: headers.update({"webhook-signature": "v1"}), "not written"),
        (lambda headers: headers.update({"webhook-signature": "v1,A"}), "not written"),
        (lambda headers: headers.pop("webhook-signature"), "missing"),
        (lambda headers: headers.pop("webhook-id"), "missing"),
        (lambda headers: headers.update({"webhook-timestamp": "1e999"}), "not written"),
    ],
)
def test_a_forged_message_has_no_effect(
    sender: Sender, spoil: Callable[[dict[str, str]], Any], reason: str
) -> None:
    body = b'{"sender": "x", "text": "hello"}'
    headers = sender.headers(body, "m1")
    spoil(headers)
    assert sender.post(body, headers).status_code == 401
    assert not Conversation.objects.exists()
    channel = InboundChannel.objects.get()
    assert channel.num_refused == 1
    assert reason in channel.refused_reason
    with override("zh-hans"):
        assert gettext(channel.refused_reason) != channel.refused_reason


def test_a_changed_body_is_refused(sender: Sender) -> None:
    body = b'{"sender": "x", "text": "hello"}'
    headers = sender.headers(body, "m1")
    assert sender.post(body.replace(b"hello", b"hullo"), headers).status_code == 401
    assert sender.post(b"\xff" + body, headers).status_code == 401


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_late_or_early_message_is_refused(sender: Sender, minutes: int) -> None:
    body = b'{"sender": "x", "text": "hello"}'
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert sender.post(body, sender.headers(body, "m1", at)).status_code == 401
    assert not InboundMessage.objects.exists()
    side = "past" if minutes < 0 else "ahead"
    assert f"five minutes {side}" in InboundChannel.objects.get().refused_reason


def test_what_is_sent_again_has_one_effect(sender: Sender, quick: ModelServer) -> None:
    quick.enqueue("Red suits you.")
    first = accepted(sender.send())
    assert first["reply"] is None, "it took too long"
    again = accepted(sender.send())
    assert again["conversation"] == first["conversation"]
    assert again["reply"]["text"] == "Red suits you."
    assert Message.objects.filter(role="user").count() == 1
    other = sender.send("Something else")
    assert other.status_code == 422
    assert Message.objects.filter(role="user").count() == 1


def test_an_unknown_key_looks_like_a_wrong_signature(sender: Sender) -> None:
    body = b'{"sender": "x", "text": "hello"}'
    wrong = sender.post(body, {**sender.headers(body, "m1"), "webhook-signature": "v1,AAAA"})
    right_headers, own = sender.headers(body, "m1"), sender.address
    seen = {(wrong.status_code, wrong.content)}
    for address in (f"{own}x", own.replace("/sms/", "/mail/")):
        sender.address = address
        answer = sender.post(body, right_headers)
        seen.add((answer.status_code, answer.content))
    sender.address = own
    InboundChannel.objects.update(enabled=False)
    answer = sender.post(body, right_headers)
    seen.add((answer.status_code, answer.content))
    assert len(seen) == 1
    assert answer.status_code == 401


def test_an_unknown_key_costs_a_verification_too(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    real = channels._problem
    monkeypatch.setattr(
        channels,
        "_problem",
        lambda *args: verified.append(args[0]) or real(*args),  # type: ignore[func-returns-value]
    )
    sender.address += "x"
    assert sender.send().status_code == 401
    assert len(verified) == 1


def test_a_large_body_is_refused_unread(sender: Sender) -> None:
    answer = sender.send("x" * (channels.LARGEST_BODY + 1))
    assert answer.status_code == 413
    assert InboundChannel.objects.get().num_refused == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{",
        b'{"text": "no sender"}',
        b'{"sender": "x", "text": 3}',
        b'{"sender": "x", "text": " "}',
        b'{"sender": "x", "text": "a", "role": "admin"}',
        b'{"sender": "x", "text": "' + b"x" * 20_001 + b'"}',
    ],
)
def test_a_body_of_another_form_is_refused_with_a_sentence(sender: Sender, raw: bytes) -> None:
    answer = sender.send(raw=raw)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not InboundMessage.objects.exists()


def test_the_old_secret_is_taken_for_a_day(
    sender: Sender, channel: InboundChannel, admin: User, principal_of: PrincipalOf
) -> None:
    old = sender.secret
    new = rotate_secret(principal=principal_of(admin), channel=channel)
    for number, secret in enumerate((old, new)):
        sender.secret = secret
        accepted(sender.send(message_id=f"m{number}"))
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        sender.secret = old
        assert sender.send(message_id="late").status_code == 401
        sender.secret = new
        accepted(sender.send(message_id="late"))


def test_while_a_person_answers_the_assistant_is_silent(
    receiver: Receiver,
    quick: ModelServer,
    no_wait: None,
    admin: User,
    agent: User,
    principal_of: PrincipalOf,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    channel, secret, reply_secret = create_channel(
        principal=principal_of(admin), name="mail", assistant="sample", reply_url=receiver.url
    )
    sender = Sender(channel, secret, django_capture_on_commit_callbacks)
    quick.enqueue("Hello.")
    first = accepted(sender.send("Hi"))
    assert first["reply"] is None, "it comes by webhook"
    conversation = Conversation.objects.get()
    desk = principal_of(agent)
    handoff.take(principal=desk, conversation=conversation)
    second = accepted(sender.send("Are you there?", message_id="m2"))
    assert (second["owner"], second["reply"]) == ("person", None)
    handoff.reply(principal=desk, conversation=conversation, text="Yes, I am.")
    handoff.add_note(principal=desk, conversation=conversation, text="internal")
    assert Message.objects.filter(role="assistant").count() == 1
    send_all()
    replies = [Webhook(reply_secret).verify(body, headers) for headers, body in receiver.received]
    assert [(one["type"], one["data"]["reply"]["text"]) for one in replies] == [
        ("channel.reply", "Hello."),
        ("channel.reply", "Yes, I am."),
    ]
    assert [one["data"]["owner"] for one in replies] == ["assistant", "person"]
    assert {one["data"]["sender"] for one in replies} == {"+49 1"}
    assert [one["data"]["reply"]["ai_generated"] for one in replies] == [True, False]
    handoff.close(principal=desk, conversation=conversation)
    quick.enqueue("A new matter.")
    third = accepted(sender.send("Another thing", message_id="m3"))
    assert third["conversation"] != first["conversation"]


def test_an_answer_whose_process_died_is_told(
    receiver: Receiver,
    quick: ModelServer,
    no_wait: None,
    admin: User,
    principal_of: PrincipalOf,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    channel, secret, reply_secret = create_channel(
        principal=principal_of(admin), name="mail", assistant="sample", reply_url=receiver.url
    )
    sender = Sender(channel, secret, django_capture_on_commit_callbacks)
    monkeypatch.setattr(turns, "start", lambda **_: True)  # the process dies with the turn begun
    accepted(sender.send("Hi"))
    answer = Message.objects.get(role="assistant")
    streams.append(answer.pk, {"kind": "token", "text": "Half an "}, first=True)
    assert streams.sweep_interrupted() == 0
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        assert [streams.sweep_interrupted(), streams.sweep_interrupted()] == [1, 0]
        send_all()
        ((headers, body),) = receiver.received
        told = Webhook(reply_secret).verify(body, headers)["data"]
    assert (told["sender"], told["owner"]) == ("+49 1", "assistant")
    assert (told["reply"]["message"], told["reply"]["text"]) == (str(answer.pk), "Half an ")
    assert told["reply"]["status"] == "interrupted"
    assert told["reply"]["error"] == "The answer was interrupted. Your message is kept."
    again = accepted(sender.send("Hi"))
    assert again["reply"] == told["reply"]


def test_replies_go_to_their_own_channel_alone(
    sender: Sender, receiver: Receiver, admin: User, principal_of: PrincipalOf
) -> None:
    create_channel(
        principal=principal_of(admin), name="mail", assistant="sample", reply_url=receiver.url
    )
    accepted(sender.send())
    assert not WebhookEvent.objects.exists()


def test_too_many_messages_are_refused_for_a_while(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MESSAGES_OF_SENDER", 2)
    answers = [sender.send(message_id=f"m{number}") for number in range(3)]
    assert [answer.status_code for answer in answers][-1] == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
    accepted(sender.send(message_id="m0"))  # what was taken is answered again


@pytest.mark.django_db(transaction=True)
def test_of_duplicates_at_once_one_has_an_effect(
    channel: InboundChannel, quick: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 parallel copies of each of 200 messages, of senders who begin at the same moment."""
    monkeypatch.setattr(channels, "MESSAGES_PER_MINUTE", 1000)

    def deliver(number: int) -> bool:
        body = json.dumps({"sender": f"s{number}", "text": "hand over"}).encode()
        return receive(channel, f"m{number}", body).is_new

    def close_connections() -> None:
        together.wait()
        connections.close_all()

    together = Barrier(10)
    with ThreadPoolExecutor(10) as threads:
        new = list(threads.map(deliver, [number for number in range(200) for _copy in range(5)]))
        for closed in [threads.submit(close_connections) for _thread in range(10)]:
            closed.result()
    assert new.count(True) == 200
    assert Message.objects.filter(role="user").count() == 200
    assert InboundMessage.objects.count() == Conversation.objects.count() == 200


def test_administrators_set_channels_up(
    quick: ModelServer,
    admin: User,
    agent: User,
    stranger: User,
    client_for: Callable[[User], Client],
    principal_of: PrincipalOf,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    boss, page = client_for(admin), reverse("integrations:channels", args=["north-clinic"])
    assert boss.post(page, {"name": "no spaces", "assistant": "sample"}).status_code == 422
    private = {"name": "x", "assistant": "sample", "reply_url": "https://169.254.169.254/"}
    assert boss.post(page, private).status_code == 422
    assert not InboundChannel.objects.exists()
    made = boss.post(page, {"name": "sms", "assistant": "sample"})
    assert made.content.decode().count("whsec_") == 1
    assert boss.post(page, {"name": "sms", "assistant": "sample"}).status_code == 422
    channel = InboundChannel.objects.get()
    own = reverse("integrations:channel", args=["north-clinic", channel.pk])
    assert "whsec_" not in boss.get(own).content.decode()
    assert f"/hooks/sms/{channel.key}" in boss.get(own).content.decode()
    quick.enqueue("It works.")
    with django_capture_on_commit_callbacks(execute=True):
        boss.post(f"{own}test/", {"text": "Hello?"})
    assert "It works." in boss.get(own).content.decode()
    assert "whsec_" in boss.post(f"{own}rotate/").content.decode()
    boss.post(f"{own}switch/")
    channel.refresh_from_db()
    assert not channel.enabled
    for act in ("", "test/", "rotate/", "switch/", "delete/"):
        ask = client_for(agent).post if act else client_for(agent).get
        assert ask(f"{own}{act}").status_code == 403
        ask = client_for(stranger).post if act else client_for(stranger).get
        assert ask(f"{own}{act}").status_code == 404
    switch(principal=principal_of(admin), channel=channel, enabled=True)
    boss.post(f"{own}delete/")
    assert not InboundChannel.objects.exists()
    assert Conversation.objects.exists()
