"""A wish for another service in the middle of a task, and the way back to it."""

import json
from collections.abc import Iterator, Sequence

import pytest
from pytest_django import Settings

from apps.customer_service.assistant import panel
from apps.customer_service.demo_services import DEMO_SERVICES
from apps.customer_service.intents import Embed
from apps.customer_service.models import save_version
from apps.customer_service.policy import Outcome, after_action
from apps.customer_service.schema import parse_service
from apps.customer_service.simulation import TOKEN, RunningDemo, Talk, running_demo
from apps.customer_service.tests.test_through_the_platform import Conversation, words
from modeling.retrieval.encoder import Encoder
from modeling.weights.assemble import encoder_folder
from praxis.accounts.models import Workspace
from praxis.guarded_http import AllowedNetwork

pytestmark = pytest.mark.weights
SERVICES = {definition["name"]: parse_service(definition) for definition in DEMO_SERVICES}
TABLE = "I'd like to book a table for 4 on Friday at 7 pm"
TABLE_VALUES = {"guests": 4, "day": "2026-03-06", "time": "19:00"}
RETURN = "I want to return something HP-10426 fatima@example.com"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDemo]:
    with running_demo() as demo:
        yield demo


@pytest.fixture(scope="module")
def embed() -> Embed:
    """The encoder that ships with the platform; the definitions' samples are encoded once."""
    encoder, known = Encoder(encoder_folder()), dict[str, list[float]]()

    def encode(texts: Sequence[str]) -> list[list[float]]:
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, encoder.encode(new).tolist(), strict=True))
        return [known[text] for text in texts]

    return encode


@pytest.fixture
def talk(running: RunningDemo, embed: Embed) -> Talk:
    for business in running.businesses:
        business.reset()
    offered = {name: (service, running.endpoint(name)) for name, service in SERVICES.items()}
    return Talk(running.endpoint("shop"), SERVICES["shop"], offered=offered, embed=embed)


def place(talk: Talk) -> tuple[str, str, str]:
    return talk.state["definition"], talk.state["intent"], talk.state["asked"]


def parked(talk: Talk) -> list[tuple[str, str]]:
    return [(task["definition"], task["intent"]) for task in talk.state["parked"]]


def test_another_service_answers_and_the_task_goes_on_with_its_values(talk: Talk) -> None:
    talk.say(TABLE)
    answer = talk.say("actually, where is my parcel?")
    assert answer.startswith("I'll come back to “Book a table” afterwards.")
    assert place(talk) == ("shop", "order_status", "order_number")
    assert parked(talk) == [("restaurant", "book_table")]
    answer = talk.say("HP-10422, ben@example.com")
    assert "it left our warehouse" in answer
    assert answer.endswith("Back to “Book a table”.\n\nUnder which name shall I book?")
    assert (place(talk), talk.values()) == (
        ("restaurant", "book_table", "guest_name"),
        TABLE_VALUES,
    )
    talk.say("Jane Miller")
    talk.say("020 7946 0999")
    assert "Your table is booked" in talk.say("yes")


def test_a_change_elsewhere_is_made_once_it_is_confirmed_and_nothing_else(
    talk: Talk, running: RunningDemo
) -> None:
    talk.say(TABLE)
    shown = talk.say("first cancel my appointment LC-501, born 12 May 1984")
    assert "Cancel appointment LC-501" in shown
    assert running.clinic.calls == []
    assert talk.say("yes").endswith("Back to “Book a table”.\n\nUnder which name shall I book?")
    assert len(running.clinic.calls) == 1
    assert running.restaurant.calls == []


def test_what_needs_no_question_is_answered_in_the_same_turn(talk: Talk) -> None:
    talk.say(RETURN)
    answer = talk.say("hold on, which doctors do you have?")
    assert "Our doctors are" in answer
    assert "Back to “Return an item”.\n\nWhy do you want to return it?" in answer
    assert place(talk) == ("shop", "return_item", "reason")
    assert talk.values()["item"] == "VAS-01"


def test_a_question_about_another_service_moves_nothing(talk: Talk) -> None:
    talk.say(RETURN)
    before = {**talk.state}
    assert talk.say("can I bring my dog to the restaurant?") == "[documents]"
    assert talk.values() == {name: entry["value"] for name, entry in before["slots"].items()}
    assert (talk.state["asked"], parked(talk)) == (before["asked"], [])


def test_two_wishes_of_two_services_in_one_message(talk: Talk) -> None:
    answer = talk.say("book a table for two tomorrow at 7 pm and cancel my appointment LC-501")
    assert "“Cancel an appointment” comes right after this." in answer
    assert talk.values() == {"guests": 2, "day": "2026-03-05", "time": "19:00"}
    talk.say("Tom Fox")
    talk.say("07700 900123")
    answer = talk.say("yes")
    assert "What is the patient's date of birth?" in answer
    assert talk.values()["appointment_number"] == "LC-501"


