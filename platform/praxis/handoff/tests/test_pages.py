"""The inbox as agents use it, and what the person sees beside their chat."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from bs4 import BeautifulSoup
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations import live as live_news
from praxis.conversations.models import Conversation, Message
from praxis.handoff import services
from praxis.handoff.models import CannedAnswer, Handoff, InboxSettings, Note, Survey
from tests.fakes import ModelServer

Ask = Callable[..., Message]
BrowserOf = Callable[[User], Client]
ACTS = ["take", "assign", "put_back", "give_back", "close", "write", "typing", "suggestion"]
PERSON_ACTS = ["ask", "end", "rate", "transcript", "typing"]
MAIL = "django.core.mail.backends.locmem.EmailBackend"


def of(conversation: Conversation, name: str) -> str:
    return reverse(f"handoff:{name}", args=[conversation.workspace.slug, conversation.pk])


def own(conversation: Conversation, name: str) -> str:
    return reverse(f"handoff_person:{name}", args=[conversation.pk])


def inbox(conversation: Conversation, show: str = "waiting") -> str:
    return f"{reverse('handoff:index', args=[conversation.workspace.slug])}?show={show}"


def text(response: Any) -> str:
    return BeautifulSoup(response.content, "html.parser").get_text(" ", strip=True)


def test_an_agent_finds_takes_answers_and_returns_a_conversation(
    quick: ModelServer,
    ask: Ask,
    conversation: Conversation,
    browser_of: BrowserOf,
    agent: User,
    member: User,
) -> None:
    ask("please hand over")
    desk, person = browser_of(agent), browser_of(member)
    queue = text(desk.get(inbox(conversation)))
    assert "please hand over" in queue
    assert "First answer within" in queue
    assert "The person asked for one." in queue
    page = text(desk.get(of(conversation, "conversation")))
    assert "Take the conversation over to answer the person" in page
    assert "A person will answer here" in text(person.get(conversation.get_absolute_url()))
    desk.post(of(conversation, "take"))
    said = conversation.messages.get(role="assistant")
    answered = desk.post(
        of(conversation, "write"),
        {"text": "I am here now.", "as": "reply"},
        headers={"hx-request": "true"},
    )
    assert "I am here now." in text(answered)
    news = person.get(
        reverse("conversations:news", args=[conversation.pk]),
        {"after": str(said.pk), "owner": "waiting"},
    )
    assert "I am here now." in news.content.decode()
    post = reverse("conversations:post", args=[conversation.pk])
    person.post(post, {"text": "Thanks!"})
    assert Message.objects.filter(role="assistant").count() == 1
    assert "Not answered yet" in text(desk.get(inbox(conversation, "mine")))
    assert "Thanks!" in text(desk.get(of(conversation, "conversation")))
    quick.enqueue("Back again.")
    desk.post(of(conversation, "give_back"))
    assert Message.objects.get(role="assistant", text="Back again.").status == "complete"
    desk.post(of(conversation, "close"))
    refused = person.post(post, {"text": "Hello?"}, headers={"hx-request": "true"})
    assert refused.status_code == 409
    assert "please hand over" in text(desk.get(inbox(conversation, "closed")))


def test_notes_are_for_agents_alone(
    quick: ModelServer,
    told: Conversation,
    browser_of: BrowserOf,
    agent: User,
    member: User,
    desk: Principal,
) -> None:
    secret = "This customer is difficult."
    browser_of(agent).post(of(told, "write"), {"text": secret, "as": "note"})
    assert Note.objects.get().text == secret
    assert secret in text(browser_of(agent).get(of(told, "conversation")))
    services.take(principal=desk, conversation=told)
    person = browser_of(member)
    for name in ("chat", "export_json", "export_markdown", "news"):
        answer = person.get(reverse(f"conversations:{name}", args=[told.pk]))
        assert answer.status_code == 200
        assert secret not in answer.content.decode(), name
    assert person.get(of(told, "conversation")).status_code == 403


def test_a_wrong_reply_stays_in_its_field_with_the_reason(
    quick: ModelServer, told: Conversation, browser_of: BrowserOf, agent: User
) -> None:
    desk = browser_of(agent)
    early = desk.post(of(told, "write"), {"text": "Too early", "as": "reply"})
    assert early.status_code == 409
    soup = BeautifulSoup(early.content, "html.parser")
    assert soup.select_one("#reply-text").text == "Too early"  # type: ignore[union-attr]
    assert "Take the conversation over first" in soup.get_text()
    empty = desk.post(
        of(told, "write"), {"text": " ", "as": "note"}, headers={"hx-request": "true"}
    )
    assert empty.status_code == 422
    assert empty.headers["HX-Retarget"] == "#composer-error"


def test_strangers_get_404_and_members_403(
    quick: ModelServer,
    told: Conversation,
    browser_of: BrowserOf,
    stranger: User,
    member: User,
    make_member: Callable[..., User],
) -> None:
    from praxis.accounts.models import Role

    outside, inside = browser_of(stranger), browser_of(member)
    slug = told.workspace.slug
    pages = [reverse(f"handoff:{name}", args=[slug]) for name in ("index", "people", "setup")]
    for address in [*pages, of(told, "conversation")]:
        assert outside.get(address).status_code == 404, address
        assert inside.get(address).status_code == 403, address
    for name in ACTS:
        assert outside.post(of(told, name), {"text": "x"}).status_code == 404, name
        assert inside.post(of(told, name), {"text": "x"}).status_code == 403, name
    colleague = browser_of(make_member("colleague", told.workspace, Role.MEMBER))
    for client in (outside, colleague):
        for name in PERSON_ACTS:
            assert client.post(own(told, name)).status_code == 404, name
        assert client.get(own(told, "after")).status_code == 404
    assert not Handoff.objects.exists()


def test_an_inbox_shows_only_its_own_workspace(
    quick: ModelServer, told: Conversation, browser_of: BrowserOf, stranger: User, me: Principal
) -> None:
    services.ask_for_person(principal=me, conversation=told)
    theirs = reverse("handoff:index", args=["south-office"])
    for show in ("waiting", "mine", "all", "closed"):
        assert "parcel" not in text(browser_of(stranger).get(f"{theirs}?show={show}"))
    crossed = reverse("handoff:conversation", args=["south-office", told.pk])
    assert browser_of(stranger).get(crossed).status_code == 404


def test_administrators_set_up_the_inbox(
    quick: ModelServer, told: Conversation, browser_of: BrowserOf, admin: User, agent: User
) -> None:
    slug = told.workspace.slug
    boss, setup = browser_of(admin), reverse("handoff:setup", args=[told.workspace.slug])
    assert boss.post(setup, {"first_response_minutes": "0"}).status_code == 422
    boss.post(setup, {"first_response_minutes": "3", "ask_for_rating": "on"})
    chosen = InboxSettings.objects.get()
    assert (chosen.first_response_minutes, chosen.mail_agents) == (3, False)
    add = reverse("handoff:add_canned_answer", args=[slug])
    boss.post(add, {"name": "Hello", "text": "Good day, how can I help?"})
    again = boss.post(add, {"name": "Hello", "text": "Twice"})
    assert again.status_code == 422
    assert "with this name already" in text(again)
    answer = CannedAnswer.objects.get()
    assert "Good day" in browser_of(agent).get(of(told, "conversation")).content.decode()
    assert browser_of(agent).post(add, {"name": "No", "text": "no"}).status_code == 403
    boss.post(
        reverse("handoff:save_canned_answer", args=[slug, answer.pk]),
        {"name": "Hello", "text": "Hi!"},
    )
    answer.refresh_from_db()
    assert answer.text == "Hi!"
    boss.post(reverse("handoff:delete_canned_answer", args=[slug, answer.pk]))
    assert not CannedAnswer.objects.exists()


def test_the_person_asks_for_a_person_ends_and_rates(
    quick: ModelServer, told: Conversation, browser_of: BrowserOf, member: User, agent: User
) -> None:
    person = browser_of(member)
    person.post(own(told, "ask"))
    assert Handoff.objects.get().trigger == "person"
    assert "1" in text(browser_of(agent).get("/"))
    person.post(own(told, "end"))
    assert "How was this conversation?" in text(person.get(own(told, "after")))
    wrong = person.post(own(told, "rate"), {"score": "9"}, headers={"hx-request": "true"})
    assert "from 1 to 5" in text(wrong)
    person.post(own(told, "rate"), {"score": "2", "comment": "Slow"})
    survey = Survey.objects.get()
    assert (survey.score, survey.comment) == (2, "Slow")
    assert "Rated 2 of 5" in text(browser_of(agent).get(of(told, "conversation")))
    InboxSettings.objects.create(workspace=told.workspace, ask_for_rating=False)
    assert "How was this" not in text(person.get(own(told, "after")))


def test_the_transcript_is_mailed_a_few_times(
    quick: ModelServer,
    told: Conversation,
    browser_of: BrowserOf,
    member: User,
    settings: Settings,
    mailoutbox: list[Any],
) -> None:
    person = browser_of(member)
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert "can't send mail" in text(person.get(own(told, "after")))
    person.post(own(told, "transcript"), {"address": "me@example.test"})
    settings.EMAIL_BACKEND = MAIL
    assert mailoutbox == []
    hx = {"hx-request": "true"}
    wrong = person.post(own(told, "transcript"), {"address": "a@b\nBcc: c@d.e"}, headers=hx)
    assert "is no mail address" in text(wrong)
    for _time in range(4):
        last = person.post(own(told, "transcript"), {"address": "me@example.test"}, headers=hx)
    assert len(mailoutbox) == 3
    assert "Try again in an hour" in text(last)
    assert mailoutbox[0].to == ["me@example.test"]
    assert "Where is my parcel?" in mailoutbox[0].body


def test_a_mail_server_that_refuses_is_told_to_the_person(
    quick: ModelServer, told: Conversation, browser_of: BrowserOf, member: User, settings: Settings
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    answer = browser_of(member).post(
        own(told, "transcript"), {"address": "me@example.test"}, headers={"hx-request": "true"}
    )
    assert "mail server did not take the mail" in text(answer)


def listen(user: User, address: str, act: Callable[[], None]) -> dict[str, Any]:
    """The first event after `act`, on a stream that was open before."""

    async def read() -> dict[str, Any]:
        client = AsyncClient()
        await sync_to_async(client.force_login)(user)
        response: Any = await client.get(address)
        assert response.status_code == 200
        acted = False
        async for chunk in response.streaming_content:
            lines = chunk.decode().strip().splitlines()
            found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            if found:
                event: dict[str, Any] = json.loads(found[0])
                return event
            if not acted and chunk.decode().startswith(": ping"):
                acted = True
                await sync_to_async(act)()
        raise AssertionError("the stream ended")

    return async_to_sync(read)()


def test_what_happens_reaches_the_open_pages(
    live: ModelServer,
    told: Conversation,
    me: Principal,
    desk: Principal,
    member: User,
    agent: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from praxis.handoff.presence import present_users

    monkeypatch.setattr(live_news, "RECHECK_SECONDS", 0.2)
    agents = reverse("handoff:live", args=[told.workspace.slug])
    person = reverse("conversations:live", args=[told.pk])
    event = listen(agent, agents, lambda: services.ask_for_person(principal=me, conversation=told))
    assert event == {"kind": "owner", "conversation": str(told.pk), "owner": "waiting"}
    assert agent.pk in present_users(told.workspace.pk), "an open inbox is an agent present"
    services.take(principal=desk, conversation=told)
    told.refresh_from_db()
    event = listen(member, person, lambda: services.say_typing(principal=desk, conversation=told))
    assert event == {"kind": "typing"}

    def note_and_reply() -> None:
        services.add_note(principal=desk, conversation=told, text="hidden")
        services.reply(principal=desk, conversation=told, text="Hello")

    event = listen(member, person, note_and_reply)
    assert event == {"kind": "message"}, "the note before it is not told to the person"


def test_the_news_are_for_those_who_may_see_them(
    live: ModelServer, told: Conversation, member: User, stranger: User
) -> None:
    async def status(user: User, address: str) -> int:
        client = AsyncClient()
        await sync_to_async(client.force_login)(user)
        response = await client.get(address)
        return response.status_code

    agents = reverse("handoff:live", args=[told.workspace.slug])
    person = reverse("conversations:live", args=[told.pk])
    assert async_to_sync(status)(member, agents) == 403
    assert async_to_sync(status)(stranger, agents) == 404
    assert async_to_sync(status)(stranger, person) == 404


def test_the_queue_needs_few_queries_however_long(
    quick: ModelServer,
    me: Principal,
    agent: User,
    browser_of: BrowserOf,
    django_assert_max_num_queries: Any,
) -> None:
    from praxis.conversations.services import start_conversation
    from praxis.conversations.tests.conftest import tell_story

    for _number in range(12):
        one = start_conversation(principal=me, assistant="sample")
        tell_story(one, num_turns=1)
        services.ask_for_person(principal=me, conversation=one)
    client = browser_of(agent)
    with django_assert_max_num_queries(14):
        page = client.get(inbox(one))
    assert len(BeautifulSoup(page.content, "html.parser").select(".queue li")) == 12


def test_the_longest_waiting_comes_first(
    quick: ModelServer, me: Principal, agent: User, browser_of: BrowserOf
) -> None:
    from praxis.conversations.services import start_conversation
    from praxis.conversations.tests.conftest import tell_story

    waiting = []
    for _number in range(3):
        one = start_conversation(principal=me, assistant="sample")
        tell_story(one, num_turns=1)
        services.ask_for_person(principal=me, conversation=one)
        waiting.append(one)
    Conversation.objects.filter(pk=waiting[0].pk).update(updated_at=timezone.now())
    page = browser_of(agent).get(inbox(one))
    links = BeautifulSoup(page.content, "html.parser").select(".queue a")
    assert [
        str(waiting_one.pk) in str(link["href"])
        for waiting_one, link in zip(waiting, links, strict=True)
    ] == [True] * 3
