"""Two who act at the same moment, in real threads with real transactions.

Regression cases of other systems: a bot that goes on answering after a person took over
(chatwoot/chatwoot#4410, chatwoot/rasa-agent-bot-demo#12).
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.conversations import streams, turns
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import NotNow
from praxis.conversations.services import post_message, start_conversation
from praxis.conversations.tests.conftest import finish, until
from praxis.handoff import services
from praxis.handoff.models import Handoff, Transition
from praxis.handoff.tests.conftest import PrincipalOf
from tests.fakes import ModelServer


def at_once(*acts: Callable[[], object]) -> list[object]:
    """Run all in threads that start together; results or the exceptions, in order."""
    barrier = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        try:
            barrier.wait()
            results[number] = act()
        except Exception as error:  # noqa: BLE001  (it is the result)
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number, act)) for number, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return results


def test_taking_over_stops_the_streaming_answer(
    live: ModelServer, me: Principal, desk: Principal, conversation: Conversation
) -> None:
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    services.take(principal=desk, conversation=conversation)
    until(lambda: streams.written_so_far(answer.pk)[-1]["kind"] == "done")
    stopped = finish(answer)
    assert stopped.status == Message.Status.STOPPED
    assert stopped.text.count("word") < 60
    until(lambda: live.num_disconnects == 1)
    services.reply(principal=desk, conversation=conversation, text="I am here.")
    said = conversation.messages.order_by("created_at")
    assert [message.role for message in said] == ["user", "assistant", "person"]


def test_an_answer_that_ends_after_the_take_over_is_no_answer(
    live: ModelServer,
    me: Principal,
    desk: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bell was lost and the turn comes to its end: its own transaction finds the new owner."""
    monkeypatch.setattr("praxis.conversations.services.turns.stop", lambda message_id: None)
    taken = threading.Event()
    store = turns._store

    def store_later(*args: Any) -> Any:
        assert taken.wait(10)
        return store(*args)

    monkeypatch.setattr(turns, "_store", store_later)
    answer = post_message(principal=me, conversation=conversation, text="please hand over")
    until(lambda: "A colleague" in streams.text_of(streams.written_so_far(answer.pk)))
    services.take(principal=desk, conversation=conversation)
    taken.set()
    stored = finish(answer)
    assert stored.status == Message.Status.STOPPED
    done = stored.last_event("done")
    assert done is not None
    assert done["outcome"] == "stopped"
    assert streams.written_so_far(answer.pk)[-1]["outcome"] == "stopped"
    conversation.refresh_from_db()
    assert (conversation.owner_kind, conversation.owner) == ("person", desk.user)
    assert Handoff.objects.count() == 1, "its wish for a person comes too late"


def test_a_turn_that_begins_after_the_take_over_says_nothing(
    live: ModelServer,
    me: Principal,
    desk: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waited for a thread meanwhile, and the bell was lost."""
    monkeypatch.setattr("praxis.conversations.services.turns.stop", lambda message_id: None)
    work = turns._work
    taken = threading.Event()

    def work_later(run: turns.Run) -> None:
        assert taken.wait(10)
        work(run)

    monkeypatch.setattr(turns, "_work", work_later)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    services.take(principal=desk, conversation=conversation)
    taken.set()
    stored = finish(answer)
    assert (stored.status, stored.text) == (Message.Status.STOPPED, "")
    assert not [one for one in live.requests if one.path.endswith("/chat/completions")]


def test_the_keeper_stops_a_turn_that_the_bell_did_not_reach(
    live: ModelServer,
    me: Principal,
    desk: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("praxis.conversations.services.turns.stop", lambda message_id: None)
    monkeypatch.setattr(turns, "RIGHTS_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.1)
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    services.take(principal=desk, conversation=conversation)
    assert finish(answer).status == Message.Status.STOPPED


def test_of_two_agents_who_take_at_once_one_gets_it(
    live: ModelServer,
    me: Principal,
    desk: Principal,
    make_member: Callable[..., User],
    principal_of: PrincipalOf,
) -> None:
    other = principal_of(make_member("second", me.workspace, Role.AGENT))
    for _round in range(5):
        conversation = start_conversation(principal=me, assistant="sample")
        results = at_once(
            lambda: services.take(principal=desk, conversation=conversation),  # noqa: B023
            lambda: services.take(principal=other, conversation=conversation),  # noqa: B023
        )
        refusals = [one for one in results if isinstance(one, NotNow)]
        assert len(refusals) == 1
        [handoff] = Handoff.objects.filter(conversation=conversation)
        conversation.refresh_from_db()
        assert conversation.owner == handoff.agent
        assert Transition.objects.filter(conversation=conversation).count() == 1


def test_a_message_at_the_moment_of_the_return_is_answered_once(
    live: ModelServer, me: Principal, desk: Principal
) -> None:
    for _round in range(6):
        conversation = start_conversation(principal=me, assistant="sample")
        services.take(principal=desk, conversation=conversation)
        services.reply(principal=desk, conversation=conversation, text="Anything else?")
        at_once(
            lambda: post_message(principal=me, conversation=conversation, text="Yes: when?"),  # noqa: B023
            lambda: services.give_back(principal=desk, conversation=conversation),  # noqa: B023
        )
        assert turns.drain(20)
        conversation.refresh_from_db()
        assert conversation.owner_kind == "assistant"
        answers = conversation.messages.filter(role="assistant")
        assert [answer.status for answer in answers] == ["complete"]
        assert conversation.head == answers[0]


def test_a_message_and_a_take_over_at_once_leave_no_answer_of_the_assistant(
    live: ModelServer, me: Principal, desk: Principal
) -> None:
    live.slow(0.02)
    for _round in range(6):
        conversation = start_conversation(principal=me, assistant="sample")
        live.enqueue("word " * 40)
        at_once(
            lambda: post_message(principal=me, conversation=conversation, text="Tell me"),  # noqa: B023
            lambda: services.take(principal=desk, conversation=conversation),  # noqa: B023
        )
        assert turns.drain(20)
        conversation.refresh_from_db()
        assert conversation.owner == desk.user
        assert not conversation.messages.filter(role="assistant", status="complete").exists()


def test_the_row_lock_makes_the_second_wait(
    live: ModelServer, me: Principal, desk: Principal, conversation: Conversation
) -> None:
    """A reply cannot slip in while the return is being stored."""
    services.take(principal=desk, conversation=conversation)
    results: list[object] = []

    def reply() -> None:
        results.extend(
            at_once(lambda: services.reply(principal=desk, conversation=conversation, text="Wait!"))
        )

    thread = threading.Thread(target=reply)
    with transaction.atomic():
        services.give_back(principal=desk, conversation=conversation)
        thread.start()
        time.sleep(0.2)
        assert results == []
    thread.join(10)
    assert isinstance(results[0], NotNow)
