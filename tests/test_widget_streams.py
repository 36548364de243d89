"""A visitor's streams over real HTTP: their own answers and news, and nobody else's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Conversation
from praxis.handoff import services as handoff
from praxis.widget import visitors
from praxis.widget.models import Widget
from tests.fakes import ModelServer
from tests.test_rest_api import PrincipalOf


@pytest.fixture
def visit(platform: str, workspace: Workspace) -> Any:
    """`visit()`: a new visitor's HTTP client."""
    widget = Widget.objects.create(
        workspace=workspace, name="Shop", assistant="tiny", origins=["https://shop.example.org"]
    )
    root = f"{platform}/widget/{widget.key}/"

    def enter() -> httpx.Client:
        token = httpx.post(f"{root}session").json()["token"]
        headers = {"Authorization": f"Visitor {token}"}
        return httpx.Client(base_url=root, headers=headers, timeout=20)

    return enter


@contextmanager
def events_of(visitor: httpx.Client, path: str) -> Iterator[Iterator[dict[str, Any]]]:
    with visitor.stream("GET", path) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        yield (json.loads(line[6:]) for line in lines if line.startswith("data: "))


def test_an_answer_streams_to_its_visitor_alone(visit: Any, model_server: ModelServer) -> None:
    model_server.enqueue("One two three.")
    visitor, other = visit(), visit()
    said = visitor.post("messages", json={"text": "Count."}).json()["message"]
    with events_of(visitor, f"messages/{said}/events") as events:
        found = list(events)
    assert "".join(one.get("text", "") for one in found if one["kind"] == "token") == (
        "One two three."
    )
    assert found[-1]["kind"] == "done"
    assert other.get(f"messages/{said}/events").status_code == 404
    assert other.get("live").status_code == 404, "there is no conversation of theirs"
    other.headers["Authorization"] = "Visitor forged"
    assert other.get(f"messages/{said}/events").status_code == 403
    assert other.get("live").status_code == 403


def test_a_visitor_hears_of_the_agent(
    visit: Any,
    model_server: ModelServer,
    agent: User,
    principal_of: PrincipalOf,
) -> None:
    model_server.enqueue("Hello.")
    visitor = visit()
    said = visitor.post("messages", json={"text": "Hello"}).json()["message"]
    with events_of(visitor, f"messages/{said}/events") as events:
        list(events)
    desk: Principal = principal_of(agent)
    with events_of(visitor, "live") as news:
        handoff.take(principal=desk, conversation=Conversation.objects.get())
        assert next(one["kind"] for one in news if one["kind"] == "owner") == "owner"
        handoff.say_typing(principal=desk, conversation=Conversation.objects.get())
        assert next(news)["kind"] == "typing"


def test_streams_are_limited_for_a_network(visit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "STREAMS_OF_NETWORK", 1)
    visitor = visit()
    assert [visitor.get("live").status_code for _stream in range(2)] == [404, 429]
