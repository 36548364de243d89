"""A person sees what is remembered of their conversation, and has it forgotten."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.assistants.language_model import ServedModel
from praxis.conversations import services
from praxis.conversations.memory import ConversationMemory, embed_messages, remembered_messages
from praxis.conversations.models import Conversation, Message, MessageEmbedding
from praxis.conversations.tests.conftest import tell_story
from tests.fakes import ModelServer

FACT = "My order number is PX-4471."


@pytest.fixture
def story(quick: ModelServer, conversation: Conversation) -> Conversation:
    messages = tell_story(conversation, num_turns=5, turn_3=FACT)
    conversation.state = {"colour": "red"}
    conversation.save()
    embed_messages(messages[-1].pk, ServedModel())
    return conversation


def address_of(conversation: Conversation, name: str = "memory") -> str:
    return reverse(f"conversations:{name}", args=[conversation.pk])


def memory_of(conversation: Conversation) -> ConversationMemory:
    return ConversationMemory(leaf_id=conversation.head_id, state={}, model=ServedModel())


def knows_fact(conversation: Conversation) -> bool:
    memory = memory_of(conversation)
    told = [one["content"] for one in memory.recent(4000)]
    found = [one.text for one in memory.recall("What is my order number?", also_recent=True)]
    return FACT in [*told, *found]


def test_the_page_shows_and_finds_what_is_remembered(
    story: Conversation, client_for: Callable[[User], Client], member: User
) -> None:
    client = client_for(member)
    page = client.get(address_of(story)).text
    assert FACT in page
    assert "<dt>Colour</dt><dd>red</dd>" in page
    found = client.get(address_of(story), {"q": "px-44"}).text
    assert FACT in found
    assert "Question number 5." not in found


def test_a_forgotten_turn_is_in_no_tier_but_stays_in_the_transcript(
    story: Conversation, client_for: Callable[[User], Client], member: User
) -> None:
    assert knows_fact(story)
    client = client_for(member)
    client.post(address_of(story, "forget"), {"turn": "3"})
    assert not knows_fact(story)
    assert FACT not in memory_of(story).summary(4000)
    assert FACT not in client.get(address_of(story)).text
    assert FACT in client.get(story.get_absolute_url()).text
    assert MessageEmbedding.objects.filter(message__text=FACT).count() == 0
    embed_messages(story.head_id, ServedModel())
    assert MessageEmbedding.objects.filter(message__text=FACT).count() == 0


def test_all_turns_with_a_word_can_be_forgotten_at_once(story: Conversation, me: Principal) -> None:
    assert services.forget(principal=me, conversation=story, containing="px-4471") == 2
    assert not knows_fact(story)
    assert remembered_messages(story.head_id).count() == 8


def test_everything_can_be_forgotten_with_what_was_understood(
    story: Conversation, me: Principal
) -> None:
    services.forget(principal=me, conversation=story)
    story.refresh_from_db()
    assert remembered_messages(story.head_id).count() == 0
    assert story.state == {}
    assert story.head is not None
    assert Message.objects.get(pk=story.head.pk).state_after == {}


def test_a_stranger_neither_sees_nor_forgets(
    story: Conversation, client_for: Callable[[User], Client], stranger: User
) -> None:
    client = client_for(stranger)
    assert client.get(address_of(story)).status_code == 404
    assert client.post(address_of(story, "forget"), {"turn": "3"}).status_code == 404
    assert knows_fact(story)


def test_an_agent_sees_but_does_not_forget(
    story: Conversation, client_for: Callable[[User], Client], agent: User
) -> None:
    client = client_for(agent)
    page = client.get(address_of(story))
    assert FACT in page.text
    assert address_of(story, "forget") not in page.text
    assert client.post(address_of(story, "forget"), {"turn": "3"}).status_code == 403
    assert knows_fact(story)
