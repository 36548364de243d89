"""The panel beside the chat: value, confidence, the message it came from; a correction and its traces."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.customer_service.demo_services.restaurant import RESTAURANT
from apps.customer_service.models import save_version
from apps.customer_service.schema import parse_service
from apps.customer_service.simulation import Talk
from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Conversation, Message, StateCorrection
from praxis.conversations.serializers import message_to_dict

ClientFor = Callable[[User], Client]


@pytest.fixture
def conversation(workspace: Workspace, member: User) -> Conversation:
    """Two answered messages about a table; the second one named the day."""
    version = save_version(
        workspace=workspace, definition=RESTAURANT, base_url="https://t.example", secret="",
        created_by=None,
    )  # fmt: skip
    talk = Talk(None, parse_service(RESTAURANT))  # type: ignore[arg-type]  # nothing is called
    conversation = Conversation.objects.create(
        workspace=workspace, assistant="service", person=member
    )
    parent = None
    for number, text in enumerate(("I'd like to book a table for 4", "on Saturday"), 1):
        answer = talk.say(text)
        state = {**talk.state, "definition": version.pk}
        for role, said in (("user", text), ("assistant", answer)):
            parent = Message.objects.create(
                conversation=conversation, parent=parent, turn=number, role=role, text=said,
                state_after=state if role == "assistant" else None, finished_at=timezone.now(),
            )  # fmt: skip
        conversation.state = state
    conversation.head = parent
    conversation.save()
    return conversation


def test_each_value_links_to_its_message(
    conversation: Conversation, member: User, client_for: ClientFor
) -> None:
    page = client_for(member).get(conversation.get_absolute_url()).content.decode()
    first, second = Message.objects.filter(conversation=conversation, role="user").order_by("turn")
    assert f'<a href="#message-{first.pk}">from message 1</a>' in page
    assert f'<a href="#message-{second.pk}">from message 2</a>' in page
    assert f'id="message-{second.pk}"' in page
    assert "<span>90 %</span>" in page


def test_a_correction_leaves_its_difference_in_answer_and_corrections(
    conversation: Conversation, member: User, client_for: ClientFor
) -> None:
    client = client_for(member)
    address = reverse("conversations:correct", args=[conversation.pk])
    client.post(address, {"key": "guests", "value": "6"})
    answer = conversation.head
    assert answer is not None
    answer.refresh_from_db()
    changes = message_to_dict(answer)["state_changes"]
    assert changes["slots"] == {
        "guests": {"value": 6, "title": "6", "confidence": 1.0, "turn": None, "source": "corrected"}
    }
    assert message_to_dict(answer)["state_after"]["slots"]["day"]["value"]
    assert StateCorrection.objects.get().key == "guests"


def test_a_value_that_does_not_fit_is_refused_with_an_example(
    conversation: Conversation, member: User, client_for: ClientFor
) -> None:
    address = reverse("conversations:correct", args=[conversation.pk])
    response = client_for(member).post(
        address, {"key": "phone", "value": "call me"}, headers={"HX-Request": "true"}
    )
    assert response.status_code == 422
    assert "An example is 020 7946 0101" in response.content.decode()
    assert not StateCorrection.objects.exists()