def test_an_answer_and_a_wish_elsewhere_in_one_message(talk: Talk, running: RunningDemo) -> None:
    talk.say(f"{TABLE}, my name is Tom Fox")
    talk.say("07700 900123")
    answer = talk.say("yes please, and where is my order HP-10422? ben@example.com")
    assert "Your table is booked" in answer
    assert "Order HP-10422: it left our warehouse" in answer
    assert len(running.restaurant.calls) == 1


def test_values_beside_a_wish_elsewhere_are_kept_for_the_task(talk: Talk) -> None:
    talk.say("I want to book a table for Friday")
    talk.say("4 people. And where is my order HP-10422, ben@example.com?")
    assert talk.values() == {"day": "2026-03-06", "guests": 4}


def test_a_number_or_a_name_is_an_answer_and_no_wish(talk: Talk) -> None:
    talk.say(TABLE)
    talk.say("Doctor Brandt")
    assert talk.values()["guest_name"] == "Doctor Brandt"
    talk.say("07700 900123")
    assert talk.values()["phone"] == "+447700900123"
    assert place(talk) == ("restaurant", "book_table", "confirm")


def test_back_to_the_first_task_before_the_other_is_done(talk: Talk) -> None:
    talk.say("I want to see a doctor")
    talk.say("Dr Brandt")
    talk.say("can I also book a table for two?")
    assert parked(talk) == [("clinic", "book_appointment")]
    answer = talk.say("back to the doctor's appointment please")
    assert answer.endswith("Back to “Book an appointment”.\n\nOn which day?")
    assert (parked(talk), talk.values()) == ([("restaurant", "book_table")], {"doctor": "brandt"})


def test_giving_up_the_interruption_leads_back_and_giving_up_all_leads_nowhere(talk: Talk) -> None:
    talk.say(TABLE)
    talk.say("actually, where is my parcel?")
    answer = talk.say("never mind")
    assert "I have stopped “Order status”" in answer
    assert answer.endswith("Under which name shall I book?")
    talk.say("actually, where is my parcel?")
    answer = talk.say("cancel everything")
    assert "I have stopped “Book a table”" in answer
    assert (place(talk), parked(talk)) == (("shop", "", ""), [])


def test_the_parked_task_outlives_a_restart(talk: Talk) -> None:
    talk.say(TABLE)
    talk.say("actually, where is my parcel?")
    later = Talk(
        talk.endpoint, talk.service, offered=talk.offered, embed=talk.embed,
        state=json.loads(json.dumps(talk.state)),
    )  # fmt: skip
    assert later.say("HP-10422 ben@example.com").endswith("Under which name shall I book?")


def test_a_change_of_unknown_fate_is_tried_again_with_the_same_key(talk: Talk) -> None:
    talk.say(f"{TABLE}, my name is Tom Fox")
    talk.say("07700 900123")
    talk.state["key"] = "the-key"
    service = SERVICES["restaurant"]
    talk.state = after_action(
        service, talk.state, service.intent("book_table"), Outcome(kind="uncertain")
    )
    talk.say("where is my order HP-10422? ben@example.com")
    assert place(talk) == ("restaurant", "book_table", "retry")
    assert talk.state["key"] == "the-key"


def test_chinese_leads_to_another_service_and_back(talk: Talk) -> None:
    talk.say("我想订明天晚上四个人的位子")
    talk.say("等一下，我的包裹到哪里了？")
    assert place(talk) == ("shop", "order_status", "order_number")
    talk.say("HP-10422 ben@example.com")
    assert place(talk) == ("restaurant", "book_table", "time")
    assert talk.values() == {"guests": 4, "day": "2026-03-05"}


def test_through_the_platform_the_parked_task_is_seen_beside_the_chat(
    workspace: Workspace, running: RunningDemo, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [AllowedNetwork.parse("127.0.0.1/32")]
    for definition in DEMO_SERVICES:
        save_version(
            workspace=workspace,
            definition=definition,
            base_url=f"{running.url}/{definition['name']}",
            secret=TOKEN,
            created_by=None,
        ).publish()
    talk = Conversation(workspace)  # its model server is down, so that words alone tell
    assert "which day" in words(talk.say("I'd like to book a table")) or "how many" in words(
        talk.say("for dinner")
    )
    said = words(talk.say("where is my order HP-10422"))
    assert "I'll come back to “Book a table” afterwards." in said
    fields = panel(talk.state)
    assert [field.value for field in fields if field.key == "waiting"] == ["Book a table"]
    assert "Back to “Book a table”" in words(talk.say("ben@example.com"))
    assert panel(talk.state)[0].value == "book_table"
