"""The sample assistant, and conversations whose turns run to their end."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.assistants import registry
from praxis.conversations import turns
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import post_message, start_conversation
from praxis.conversations.tests.sample_assistant import SAMPLE
from tests.fakes import ModelServer

TURN_SECONDS = 20


@pytest.fixture(autouse=True)
def sample_assistant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._assistants, SAMPLE.slug, SAMPLE)
    monkeypatch.setitem(registry._app_labels, SAMPLE.slug, "conversations")


@pytest.fixture
def live(transactional_db: None, model_server: ModelServer) -> Iterator[ModelServer]:
    """Turns really run: committed rows, a model server, and no turn left behind."""
    yield model_server
    assert turns.drain(TURN_SECONDS), "a turn is still running"


class _InlinePool:
    """Runs a turn where it is submitted, on the test's own connection and inside its transaction."""

    def submit(self, work: Callable[..., None], *args: Any) -> Future[None]:
        future: Future[None] = Future()
        work(*args)
        future.set_result(None)
        return future


@pytest.fixture
def quick(db: None, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """Turns run at once after the request or service call, in the test's transaction."""
    monkeypatch.setattr(turns, "_pool", _InlinePool())
    monkeypatch.setattr(turns, "_start_keeper", lambda: None)
    return model_server


Capture = Callable[..., AbstractContextManager[Any]]


class CommittingClient(Client):
    """Runs what a request left for the commit, as a real request does."""

    capture: Capture

    def request(self, **request: Any) -> Any:
        with self.capture(execute=True):
            return super().request(**request)


@pytest.fixture
def browser_of(django_capture_on_commit_callbacks: Capture) -> Callable[[User], Client]:
    """`browser_of(user)`: a signed-in client whose requests commit."""

    def signed_in(user: User) -> Client:
        client = CommittingClient()
        client.capture = django_capture_on_commit_callbacks
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return signed_in


@pytest.fixture
def me(member: User, principal_of: Callable[[User], Principal]) -> Principal:
    return principal_of(member)


@pytest.fixture
def conversation(me: Principal) -> Conversation:
    return start_conversation(principal=me, assistant="sample")


@pytest.fixture
def ask(
    me: Principal,
    conversation: Conversation,
    django_capture_on_commit_callbacks: Capture,
) -> Callable[..., Message]:
    """`ask("text")`: the finished answer in the shared conversation; with `live` or `quick`."""

    def finished(text: str) -> Message:
        with django_capture_on_commit_callbacks(execute=True):
            answer = post_message(principal=me, conversation=conversation, text=text)
        return finish(answer)

    return finished


def finish(message: Message) -> Message:
    """Wait for its turn and read it again."""
    assert turns.drain(TURN_SECONDS), "the turn is still running"
    return Message.objects.select_related("conversation__workspace").get(pk=message.pk)


def tell_story(conversation: Conversation, *, num_turns: int, **texts: str) -> list[Message]:
    """Questions and answers without turns; `turn_3="…"` sets what the person said in turn 3."""
    now = timezone.now()
    messages: list[Message] = []
    for turn in range(1, num_turns + 1):
        for role in (Message.Role.USER, Message.Role.ASSISTANT):
            asked = role == Message.Role.USER
            text = (
                texts.get(f"turn_{turn}", f"Question number {turn}.") if asked else f"Reply {turn}."
            )
            messages.append(
                Message(
                    conversation=conversation,
                    parent=messages[-1] if messages else None,
                    turn=turn,
                    role=role,
                    text=text,
                    state_after=None if asked else {},
                    finished_at=now,
                )
            )
    Message.objects.bulk_create(messages)
    conversation.head = messages[-1]
    conversation.save()
    return messages


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
