"""bot → waiting → person → returned → closed: what may follow what, what is stored and told."""

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import Settings

from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, User
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.services import edit, post_message, regenerate, show_version
from praxis.handoff import services, tasks
from praxis.handoff.models import EDGES, Handoff, InboxSettings, Transition
from praxis.handoff.tests.conftest import PrincipalOf
from praxis.integrations.models import WebhookEvent
from praxis.integrations.webhooks import create_endpoint
from tests.fakes import ModelServer

Ask = Callable[..., Message]


def edges(conversation: Conversation) -> list[tuple[str, str]]:
    found = Transition.objects.filter(conversation=conversation).order_by("at", "pk")
    return [(one.from_state, one.to_state) for one in found]


def test_a_handoff_goes_through_all_its_states(
    quick: ModelServer,
    ask: Ask,
    conversation: Conversation,
    me: Principal,
    desk: Principal,
    django_capture_on_commit_callbacks: Any,
) -> None:
    answer = ask("please hand over")
    handoff = Handoff.objects.get()
    assert (handoff.state, handoff.trigger) == ("waiting", "assistant")
    assert handoff.reason == "The person asked for one."
    assert handoff.message == answer
    services.take(principal=desk, conversation=conversation)
    reply = services.reply(principal=desk, conversation=conversation, text="I am here now.")
    handoff.refresh_from_db()
    assert (handoff.state, handoff.agent) == ("person", desk.user)
    assert handoff.first_reply_at == reply.created_at
    said = post_message(principal=me, conversation=conversation, text="Thanks!")
    assert said.role == "user", "the assistant says nothing"
    quick.enqueue("You are welcome.")
    with django_capture_on_commit_callbacks(execute=True):
        services.give_back(principal=desk, conversation=conversation)
    assert said.children.get().text == "You are welcome.", "nobody had answered it"
    handoff.refresh_from_db()
    assert handoff.state == "returned"
    assert handoff.ended_at is not None
    ask("please hand over")
    services.take(principal=desk, conversation=conversation)
    services.close(principal=desk, conversation=conversation)
    conversation.refresh_from_db()
    assert (conversation.owner_kind, conversation.owner) == ("closed", None)
    assert edges(conversation) == [
        ("bot", "waiting"),
        ("waiting", "person"),
        ("person", "returned"),
        ("returned", "waiting"),
        ("waiting", "person"),
        ("person", "closed"),
    ]
    actions = AuditEntry.objects.filter(action__startswith="handoff.").values_list("action")
    assert len(actions) == 4


def test_every_edge_is_told_by_webhook(
    quick: ModelServer,
    ask: Ask,
    conversation: Conversation,
    desk: Principal,
    admin: User,
    principal_of: PrincipalOf,
) -> None:
    create_endpoint(principal=principal_of(admin), url="http://93.184.216.34/hook")
    ask("please hand over")
    services.take(principal=desk, conversation=conversation)
    services.give_back(principal=desk, conversation=conversation)
    services.take(principal=desk, conversation=conversation)
    services.close(principal=desk, conversation=conversation)
    events = WebhookEvent.objects.filter(name__startswith="handoff.").order_by("seq")
    assert [event.name for event in events] == [
        "handoff.requested",
        "handoff.assigned",
        "handoff.returned",
        "handoff.assigned",
        "handoff.closed",
    ]
    first = events[0].data
    assert first["conversation"] == str(conversation.pk)
    assert first["handoff"]["reason"] == "The person asked for one."
    assert events[1].data["handoff"]["agent"] == "agent"


