"""The assistant through the platform's own turn pipeline, against the real shop."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from apps.customer_service.assistant import ASSISTANT
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.intent_corrections import corrected_intents
from apps.customer_service.model_tracker import description_of
from apps.customer_service.models import ServiceDefinition, save_version
from apps.customer_service.simulation import TOKEN, RunningShop, running_shop
from apps.customer_service.tracker import empty_state
from modeling.state_tracking.format import slot_keys
from praxis.accounts.models import User, Workspace
from praxis.assistants.contract import (
    ActionProposed,
    ActionResult,
    Card,
    Done,
    Event,
    Handoff,
    LanguageModel,
    ModelUnavailable,
    Passage,
    ScoredToken,
    StateChanged,
    Token,
    Turn,
)
from praxis.assistants.pipeline import run_turn
from praxis.assistants.tests.fakes import FixedMemory
from praxis.conversations.models import Conversation as ChatRow
from praxis.conversations.models import StateCorrection
from praxis.guarded_http import AllowedNetwork


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningShop]:
    with running_shop() as shop:
        yield shop


@pytest.fixture
def definition(
    workspace: Workspace, shop: RunningShop, settings: pytest.FixtureRequest
) -> ServiceDefinition:
    shop.shop.reset()
    settings.WEBHOOK_ALLOWED_NETWORKS = [AllowedNetwork.parse("127.0.0.1/32")]  # type: ignore[attr-defined]
    made = save_version(
        workspace=workspace,
        definition=SHOP,
        base_url=shop.url,
        secret=TOKEN,
        created_by=None,
    )
    made.publish()
    return made


class SilentModel:
    """A model server that is down."""

    name = "none"

    def stream(self, messages: object, **options: object) -> Iterator[str]:
        raise ModelUnavailable("The model server does not answer.")

    def write(self, messages: object, **options: object) -> list[ScoredToken]:
        raise ModelUnavailable("The model server does not answer.")

    def embed(self, texts: object) -> list[list[float]]:
        raise ModelUnavailable("The model server does not answer.")


class ReadingModel(SilentModel):
    """A model server that only reads the state, always the same."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.budgets: list[object] = []

    def write(self, messages: object, **options: object) -> list[ScoredToken]:
        self.budgets.append(options["timeout_seconds"])
        return [ScoredToken(character, -0.001) for character in self.text]


class Conversation:
    model: LanguageModel = SilentModel()

    def __init__(self, workspace: Workspace, passages: list[Passage] | None = None) -> None:
        self.workspace = workspace
        self.passages = passages or []
        self.state: dict[str, object] = {}
        self.number = 0
        self.language = "en"

    def say(self, text: str) -> list[Event]:
        self.number += 1
        turn = Turn(
            text=text,
            number=self.number,
            state=self.state,
            memory=FixedMemory(),
            model=self.model,
            retrieve=lambda query, limit: self.passages[:limit],
            workspace_id=str(self.workspace.pk),
            conversation_id="c-1",
            language=self.language,
        )
        events = list(run_turn(ASSISTANT, turn, lower=0.35, upper=0.75))
        for event in events:
            if isinstance(event, StateChanged):
                self.state = event.state
        return events


