"""What was said long ago is found again, and a branch not taken is not remembered."""

from collections.abc import Callable

import pytest

from praxis.assistants.language_model import ServedModel
from praxis.conversations.memory import (
    ConversationMemory,
    earlier_questions,
    embed_messages,
    estimate_tokens,
)
from praxis.conversations.models import Conversation, Message, MessageEmbedding
from praxis.conversations.tests.conftest import tell_story
from tests.fakes import ModelServer

FACT = "My order number is PX-4471 and the parcel goes to Ulm."


@pytest.fixture
def model(quick: ModelServer) -> ServedModel:
    return ServedModel()


def memory_of(question: Message, model: ServedModel, **state: object) -> ConversationMemory:
    return ConversationMemory(leaf_id=question.parent_id, state=dict(state), model=model)


def ask_after(conversation: Conversation, text: str = "And now?") -> Message:
    return Message(conversation=conversation, parent=conversation.head, role="user", text=text)


def test_a_fact_of_turn_3_is_found_at_turn_300(
    model: ServedModel, conversation: Conversation
) -> None:
    messages = tell_story(conversation, num_turns=299, turn_3=FACT)
    while MessageEmbedding.objects.count() < len(messages):
        embed_messages(messages[-1].pk, model)
    question = ask_after(conversation, "What is the order number of my parcel?")
    memory = memory_of(question, model)
    assert FACT not in [one["content"] for one in memory.recent(400)]
    [found, *_] = memory.recall(question.text, limit=3)
    assert (found.text, found.turn, found.role) == (FACT, 3, "user")


def test_recall_finds_what_is_not_in_the_archive_yet(
    model: ServedModel, conversation: Conversation
) -> None:
    tell_story(conversation, num_turns=2, turn_1=FACT)
    question = ask_after(conversation, "What is the order number of my parcel?")
    [found, *_] = memory_of(question, model).recall(question.text)
    assert found.text == FACT


def test_recall_leaves_out_what_recent_holds_already(
    model: ServedModel, conversation: Conversation
) -> None:
    messages = tell_story(conversation, num_turns=3, turn_3=FACT)
    embed_messages(messages[-1].pk, model)
    memory = memory_of(ask_after(conversation), model)
    assert FACT in [one["content"] for one in memory.recent(400)]
    assert memory.recall("What is my order number?") == []


def test_recall_finds_nothing_where_nothing_is_near(
    model: ServedModel, conversation: Conversation
) -> None:
    messages = tell_story(conversation, num_turns=3, turn_1=FACT)
    embed_messages(messages[-1].pk, model)
    memory = memory_of(ask_after(conversation), model)
    assert memory.recall("zebra xylophone") == []


def test_recent_keeps_the_budget_and_the_order(
    model: ServedModel, conversation: Conversation
) -> None:
    tell_story(conversation, num_turns=50)
    recent = memory_of(ask_after(conversation), model).recent(40)
    assert [one["content"] for one in recent[-2:]] == ["Question number 50.", "Reply 50."]
    assert [one["role"] for one in recent[-2:]] == ["user", "assistant"]
    assert sum(estimate_tokens(one["content"]) for one in recent) <= 40


def test_the_summary_tells_the_state_and_how_older_messages_began(
    model: ServedModel, conversation: Conversation
) -> None:
    tell_story(conversation, num_turns=40, turn_1="I moved to Ulm. It was hard.")
    memory = memory_of(ask_after(conversation), model, colour="red", empty="")
    memory.recent(30)
    lines = memory.summary(max_tokens=120).splitlines()
    assert lines[0] == "colour: red"
    assert lines[1] == "- I moved to Ulm."
    assert "…" in lines
    assert "- Question number 37." in lines
    assert "- Question number 40." not in lines
    assert sum(map(estimate_tokens, lines)) <= 120 + estimate_tokens("…")


def test_a_follow_up_leans_on_the_newest_questions(conversation: Conversation) -> None:
    tell_story(conversation, num_turns=9)
    assert earlier_questions(conversation.head_id) == [
        f"Question number {turn}." for turn in (6, 7, 8, 9)
    ]
    assert earlier_questions(None) == []


def test_another_branch_is_not_remembered(model: ServedModel, conversation: Conversation) -> None:
    messages = tell_story(conversation, num_turns=4, turn_4=FACT)
    embed_messages(messages[-1].pk, model)
    other = Message(conversation=conversation, parent=messages[5], role="user", text="Elsewhere")
    memory = memory_of(other, model)
    assert FACT not in [one["content"] for one in memory.recent(1000)]
    memory._recent_ids = set()
    assert FACT not in [one.text for one in memory.recall("What is my order number?")]


def test_the_second_turn_begins_the_archive(
    ask: Callable[[str], Message], quick: ModelServer
) -> None:
    quick.enqueue("Noted.", "So is this.")
    ask("Keep this in mind")
    assert not MessageEmbedding.objects.exists()
    assert ask("And that, too").status == "complete"
    kept = set(MessageEmbedding.objects.values_list("message__text", flat=True))
    assert kept == {"Keep this in mind", "Noted.", "And that, too", "So is this."}


def test_chinese_counts_a_token_per_character() -> None:
    assert estimate_tokens("退货政策") > estimate_tokens("back")
