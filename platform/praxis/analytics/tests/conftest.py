"""Conversations that went one way or another, on the day that the test says."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import start_conversation
from praxis.conversations.tests.conftest import sample_assistant as sample_assistant
from praxis.knowledge.tests.conftest import _files_of_this_test as _files_of_this_test
from praxis.knowledge.tests.conftest import add_document as add_document
from praxis.knowledge.tests.conftest import corpus as corpus

PrincipalOf = Callable[[User], Principal]
Went = Callable[..., Conversation]


@pytest.fixture
def me(member: User, principal_of: PrincipalOf) -> Principal:
    return principal_of(member)


@pytest.fixture
def desk(agent: User, principal_of: PrincipalOf) -> Principal:
    return principal_of(agent)


@pytest.fixture
def boss(admin: User, principal_of: PrincipalOf) -> Principal:
    return principal_of(admin)


@pytest.fixture
def went(me: Principal) -> Went:
    """`went("When?", outcome="abstained", at=…, seconds=3)`: one question with its answer."""

    def make(
        question: str,
        *,
        outcome: str = "answered",
        at: datetime | None = None,
        seconds: float = 2,
        events: list[dict[str, Any]] | None = None,
        state: dict[str, Any] | None = None,
    ) -> Conversation:
        conversation = start_conversation(principal=me, assistant="sample")
        at = at or timezone.now()
        asked = Message.objects.create(
            conversation=conversation, role="user", turn=1, text=question, finished_at=at
        )
        done = {"kind": "done", "outcome": outcome, "receipt": {}, "error": ""}
        answer = Message.objects.create(
            conversation=conversation,
            parent=asked,
            role="assistant",
            turn=1,
            text="An answer.",
            events=[*(events or []), done],
            state_after=state or {},
            status="failed" if outcome == "failed" else "complete",
            finished_at=at + timedelta(seconds=seconds),
        )
        Message.objects.filter(pk=asked.pk).update(created_at=at)
        Conversation.objects.filter(pk=conversation.pk).update(created_at=at, head=answer)
        conversation.refresh_from_db()
        return conversation

    return make
