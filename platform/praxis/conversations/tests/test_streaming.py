"""The answer reaches the browser while it is written, and again after the line broke."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest
import uvicorn
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.sessions.models import Session
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import Membership, User
from praxis.conversations import streams, turns
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import post_message
from praxis.conversations.tests.conftest import finish, until
from tests.fakes import ModelServer

Ask = Callable[..., Message]
Event = dict[str, Any]


def address_of(message: Message) -> str:
    return reverse("conversations:stream", args=[message.conversation_id, message.pk])


async def connect(user: User, message: Message, after: str = "") -> StreamingHttpResponse:
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    headers = {"last-event-id": after} if after else {}
    response: Any = await client.get(address_of(message), headers=headers)
    return response


async def events_of(response: StreamingHttpResponse) -> AsyncIterator[tuple[str, Event]]:
    """Every event with its id; a comment or the retry line is none."""
    chunks: Any = response.streaming_content
    async for chunk in chunks:
        lines = dict(line.split(": ", 1) for line in chunk.decode().strip().splitlines())
        if "data" in lines:
            yield lines["id"], json.loads(lines["data"])


def read_all(user: User, message: Message, after: str = "") -> list[tuple[str, Event]]:
    async def read() -> list[tuple[str, Event]]:
        response = await connect(user, message, after)
        assert response.status_code == 200
        return [item async for item in events_of(response)]

    return async_to_sync(read)()


def test_tokens_arrive_while_the_model_speaks(
    live: ModelServer, me: Principal, member: User, conversation: Conversation
) -> None:
    live.slow(0.03)
    live.enqueue("one two three four five six")
    answer = post_message(principal=me, conversation=conversation, text="Count")

    async def read() -> tuple[list[float], list[Event]]:
        response = await connect(member, answer)
        times, events = [], []
        async for _id, event in events_of(response):
            times.append(time.monotonic())
            events.append(event)
        return times, events

    times, events = async_to_sync(read)()
    tokens = [event for event in events if event["kind"] == "token"]
    assert "".join(token["text"] for token in tokens) == "one two three four five six"
    assert len(tokens) >= 4
    assert times[-1] - times[0] > 0.1
    assert events[-1]["kind"] == "done"
    stored = finish(answer)
    assert stored.events == streams.join_tokens(events), "what was streamed is what is stored"


def test_the_answer_of_the_stream_may_not_be_cached_or_held_back(
    live: ModelServer, ask: Ask, member: User
) -> None:
    live.enqueue("Hi.")
    response = async_to_sync(connect)(member, ask("Hello"))
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"


def test_a_reader_goes_on_after_the_last_event_it_saw(
    live: ModelServer, ask: Ask, member: User
) -> None:
    live.slow(0.03)
    live.enqueue("one two three four five six")
    answer = ask("Count")
    everything = read_all(member, answer)
    assert read_all(member, answer, after=everything[2][0]) == everything[3:]


def test_when_redis_has_forgotten_the_stored_answer_is_read(
    live: ModelServer, ask: Ask, member: User
) -> None:
    live.enqueue("Kept in the database.")
    answer = ask("Hello")
    last_seen = read_all(member, answer)[0][0]
    streams.redis_client().delete(streams.stream_key(answer.pk))
    asked_at = time.monotonic()
    assert [event for _, event in read_all(member, answer)] == answer.events
    assert [event["kind"] for _, event in read_all(member, answer, after=last_seen)] == ["done"]
    assert time.monotonic() - asked_at < 2


def test_a_stranger_and_an_anonymous_visitor_get_404(
    live: ModelServer, ask: Ask, stranger: User
) -> None:
    live.enqueue("Secret.")
    answer = ask("Hello")
    assert async_to_sync(connect)(stranger, answer).status_code == 404

    async def anonymous() -> int:
        response = await AsyncClient().get(address_of(answer))
        return response.status_code

    assert async_to_sync(anonymous)() == 404


@pytest.mark.parametrize("how", ["left", "suspended", "signed_out"])
def test_the_stream_ends_soon_after_the_right_ended(
    live: ModelServer,
    me: Principal,
    member: User,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.2)
    live.slow(0.05)
    live.enqueue("word " * 100)
    answer = post_message(principal=me, conversation=conversation, text="Go")

    def take_away(session_key: str) -> None:
        if how == "left":
            Membership.objects.filter(user=member).delete()
        elif how == "suspended":
            User.objects.filter(pk=member.pk).update(is_active=False)
        else:
            Session.objects.filter(pk=session_key).delete()

    async def read() -> list[str]:
        client = AsyncClient()
        await sync_to_async(client.force_login)(member)
        response: Any = await client.get(address_of(answer))
        kinds: list[str] = []
        async for _id, event in events_of(response):
            if not kinds:
                await sync_to_async(take_away)(client.cookies["session"].value)
            kinds.append(event["kind"])
        return kinds

    began = time.monotonic()
    kinds = async_to_sync(read)()
    assert "done" not in kinds
    assert time.monotonic() - began < 3
    turns.stop(answer.pk)
    finish(answer)


def test_a_silent_stream_shows_that_it_lives(
    live: ModelServer,
    me: Principal,
    member: User,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.1)
    live.slow(0.6)
    live.enqueue("late")
    answer = post_message(principal=me, conversation=conversation, text="Go")

    async def chunks() -> list[str]:
        response: Any = await connect(member, answer)
        return [chunk.decode() async for chunk in response.streaming_content]

    assert ": ping\n\n" in async_to_sync(chunks)()
    finish(answer)


@contextmanager
def served() -> Iterator[str]:
    """The whole platform behind a real server: one thread per request's synchronous parts."""
    server = uvicorn.Server(
        uvicorn.Config(get_asgi_application(), port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, name="test-server")
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_an_answer_that_nobody_reads_any_more_is_stopped(
    live: ModelServer,
    me: Principal,
    member: User,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "ABANDONED_SECONDS", 0.3)
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.1)
    live.slow(0.05)
    live.enqueue("word " * 100)
    answer = post_message(principal=me, conversation=conversation, text="Go")

    async def read_one(reader: AsyncIterator[streams.StreamItem | None]) -> None:
        while await anext(reader) is None:
            continue

    async def visit() -> None:
        first, second = streams.read_events(answer.pk), streams.read_events(answer.pk)
        await read_one(first)
        await read_one(second)
        await cast(Any, first).aclose()
        await asyncio.sleep(0.8)
        await read_one(second)
        assert await sync_to_async(is_streaming)(), "one reader is still there"
        await cast(Any, second).aclose()

    def is_streaming() -> bool:
        return Message.objects.get(pk=answer.pk).status == Message.Status.STREAMING

    async_to_sync(visit)()
    assert finish(answer).status == Message.Status.STOPPED


