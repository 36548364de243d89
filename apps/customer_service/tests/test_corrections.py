"""A slot that is put right in the panel becomes a line of the next data set."""

import datetime
from typing import Any

import pytest

from apps.customer_service.assistant import ASSISTANT
from apps.customer_service.corrections import example_of
from apps.customer_service.demo_services.restaurant import RESTAURANT
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.model_tracker import description_of
from apps.customer_service.models import ServiceDefinition, save_version
from apps.customer_service.schema import Service, parse_service
from apps.customer_service.simulation import TODAY, Talk
from apps.customer_service.tracker import change_by_hand
from modeling.state_tracking import format as form
from modeling.training.conversations import read_conversations
from praxis.accounts.models import Workspace
from praxis.assistants.contract import CorrectedState, SaidTurn
from praxis.conversations.models import Conversation, Message, StateCorrection
from praxis.tuning.corrections import corrected_states, to_jsonl

TABLES = parse_service(RESTAURANT)


def held(service: Service, *said: str) -> tuple[list[SaidTurn], Talk]:
    talk = Talk(None, service)  # type: ignore[arg-type]  # nothing is called in these talks
    turns, agent = [], ""
    for text in said:
        answer = talk.say(text)
        turns.append(SaidTurn(agent=agent, user=text, said_on=TODAY, state=talk.state))
        agent = answer
    return turns, talk


def corrected(service: Service, talk: Talk, turns: list[SaidTurn], key: str, value: Any) -> Any:
    after = change_by_hand(service, talk.state, service.slot(key), value)
    return example_of(
        service, CorrectedState(turns=tuple(turns), key=key, before=talk.state, after=after)
    )


def learnt(service: Service, example: list[dict[str, Any]]) -> form.Change:
    (line,) = [message for message in example if message.get("weight") == 1]
    return form.read_change(description_of(service), line["content"])


def test_the_right_value_is_learnt_at_the_message_that_says_it() -> None:
    turns, talk = held(TABLES, "I'd like to book a table for 4 or 6", "on Friday", "at 7 pm")
    example = corrected(TABLES, talk, turns, "guests", 6)
    assert example is not None
    assert [message["role"] for message in example] == ["system", "user", "assistant"]
    assert learnt(TABLES, example).values == {"guests": "6"}
    assert learnt(TABLES, example).intent == "book_table"
    assert "for 4 or 6" in example[1]["content"]


def test_a_day_is_written_as_it_was_said() -> None:
    turns, talk = held(TABLES, "I'd like to book a table for 4", "on Saturday or Sunday")
    example = corrected(TABLES, talk, turns, "day", "2026-03-08")
    assert example is not None
    assert learnt(TABLES, example).values == {"day": "Sunday"}
    assert example[3]["content"].startswith("Agent: On which day?")


def test_a_choice_is_written_by_its_title() -> None:
    service = parse_service(SHOP)
    turns, talk = held(service, "I want to return something, it is broken and not what I ordered")
    example = corrected(service, talk, turns, "reason", "wrong_item")
    assert example is not None
    assert learnt(service, example).values["reason"] == "Wrong item sent"


def test_a_value_that_was_read_wrongly_is_unlearnt_at_its_message() -> None:
    turns, talk = held(TABLES, "I'd like to book a table for 4 at 7 pm", "hmm what about the 20th")
    assert "time" in talk.values()
    example = corrected(TABLES, talk, turns, "time", None)
    assert example is not None
    assert "time" not in learnt(TABLES, example).values
    assert learnt(TABLES, example).values == {"guests": "4"}


def test_what_nobody_said_teaches_nothing() -> None:
    turns, talk = held(TABLES, "I'd like to book a table for 4")
    assert corrected(TABLES, talk, turns, "phone", "+442079460999") is None


@pytest.fixture
def version(workspace: Workspace) -> ServiceDefinition:
    return save_version(
        workspace=workspace, definition=RESTAURANT, base_url="https://t.example", secret="",
        created_by=None,
    )  # fmt: skip


def test_stored_corrections_become_usable_lines(
    workspace: Workspace, version: ServiceDefinition, tmp_path: Any
) -> None:
    turns, talk = held(TABLES, "I'd like to book a table for 4 or 6", "on Friday")
    conversation = Conversation.objects.create(workspace=workspace, assistant="service")
    now = datetime.datetime(2026, 3, 4, tzinfo=datetime.UTC)
    parent = None
    for number, turn in enumerate(turns, 1):
        for role, text, state in (
            ("user", turn.user, None),
            ("assistant", "…", {**turn.state, "definition": version.pk}),
        ):
            parent = Message.objects.create(
                conversation=conversation, parent=parent, turn=number, role=role, text=text,
                state_after=state, finished_at=now,
            )  # fmt: skip
    before = {**talk.state, "definition": version.pk}
    for value in (5, 6):
        after = change_by_hand(TABLES, before, TABLES.slot("guests"), value)
        StateCorrection.objects.create(
            conversation=conversation, message=parent, key="guests", before=before, after=after
        )
    rows = list(corrected_states(workspace, ASSISTANT, reviewed_only=False))
    assert len(rows) == 1
    assert "a=6" in rows[0]["messages"][-1]["content"]
    assert list(corrected_states(workspace, ASSISTANT, reviewed_only=True)) == []
    path = tmp_path / "rows.jsonl"
    path.write_bytes(to_jsonl(iter(rows)))
    assert len(list(read_conversations(path))) == 1