def words(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def done(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


RETURNS = Passage(
    number=1,
    document_id="d",
    version_id="v",
    chunk_id="c",
    title="Returns and refunds",
    text="In total a refund takes about 10 days from the day you hand over the parcel.",
    start=0,
    end=76,
    page=None,
    score=0.9,
    url="/d",
)


def test_it_answers_with_the_order_and_its_card(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    talk = Conversation(workspace)
    events = talk.say("Where is my order HP-10422? My e-mail is ben@example.com")
    assert "HP-10422: it left our warehouse" in words(events)
    card = next(event for event in events if isinstance(event, Card))
    assert (card.type, card.data["number"]) == ("order", "HP-10422")
    assert done(events).outcome == "answered"
    assert done(events).receipt["chain"] == "rules"


def test_it_proposes_a_change_and_makes_it_after_a_yes(
    workspace: Workspace, definition: ServiceDefinition, shop: RunningShop
) -> None:
    talk = Conversation(workspace)
    talk.say("I want to change my delivery address")
    talk.say("HP-10423, chen@example.com")
    events = talk.say("12 Elm Road, Bristol, BS1 4QA")
    proposed = next(event for event in events if isinstance(event, ActionProposed))
    assert "12 Elm Road, Bristol, BS1 4QA" in proposed.summary
    assert proposed.arguments["postcode"] == "BS1 4QA"
    assert shop.shop.calls == []
    events = talk.say("yes")
    result = next(event for event in events if isinstance(event, ActionResult))
    assert result.ok
    assert shop.shop.orders["HP-10423"]["address"]["street"] == "12 Elm Road"


def test_the_model_reads_beside_the_rules_within_the_time_that_is_set(
    workspace: Workspace, definition: ServiceDefinition, settings: Settings
) -> None:
    described = description_of(definition.service)
    key = slot_keys(described)["reason"]
    settings.STATE_READING_MS = 700
    talk = Conversation(workspace)
    talk.model = reading = ReadingModel(f"-\n{key}=Damaged or faulty")
    talk.say("I want to return something, HP-10426, fatima@example.com")
    talk.say("there is a hole in the glass of it")
    slots: dict[str, Any] = talk.state["slots"]  # type: ignore[assignment]
    assert (slots["reason"]["value"], slots["reason"]["source"]) == ("damaged", "model")
    assert set(reading.budgets) == {0.7}
    settings.STATE_READING_MS = 0
    talk = Conversation(workspace)
    talk.model = silent = ReadingModel("-")
    talk.say("I want to return something, HP-10426, fatima@example.com")
    assert silent.budgets == []


def test_a_regenerated_answer_does_not_repeat_the_change(
    workspace: Workspace, definition: ServiceDefinition, shop: RunningShop
) -> None:
    talk = Conversation(workspace)
    talk.say("I want to return something, HP-10426, fatima@example.com, it is damaged, refund")
    before, number = talk.state, talk.number
    first = talk.say("yes")
    talk.state, talk.number = before, number
    second = talk.say("yes")
    assert words(first) == words(second)
    assert "R-7001" in words(second)
    assert len(shop.shop.returns) == 1


def test_a_question_in_between_is_answered_from_the_documents_and_the_task_goes_on(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    talk = Conversation(workspace, [RETURNS])
    talk.say("I want to return something")
    events = talk.say("How long does a refund take?")
    assert "about 10 days" in words(events)
    assert "Back to “Return an item”. What is the order number?" in words(events)
    assert done(events).receipt["chain"] == "quote"
    assert "e-mail address" in words(talk.say("HP-10421"))


def test_it_says_so_when_the_documents_are_silent(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    talk = Conversation(workspace)
    talk.say("I want to return something")
    events = talk.say("Who founded the company?")
    assert "found nothing about that" in words(events)
    assert "What is the order number?" in words(events)
    assert done(events).outcome == "abstained"


def test_it_hands_over_on_request(workspace: Workspace, definition: ServiceDefinition) -> None:
    events = Conversation(workspace).say("I want to talk to a human")
    assert any(isinstance(event, Handoff) for event in events)
    assert done(events).outcome == "handed_over"


def test_without_a_service_it_says_what_is_missing(workspace: Workspace) -> None:
    events = Conversation(workspace).say("Where is my order?")
    assert "An administrator can set up a service" in words(events)


def test_another_workspaces_service_is_not_offered(
    other_workspace: Workspace, definition: ServiceDefinition
) -> None:
    events = Conversation(other_workspace).say("Where is my order HP-10422? ben@example.com")
    assert not any(isinstance(event, ActionResult | Card) for event in events)


@pytest.mark.parametrize("text", ["", "   ", "\x00"])
def test_an_empty_message_gets_a_friendly_answer(
    workspace: Workspace, definition: ServiceDefinition, text: str
) -> None:
    assert words(Conversation(workspace).say(text))


def test_insults_alone_are_met_calmly_and_change_nothing(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    talk = Conversation(workspace)
    talk.say("I want to return something")
    before = talk.state
    assert "hand you over" in words(talk.say("you stupid useless bot"))
    assert talk.state == before


def test_insults_with_a_request_get_the_request_done(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    events = Conversation(workspace).say(
        "where the fuck is my order HP-10422, my email is ben@example.com"
    )
    assert "it left our warehouse" in words(events)


def test_the_panel_shows_what_was_understood_and_takes_corrections(
    workspace: Workspace, definition: ServiceDefinition, shop: RunningShop
) -> None:
    talk = Conversation(workspace)
    talk.say("I want to return something, HP-10426, fatima@example.com, it is damaged, refund")
    assert ASSISTANT.panel and ASSISTANT.correct
    fields = {field.key: field for field in ASSISTANT.panel(talk.state)}
    assert fields["order_number"].value == "HP-10426"
    assert fields["order_number"].turn == 1
    assert fields["order_number"].editable
    assert fields["resolution"].value == "refund"
    assert fields["resolution"].choices == (
        ("refund", "Refund"),
        ("exchange", "Exchange"),
        ("dontcare", "any"),
    )
    assert ASSISTANT.correct(talk.state, "resolution", "dontcare")["slots"]["resolution"]
    talk.state = ASSISTANT.correct(talk.state, "resolution", "exchange")
    with pytest.raises(ValueError, match="Allowed are: Refund, Exchange"):
        ASSISTANT.correct(talk.state, "resolution", "a pony")
    with pytest.raises(ValueError, match="HP-10421"):
        ASSISTANT.correct(talk.state, "order_number", "order one")
    with pytest.raises(ValueError, match="can't be changed"):
        ASSISTANT.correct(talk.state, "mood", "good")
    # A yes to the old proposal is not one to the corrected value.
    assert "Wanted: Exchange" in words(talk.say("yes"))
    assert shop.shop.returns == {}
    talk.say("yes")
    assert next(iter(shop.shop.returns.values()))["resolution"] == "exchange"


def test_a_chinese_conversation_is_tracked(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    talk = Conversation(workspace)
    talk.language = "zh-hans"
    talk.say("我的订单到哪里了？")
    talk.say("订单号是HP-10422")
    events = talk.say("ben@example.com")
    assert any(isinstance(event, ActionResult) and event.ok for event in events)
    assert done(talk.say("转人工")).outcome == "handed_over"


def test_a_task_put_right_goes_on_as_that_and_teaches_the_workspace(
    workspace: Workspace, definition: ServiceDefinition, owner: User
) -> None:
    state = {**empty_state(), "definition": definition.pk, "intent": "return_item"}
    state |= {"heard": "the blue one went walkabout", "slots": {}}
    assert ASSISTANT.correct
    with pytest.raises(ValueError, match="Allowed are: order_status"):
        ASSISTANT.correct(state, "task", "delete_all")
    after = ASSISTANT.correct(state, "task", "order_status")
    assert (after["intent"], after["intent_confidence"]) == ("order_status", 1.0)

    def corrected(person: User, after: dict[str, object]) -> None:
        talk = ChatRow.objects.create(workspace=workspace, assistant="service", person=person)
        StateCorrection.objects.create(
            conversation=talk, key="task", before=state, after=after, author=person
        )

    corrected(owner, after)
    corrected(owner, {**after, "definition": definition.pk + 1})
    assert corrected_intents(str(workspace.pk), definition.name) == (
        ("the blue one went walkabout", "order_status"),
    )
    none = ASSISTANT.correct(after, "task", "none")
    assert none["intent"] == ""
    corrected(owner, none)
    assert corrected_intents(str(workspace.pk), definition.name)[-1][1] == ""


def test_a_visitors_correction_teaches_nothing(
    workspace: Workspace, definition: ServiceDefinition
) -> None:
    state = {**empty_state(), "definition": definition.pk, "heard": "hm", "intent": "return_item"}
    talk = ChatRow.objects.create(workspace=workspace, assistant="service", visitor_key="v")
    StateCorrection.objects.create(conversation=talk, key="task", before=state, after=state)
    assert corrected_intents(str(workspace.pk), definition.name) == ()