def test_what_is_not_an_edge_is_refused(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    for act in (services.give_back, services.put_back):
        with pytest.raises(NotNow):
            act(principal=desk, conversation=told)
    services.ask_for_person(principal=me, conversation=told)
    with pytest.raises(NotNow):
        services.ask_for_person(principal=me, conversation=told)
    with pytest.raises(NotNow):
        services.put_back(principal=desk, conversation=told)
    with pytest.raises(NotNow, match="Take the conversation over"):
        services.reply(principal=desk, conversation=told, text="Hello")
    services.close(principal=me, conversation=told)
    for closed in (services.take, services.close, services.give_back):
        with pytest.raises(NotNow):
            closed(principal=desk, conversation=told)


def test_a_random_walk_keeps_owner_handoff_and_log_together(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal, admin: User,
    principal_of: PrincipalOf, django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    boss, dice = principal_of(admin), random.Random(7)
    acts: list[tuple[Callable[..., object], Principal]] = [
        (services.ask_for_person, me),
        (services.take, desk),
        (services.take, boss),
        (services.put_back, desk),
        (services.give_back, desk),
        (services.give_back, boss),
    ]
    done = 0
    for _step in range(120):
        act, principal = dice.choice(acts)
        try:
            act(principal=principal, conversation=told)
            done += 1
        except NotNow:
            pass
        told.refresh_from_db()
        handoff = Handoff.objects.filter(state__in=["waiting", "person"]).first()
        assert told.owner_kind == (handoff.state if handoff else "assistant")
        assert told.owner == (handoff.agent if handoff else None)
    log = edges(told)
    assert len(log) == done > 30
    assert log[0][0] == "bot"
    assert all(before[1] == after[0] for before, after in pairwise(log))
    assert set(log) <= set(EDGES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "waiting", "agent": True},
        {"state": "person"},
        {"state": "returned"},
        {"state": "waiting", "ended_at": True},
        {"state": "unknown"},
    ],
)
def test_the_database_refuses_an_impossible_row(
    told: Conversation, agent: User, wrong: dict[str, Any]
) -> None:
    now = timezone.now()
    fields = {
        **wrong,
        **({"agent": agent} if "agent" in wrong else {}),
        **({"ended_at": now} if "ended_at" in wrong else {}),
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        Handoff.objects.create(
            workspace=told.workspace, conversation=told, trigger="agent", due_at=now, **fields
        )


def test_the_database_refuses_a_second_open_handoff_and_an_unknown_edge(
    quick: ModelServer, told: Conversation, me: Principal
) -> None:
    services.ask_for_person(principal=me, conversation=told)
    with pytest.raises(IntegrityError), transaction.atomic():
        Handoff.objects.create(
            workspace=told.workspace,
            conversation=told,
            trigger="agent",
            state="waiting",
            due_at=timezone.now(),
        )
    with pytest.raises(IntegrityError), transaction.atomic():
        Transition.objects.create(conversation=told, from_state="closed", to_state="person")


def test_who_may_do_what(
    quick: ModelServer,
    told: Conversation,
    me: Principal,
    desk: Principal,
    admin: User,
    stranger: User,
    make_member: Callable[..., User],
    principal_of: PrincipalOf,
) -> None:
    from praxis.accounts.models import Role

    other = principal_of(make_member("second", told.workspace, Role.AGENT))
    with pytest.raises(PermissionDenied):
        services.take(principal=me, conversation=told)
    with pytest.raises(PermissionDenied):
        services.ask_for_person(principal=desk, conversation=told)
    services.take(principal=desk, conversation=told)
    with pytest.raises(NotNow, match="has taken over already"):
        services.take(principal=other, conversation=told)
    for act in (services.give_back, services.put_back, services.close):
        with pytest.raises(NotNow, match="answers this conversation"):
            act(principal=other, conversation=told)
    with pytest.raises(PermissionDenied):
        services.give_back(principal=me, conversation=told)
    assert other.user is not None
    services.assign(principal=desk, conversation=told, agent=other.user)
    told.refresh_from_db()
    assert told.owner == other.user
    services.take(principal=principal_of(admin), conversation=told)
    told.refresh_from_db()
    assert told.owner == admin


def test_nobody_may_open_another_branch_while_a_person_answers(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    services.take(principal=desk, conversation=told)
    question = told.messages.filter(role="user").order_by("turn")[0]
    with pytest.raises(NotNow):
        edit(principal=me, message=question, text="Something else")
    with pytest.raises(NotNow):
        regenerate(principal=me, message=question)
    with pytest.raises(NotNow):
        show_version(principal=me, message=question)


def test_the_first_answer_has_a_time_that_the_workspace_sets(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    InboxSettings.objects.create(workspace=told.workspace, first_response_minutes=4)
    start = timezone.now()
    with time_machine.travel(start, tick=False):
        services.ask_for_person(principal=me, conversation=told)
        handoff = Handoff.objects.get()
    assert handoff.due_at == start + timedelta(minutes=4)
    assert handoff.urgency(start) == "in_time"
    assert handoff.urgency(start + timedelta(minutes=3, seconds=1)) == "soon"
    assert handoff.urgency(start + timedelta(minutes=4)) == "overdue"
    services.take(principal=desk, conversation=told)
    services.reply(principal=desk, conversation=told, text="Hello")
    handoff.refresh_from_db()
    assert handoff.urgency(start + timedelta(hours=1)) == "answered"


def test_agents_are_mailed_once_and_without_a_word_of_the_conversation(
    quick: ModelServer,
    told: Conversation,
    me: Principal,
    agent: User,
    admin: User,
    stranger: User,
    mailoutbox: list[Any],
    settings: Settings,
) -> None:
    services.ask_for_person(principal=me, conversation=told, reason="My parcel is lost")
    handoff = Handoff.objects.get()
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    tasks.mail_agents(str(handoff.pk))
    assert mailoutbox == []
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    tasks.mail_agents(str(handoff.pk))
    tasks.mail_agents(str(handoff.pk))
    assert sorted(mail.to[0] for mail in mailoutbox) == ["admin@example.test", "agent@example.test"]
    assert f"/w/north-clinic/inbox/{told.pk}/" in mailoutbox[0].body
    assert "parcel" not in mailoutbox[0].body + mailoutbox[0].subject


def test_nobody_is_mailed_when_the_workspace_says_so(
    quick: ModelServer, told: Conversation, me: Principal, agent: User, mailoutbox: list[Any]
) -> None:
    InboxSettings.objects.create(workspace=told.workspace, mail_agents=False)
    services.ask_for_person(principal=me, conversation=told)
    tasks.mail_agents(str(Handoff.objects.get().pk))
    assert mailoutbox == []


def test_a_rating_is_for_a_closed_conversation_and_from_its_person(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    with pytest.raises(NotNow):
        services.rate(principal=me, conversation=told, score=5)
    services.close(principal=me, conversation=told)
    told.refresh_from_db()
    with pytest.raises(PermissionDenied):
        services.rate(principal=desk, conversation=told, score=5)
    for wrong in (0, 6):
        with pytest.raises(MessageRefused):
            services.rate(principal=me, conversation=told, score=wrong)
    services.rate(principal=me, conversation=told, score=2, comment="Slow")
    assert services.rate(principal=me, conversation=told, score=4).score == 4
