"""An integrator's way through the REST API, over real HTTP."""

import json
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.models import Conversation, Message
from praxis.integrations.models import ApiKey
from tests.fakes import ModelServer

PrincipalOf = Callable[..., Principal]
KeyOf = Callable[..., str]


@pytest.fixture
def api(platform: str, admin: User, principal_of: PrincipalOf, key_of: KeyOf) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key_of(principal_of(admin))}"}
    return httpx.Client(base_url=f"{platform}/api/v1", headers=headers, timeout=20)


def begin(api: httpx.Client) -> str:
    answer = api.post("/conversations", json={"assistant": "tiny"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_message_is_answered_and_kept(api: httpx.Client, model_server: ModelServer) -> None:
    model_server.enqueue("Fresh wind from the west.")
    conversation = begin(api)
    answer = api.post(f"/conversations/{conversation}/messages", json={"text": "How is the wind?"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["text"] == "Fresh wind from the west."
    assert found["status"] == "complete"
    assert found["ai_generated"] is True
    assert found["confidence"]["chain"] == "model"
    assert found["receipt"]["assistant"] == "tiny"
    whole = api.get(f"/conversations/{conversation}").json()
    assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
    assert "not a pilot" in whole["notice"]


def test_an_answer_streams_as_events(api: httpx.Client, model_server: ModelServer) -> None:
    model_server.enqueue("One two three four.")
    conversation = begin(api)
    body = {"text": "Count.", "stream": True}
    kinds, text = [], ""
    with api.stream("POST", f"/conversations/{conversation}/messages", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line[6:])
                kinds.append(event["kind"])
                text += event.get("text", "") if event["kind"] == "token" else ""
    assert text == "One two three four."
    assert kinds[0] == "state_changed"
    assert kinds[-1] == "done"


def test_the_same_idempotency_key_has_one_effect(api: httpx.Client) -> None:
    conversation = begin(api)
    path, headers = f"/conversations/{conversation}/messages", {"Idempotency-Key": "k1"}
    first = api.post(path, json={"text": "When is high tide?"}, headers=headers).json()
    again = api.post(path, json={"text": "When is high tide?"}, headers=headers).json()
    assert first["id"] == again["id"]
    assert Message.objects.filter(role="user").count() == 1
    other = api.post(path, json={"text": "Something else"}, headers=headers)
    assert other.status_code == 422


@pytest.mark.parametrize(
    ("text", "part"),
    [("", "empty"), (" \n ", "empty"), ("x" * 20_001, "20,001"), ("\x00\x01binary", "not text")],
)
def test_bad_messages_are_refused_with_a_sentence(api: httpx.Client, text: str, part: str) -> None:
    answer = api.post(f"/conversations/{begin(api)}/messages", json={"text": text})
    assert answer.status_code == 422
    assert part in answer.json()["error"]["message"]


def test_feedback_state_and_deletion(api: httpx.Client) -> None:
    conversation = begin(api)
    message = api.post(
        f"/conversations/{conversation}/messages", json={"text": "When is high tide?"}
    ).json()
    feedback = {"thumb": "down", "correction": "High tide is at one."}
    assert api.post(f"/messages/{message['id']}/feedback", json=feedback).status_code == 201
    state = api.patch(f"/conversations/{conversation}/state", json={"key": "asked", "value": "2"})
    assert state.status_code == 409, "this assistant's state can't be edited"
    assert api.delete(f"/conversations/{conversation}").status_code == 204
    assert not Conversation.objects.exists()


def test_every_object_of_another_workspace_is_404(
    api: httpx.Client, platform: str, stranger: User, principal_of: PrincipalOf, key_of: KeyOf
) -> None:
    conversation = begin(api)
    message = api.post(f"/conversations/{conversation}/messages", json={"text": "tide"}).json()
    webhook = api.post("/webhooks", json={"url": "http://93.184.216.34/"}).json()
    headers = {"Authorization": f"Bearer {key_of(principal_of(stranger))}"}
    other = httpx.Client(base_url=f"{platform}/api/v1", headers=headers)
    attempts = [
        ("GET", f"/conversations/{conversation}", None),
        ("DELETE", f"/conversations/{conversation}", None),
        ("POST", f"/conversations/{conversation}/messages", {"text": "hi"}),
        ("PATCH", f"/conversations/{conversation}/state", {"key": "a", "value": "b"}),
        ("GET", f"/messages/{message['id']}", None),
        ("GET", f"/messages/{message['id']}/events", None),
        ("POST", f"/messages/{message['id']}/stop", None),
        ("POST", f"/messages/{message['id']}/feedback", {"thumb": "up"}),
        ("DELETE", f"/webhooks/{webhook['id']}", None),
        ("GET", f"/webhooks/{webhook['id']}/deliveries", None),
        ("POST", f"/webhooks/{webhook['id']}/test", None),
        ("GET", f"/conversations/{uuid4()}", None),
    ]
    for method, path, body in attempts:
        assert other.request(method, path, json=body).status_code == 404, (method, path)
    assert other.get("/conversations").json()["count"] == 0


def test_keys_are_limited_to_their_scopes(
    platform: str, admin: User, principal_of: PrincipalOf, key_of: KeyOf
) -> None:
    secret = key_of(principal_of(admin), scopes=["conversations:read"])
    api = httpx.Client(base_url=f"{platform}/api/v1", headers={"Authorization": f"Bearer {secret}"})
    assert api.get("/conversations").status_code == 200
    assert api.post("/conversations", json={"assistant": "tiny"}).status_code == 403
    ApiKey.objects.all().delete()
    assert api.get("/conversations").status_code == 401
    assert httpx.get(f"{platform}/api/v1/conversations").status_code == 401


def test_an_unknown_assistant_names_the_known_ones(api: httpx.Client) -> None:
    answer = api.post("/conversations", json={"assistant": "astrology"})
    assert answer.status_code == 409
    assert "tiny" in answer.json()["error"]["message"]