def test_an_answer_that_never_had_a_reader_is_completed(
    live: ModelServer,
    me: Principal,
    conversation: Conversation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "ABANDONED_SECONDS", 0.0)
    monkeypatch.setattr(turns, "TICK_SECONDS", 0.05)
    live.slow(0.03)
    live.enqueue("word " * 10)
    answer = post_message(principal=me, conversation=conversation, text="Go")
    assert finish(answer).status == Message.Status.COMPLETE


def _in_use(pool: Any) -> int:
    stats = pool.get_stats()
    return int(stats["pool_size"] - stats["pool_available"])


def test_a_refused_stream_holds_no_database_connection(
    live: ModelServer, ask: Ask, stranger: User
) -> None:
    live.enqueue("Secret.")
    answer = ask("Hello")
    pool: Any = cast(Any, connection).pool
    connection.close()  # this thread's own, as the view does at its end
    before = _in_use(pool)
    page: Any = async_to_sync(connect)(stranger, answer)
    assert "South Office" in page.content.decode(), "the page's frame asked the database"
    assert _in_use(pool) == before


def test_many_readers_hold_no_database_connection(
    live: ModelServer,
    me: Principal,
    client_for: Callable[[User], Client],
    member: User,
    conversation: Conversation,
) -> None:
    live.slow(0.02)
    live.enqueue("word " * 150)
    answer = post_message(principal=me, conversation=conversation, text="Go")
    cookies = {"session": client_for(member).cookies["session"].value}
    pool: Any = cast(Any, connection).pool
    before = _in_use(pool)

    async def first_token(client: httpx.AsyncClient, waiting: asyncio.Barrier) -> None:
        async with client.stream("GET", address_of(answer)) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                if line == "event: token":
                    break
            await waiting.wait()  # all readers are connected now, and stay so
            await waiting.wait()

    async def read(base_url: str) -> int:
        waiting = asyncio.Barrier(31)
        async with httpx.AsyncClient(
            base_url=base_url, cookies=cookies, headers={"host": "localhost"}
        ) as client:
            readers = [asyncio.create_task(first_token(client, waiting)) for _ in range(30)]
            await waiting.wait()
            await asyncio.to_thread(until, lambda: _in_use(pool) <= before)
            held = _in_use(pool)
            await waiting.wait()
            await asyncio.gather(*readers)
        return held

    with served() as base_url:
        assert asyncio.run(read(base_url)) <= before
    turns.stop(answer.pk)
    finish(answer)
