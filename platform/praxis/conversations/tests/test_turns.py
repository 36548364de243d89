"""A question becomes a stored answer, in every way that it can end."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
import redis
from django.db import OperationalError
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import Membership
from praxis.conversations import streams, turns
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import (
    NotNow,
    TooManyTurns,
    post_message,
    regenerate,
    stop,
)
from praxis.conversations.tests.conftest import finish, until
from tests.fakes import ModelServer

Ask = Callable[..., Message]


def test_the_answer_is_stored_with_its_events_state_and_receipt(
    quick: ModelServer, ask: Ask, conversation: Conversation
) -> None:
    quick.enqueue("Red suits you well.")
    answer = ask("I like red")
    assert answer.text == "Red suits you well."
    assert answer.status == Message.Status.COMPLETE
    assert [event["kind"] for event in answer.events] == [
        "state_changed",
        "token",
        "confidence",
        "done",
    ]
    assert answer.receipt["chain"] == "model"
    assert answer.state_after == {"colour": "red"}
    conversation.refresh_from_db()
    assert conversation.state == {"colour": "red"}
    assert conversation.head_id == answer.pk
    assert conversation.title == "I like red"


def test_the_stream_holds_the_same_text_in_order(quick: ModelServer, ask: Ask) -> None:
    quick.enqueue("One two three four.")
    answer = ask("Hello")
    events = streams.written_so_far(answer.pk)
    assert streams.text_of(events) == "One two three four."
    assert events[-1]["kind"] == "done"
    assert streams.join_tokens(events) == answer.events


def test_stop_keeps_what_was_said_and_frees_the_model(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    asked_at = time.monotonic()
    stop(principal=me, message=answer)
    until(lambda: streams.written_so_far(answer.pk)[-1]["kind"] == "done")
    assert time.monotonic() - asked_at < 0.6
    stopped = finish(answer)
    assert stopped.status == Message.Status.STOPPED
    assert stopped.text.startswith("word")
    until(lambda: live.num_disconnects == 1)


def test_stop_does_not_wait_for_a_model_that_says_nothing(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(1.5)
    live.enqueue("late")
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    asked_at = time.monotonic()
    stop(principal=me, message=answer)
    until(lambda: Message.objects.get(pk=answer.pk).status == Message.Status.STOPPED)
    assert time.monotonic() - asked_at < 1.2
    assert finish(answer).text == ""


def test_another_process_can_stop_it(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    channel = turns.STOP_CHANNEL
    until(lambda: turns.redis_client().publish(channel, str(answer.pk)))
    assert finish(answer).status == Message.Status.STOPPED


def test_the_answer_stops_when_the_person_leaves_the_workspace(
    live: ModelServer,
    me: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "RIGHTS_EVERY_SECONDS", 0.2)
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.1)
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    Membership.objects.filter(user=me.user).delete()
    assert finish(answer).status == Message.Status.STOPPED


def test_a_dead_model_server_fails_the_answer_and_retry_replaces_it(
    live: ModelServer, me: Principal, ask: Ask
) -> None:
    live.down()
    failed = ask("Are you there?")
    assert failed.status == Message.Status.FAILED
    assert "does not answer" in failed.error
    live.up()
    live.enqueue("Yes.")
    answer = finish(regenerate(principal=me, message=failed))
    assert (answer.text, answer.status) == ("Yes.", Message.Status.COMPLETE)
    assert answer.parent is not None
    assert answer.parent.text == "Are you there?"
    assert not Message.objects.filter(pk=failed.pk).exists()


@pytest.mark.filterwarnings("ignore")
def test_a_bug_in_a_domain_ends_the_answer_with_a_sentence(quick: ModelServer, ask: Ask) -> None:
    answer = ask("crash please")
    assert answer.status == Message.Status.FAILED
    assert "internal error" in answer.error


def test_when_all_places_are_taken_the_question_is_kept(
    live: ModelServer,
    me: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_places", turns.threading.BoundedSemaphore(1))
    assert turns._places.acquire(blocking=False)
    with pytest.raises(TooManyTurns) as refused:
        post_message(principal=me, conversation=conversation, text="Me too")
    assert refused.value.retry_after > 0
    failed = Message.objects.get(pk=refused.value.answer.pk)
    assert failed.status == Message.Status.FAILED
    turns._places.release()
    live.enqueue("Now.")
    answer = finish(regenerate(principal=me, message=failed))
    assert answer.text == "Now."
    assert answer.parent is not None
    assert answer.parent.text == "Me too"


def test_a_second_message_waits_for_the_first_answer(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(0.05)
    live.enqueue("word " * 20)
    answer = post_message(principal=me, conversation=conversation, text="First")
    with pytest.raises(NotNow, match="still answering"):
        post_message(principal=me, conversation=conversation, text="Second")
    assert finish(answer).status == Message.Status.COMPLETE


def test_an_answer_whose_process_died_is_interrupted_and_keeps_its_words(
    live: ModelServer, conversation: Conversation, me: Principal
) -> None:
    question = Message.objects.create(
        conversation=conversation, role="user", text="Hi", finished_at=timezone.now()
    )
    answer = Message.objects.create(
        conversation=conversation, parent=question, role="assistant", status="streaming"
    )
    streams.append(answer.pk, {"kind": "token", "text": "Half an "}, first=True)
    streams.append(answer.pk, {"kind": "token", "text": "answer"})
    assert streams.settle(answer).status == Message.Status.STREAMING, "it may be starting"
    long_ago = timezone.now() - timedelta(minutes=1)
    Message.objects.filter(pk=answer.pk).update(created_at=long_ago)
    streams.mark_alive([answer.pk])
    assert streams.sweep_interrupted() == 0
    streams.mark_ended(answer.pk)
    assert streams.sweep_interrupted() == 1
    answer.refresh_from_db()
    assert (answer.status, answer.text) == (Message.Status.INTERRUPTED, "Half an answer")
    assert streams.written_so_far(answer.pk)[-1]["outcome"] == "interrupted"
    live.enqueue("A whole answer.")
    assert finish(regenerate(principal=me, message=answer)).text == "A whole answer."


def test_a_running_turn_shows_that_it_lives(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(0.3)
    live.enqueue("word " * 10)
    answer = post_message(principal=me, conversation=conversation, text="Go")
    until(lambda: turns.redis_client().exists(streams._alive_key(answer.pk)))
    assert finish(answer).status == Message.Status.COMPLETE
    assert not turns.redis_client().exists(streams._alive_key(answer.pk))


def test_a_restart_of_the_database_loses_no_answer(
    live: ModelServer,
    me: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = turns._store
    refused: list[object] = []

    def store_after_the_restart(*args: Any) -> dict[str, Any]:
        if len(refused) < 2:
            refused.append(args)
            raise OperationalError("the database system is starting up")
        return store(*args)

    monkeypatch.setattr(turns, "_store", store_after_the_restart)
    live.enqueue("Kept.")
    answer = post_message(principal=me, conversation=conversation, text="Hi")
    until(lambda: refused)
    assert streams.text_of(streams.written_so_far(answer.pk)) == "Kept.", "readers see it already"
    assert streams.written_so_far(answer.pk)[-1]["kind"] != "done"
    assert finish(answer).text == "Kept."
    assert streams.written_so_far(answer.pk)[-1]["kind"] == "done"


def test_a_turn_goes_on_without_redis(
    live: ModelServer,
    me: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise redis.ConnectionError("Connection refused.")

    monkeypatch.setattr(streams, "append", refuse)
    live.enqueue("Stored anyway.")
    answer = post_message(principal=me, conversation=conversation, text="Hi")
    stored = finish(answer)
    assert (stored.text, stored.status) == ("Stored anyway.", Message.Status.COMPLETE)


def test_a_shutdown_interrupts_running_answers_and_keeps_their_words(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    live.slow(0.05)
    live.enqueue("word " * 200)
    answer = post_message(principal=me, conversation=conversation, text="Tell me")
    until(lambda: streams.written_so_far(answer.pk))
    turns.interrupt_all()
    stored = Message.objects.get(pk=answer.pk)
    assert stored.status == Message.Status.INTERRUPTED
    assert stored.text.startswith("word")


def test_no_database_connection_is_held_while_the_model_speaks(
    live: ModelServer, me: Principal, conversation: Conversation
) -> None:
    from django.db import connection

    pool = cast(Any, connection).pool

    def in_use() -> int:
        stats = pool.get_stats()
        return int(stats["pool_size"] - stats["pool_available"])

    # Threads of earlier tests may not have given theirs back; this test's own connection counts.
    before = in_use()
    live.slow(0.2)
    live.enqueue("word " * 15)
    answer = post_message(principal=me, conversation=conversation, text="Go")
    until(lambda: streams.written_so_far(answer.pk))
    connection.close()
    until(lambda: in_use() < before, 2.5)
    assert finish(answer).status == Message.Status.COMPLETE


def test_tokens_that_follow_closely_go_together_and_the_first_goes_at_once(
    quick: ModelServer, ask: Ask
) -> None:
    answer = ask("many words")
    tokens = [e for e in streams.written_so_far(answer.pk) if e["kind"] == "token"]
    assert tokens[0]["text"] == "word0 "
    assert streams.text_of(tokens) == answer.text


def test_a_handover_makes_the_conversation_wait_and_the_assistant_silent(
    quick: ModelServer, ask: Ask, me: Principal, conversation: Conversation
) -> None:
    ask("please hand over")
    conversation.refresh_from_db()
    assert conversation.owner_kind == Conversation.OwnerKind.WAITING
    said = post_message(principal=me, conversation=conversation, text="Hello?")
    assert said.role == Message.Role.USER
    assert not said.children.exists()
    conversation.refresh_from_db()
    assert conversation.head_id == said.pk
