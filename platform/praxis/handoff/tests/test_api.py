"""The inbox over REST, and what the assistant would answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, Role, User
from praxis.assistants import registry
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import start_conversation
from praxis.conversations.tests.conftest import tell_story
from praxis.handoff import services
from praxis.handoff.suggestions import suggest
from praxis.handoff.tests.conftest import PrincipalOf
from praxis.integrations.keys import create_key
from praxis.knowledge.content import hand_down
from praxis.knowledge.models import Corpus
from praxis.knowledge.tests.conftest import (
    AddDocument,
    _files_of_this_test,  # noqa: F401
    add_document,  # noqa: F401
    corpus,  # noqa: F401
)
from tests.document_desk.assistant import ASSISTANT
from tests.fakes import ModelServer

RETURNS = (
    "# Returns\n\nUnused items can be returned within 30 days of delivery. "
    "The refund is paid within five days after the return has arrived."
)
QUESTION = "How long does a refund take after the return has arrived?"


def client_of(principal: Principal, *scopes: str) -> Callable[..., Any]:
    """`call("POST", "/inbox/…", text="…")` with a key of that person."""
    _key, secret = create_key(
        principal=replace(principal, role=Role.OWNER),
        name="test",
        role=principal.role,
        scopes=scopes or ("handoff:read", "handoff:write", "chat"),
    )
    client = Client(headers={"authorization": f"Bearer {secret}"})

    def call(method: str, path: str, **body: object) -> Any:
        return client.generic(
            method,
            f"/api/v1{path}",
            data=json.dumps(body) if body else "",
            content_type="application/json",
        )

    return call


def test_an_agent_works_through_a_handoff(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    person, agent = client_of(me), client_of(desk)
    asked = person("POST", f"/conversations/{told.pk}/handoff", reason="Too slow")
    assert asked.json()["handoff"]["reason"] == "Too slow"
    queue = agent("GET", "/inbox").json()
    assert (queue["waiting"], queue["items"][0]["urgency"]) == (1, "in_time")
    taken = agent("POST", f"/inbox/{told.pk}/take").json()
    assert (taken["owner_kind"], taken["owner"]) == ("person", "agent")
    assert agent("POST", f"/inbox/{told.pk}/take").status_code == 409
    assert agent("POST", f"/inbox/{told.pk}/notes", text="Is angry").status_code == 201
    reply = agent("POST", f"/inbox/{told.pk}/replies", text="Good day")
    assert (reply.status_code, reply.json()["role"]) == (201, "person")
    whole = agent("GET", f"/inbox/{told.pk}").json()
    assert [note["text"] for note in whole["notes"]] == ["Is angry"]
    assert [(one["from"], one["to"]) for one in whole["transitions"]] == [
        ("bot", "waiting"),
        ("waiting", "person"),
    ]
    assert agent("POST", f"/inbox/{told.pk}/return").json()["owner_kind"] == "assistant"
    assert agent("POST", f"/inbox/{told.pk}/close").json()["owner_kind"] == "closed"
    rated = person("PUT", f"/conversations/{told.pk}/rating", score=4, comment="Fine")
    assert rated.json() == {"score": 4, "comment": "Fine"}


def test_scopes_roles_and_workspaces_are_kept(
    quick: ModelServer,
    told: Conversation,
    me: Principal,
    desk: Principal,
    stranger: User,
    principal_of: PrincipalOf,
) -> None:
    reader, member = client_of(desk, "handoff:read"), client_of(me)
    other = client_of(principal_of(stranger))
    paths = [f"/inbox/{told.pk}/{act}" for act in ("take", "return", "close", "put-back")]
    for path in paths:
        assert reader("POST", path).status_code == 403, path
        assert member("POST", path).status_code == 403, path
        assert other("POST", path).status_code == 404, path
    for path in (f"/inbox/{told.pk}/replies", f"/inbox/{told.pk}/notes"):
        assert reader("POST", path, text="x").status_code == 403, path
        assert member("POST", path, text="x").status_code == 403, path
        assert other("POST", path, text="x").status_code == 404, path
    assert member("GET", "/inbox").status_code == 403
    assert member("GET", f"/inbox/{told.pk}").status_code == 403
    assert other("GET", f"/inbox/{told.pk}").status_code == 404
    assert other("POST", f"/conversations/{told.pk}/handoff", reason="").status_code == 404


@pytest.fixture
def asked(
    quick: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    me: Principal,
    corpus: Corpus,  # noqa: F811
    add_document: AddDocument,  # noqa: F811
) -> Conversation:
    """A question that the documents answer, in a conversation that waits for a person."""
    assistant = replace(ASSISTANT, lower_threshold=0.0, documents_threshold=0.0)
    monkeypatch.setitem(registry._assistants, assistant.slug, assistant)
    monkeypatch.setitem(registry._app_labels, assistant.slug, "conversations")
    add_document("returns.md", RETURNS)
    conversation = start_conversation(principal=me, assistant=assistant.slug)
    tell_story(conversation, num_turns=1, turn_1=QUESTION)
    services.ask_for_person(principal=me, conversation=conversation)
    return conversation


def test_a_suggestion_cites_and_sends_nothing(asked: Conversation, desk: Principal) -> None:
    before = list(asked.messages.values("pk", "text"))
    found = suggest(principal=desk, conversation=asked)
    assert found is not None
    assert "five days" in found.text
    assert found.citations[0]["title"]
    assert f"[{found.citations[0]['number']}]" in found.text
    assert list(asked.messages.values("pk", "text")) == before
    asked.refresh_from_db()
    assert asked.owner_kind == "waiting"


def test_a_suggestion_stands_on_what_the_person_may_read(
    asked: Conversation,
    desk: Principal,
    corpus: Corpus,  # noqa: F811
) -> None:
    corpus.access = ["role:agent"]
    corpus.save()
    for document in corpus.documents.select_related("corpus"):
        hand_down(document)
    found = suggest(principal=desk, conversation=asked)
    assert found is None or "five days" not in found.text
    assert Message.objects.filter(role="person").count() == 0


def test_a_program_speaks_as_the_assistant_only_while_that_has_the_word(
    quick: ModelServer, told: Conversation, me: Principal, desk: Principal
) -> None:
    path = f"/conversations/{told.pk}/assistant-messages"
    program = client_of(desk, "conversations:write")
    said = program("POST", path, text="Your parcel has left.")
    assert said.status_code == 201
    message = Message.objects.get(text="Your parcel has left.")
    assert (message.role, message.receipt["chain"]) == ("assistant", "proactive")
    told.refresh_from_db()
    assert told.head == message
    assert AuditEntry.objects.filter(action="conversation.proactive_message").count() == 1
    assert client_of(me, "conversations:write")("POST", path, text="No").status_code == 403
    assert client_of(desk, "chat")("POST", path, text="No").status_code == 403
    services.take(principal=desk, conversation=told)
    assert program("POST", path, text="Too late").status_code == 409
    services.close(principal=desk, conversation=told)
    assert program("POST", path, text="Too late").status_code == 409
