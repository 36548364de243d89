"""The restaurant and the clinic by chat: real calls, refusals with a way on, one service to the next."""

from collections.abc import Iterator

import pytest

from apps.customer_service.demo_services import DEMO_SERVICES
from apps.customer_service.schema import parse_service
from apps.customer_service.simulation import RunningDemo, Talk, running_demo

SERVICES = {definition["name"]: parse_service(definition) for definition in DEMO_SERVICES}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDemo]:
    with running_demo() as demo:
        yield demo


@pytest.fixture
def demo(running: RunningDemo) -> RunningDemo:
    for business in running.businesses:
        business.reset()
    return running


def talk_to(demo: RunningDemo, name: str) -> Talk:
    return Talk(demo.endpoint(name), SERVICES[name])


def talk_to_all(demo: RunningDemo) -> Talk:
    offered = {name: (service, demo.endpoint(name)) for name, service in SERVICES.items()}
    return Talk(demo.endpoint("shop"), SERVICES["shop"], offered=offered)


def test_a_table_is_booked_with_what_was_said(demo: RunningDemo) -> None:
    talk = talk_to(demo, "restaurant")
    talk.say("I'd like to book a table for 4 on Friday at half past seven")
    talk.say("Jane Miller")
    shown = talk.say("020 7946 0999")
    assert "A table for 4 on March 6, 2026 at 19:30, in the name of Jane Miller" in shown
    assert "Your table is booked for March 6, 2026 at 19:30" in talk.say("yes")
    ((method, path, sent),) = demo.restaurant.calls
    assert (method, path) == ("POST", "/bookings")
    assert sent == {
        "guests": 4, "day": "2026-03-06", "time": "19:30", "name": "Jane Miller",
        "phone": "+442079460999",
    }  # fmt: skip


def test_a_time_that_is_taken_is_asked_for_again_and_the_rest_is_kept(demo: RunningDemo) -> None:
    talk = talk_to(demo, "restaurant")
    talk.say("book a table for 2 on Friday at 8 pm, my name is Tom Fox, phone 07700 900123")
    answer = talk.say("yes")
    assert "At 20:00 there is no table left" in answer
    assert "At what time?" in answer
    assert "for 2 on March 6, 2026 at 19:00" in talk.say("19:00 then")
    talk.say("yes")
    assert len(demo.restaurant.calls) == 1


def test_a_booking_is_only_cancelled_for_whoever_knows_its_number_and_telephone(
    demo: RunningDemo,
) -> None:
    talk = talk_to(demo, "restaurant")
    talk.say("cancel booking SB-2042, phone 020 7946 0777")
    assert "One of the two doesn't match" in talk.say("yes")
    assert "SB-2042" in demo.restaurant.bookings
    talk.say("SB-2042 and 020 7946 0102")
    assert "is cancelled" in talk.say("yes")
    assert "SB-2042" not in demo.restaurant.bookings


def test_the_times_to_choose_from_come_from_the_clinic(demo: RunningDemo) -> None:
    talk = talk_to(demo, "clinic")
    question = talk.say("I need to see Dr Brandt on Friday")
    assert "1. 09:10" in question
    assert "08:30" not in question
    talk.say("twenty past ten")
    assert talk.values()["time"] == "10:20"
    talk.say("Ann Hill, born 3 July 1980")
    assert talk.values()["patient_name"] == "Ann Hill"
    talk.say("020 7946 0333")
    talk.say("yes")
    (made,) = demo.clinic.calls
    assert made[2]["born"] == "1980-07-03"


def test_another_day_brings_other_times(demo: RunningDemo) -> None:
    talk = talk_to(demo, "clinic")
    talk.say("I want to book an appointment")
    talk.say("Dr Amari")
    talk.say("tomorrow")
    talk.say("the first one")
    assert talk.values()["time"] == "08:30"
    talk.say("sorry, the day should be Friday")
    assert "time" not in talk.values()
    assert talk.state["asked"] == "time"


def test_an_ambiguous_birthday_is_read_back_before_it_is_used(demo: RunningDemo) -> None:
    talk = talk_to(demo, "clinic")
    assert "Date of birth is May 12, 1984?" in talk.say(
        "cancel appointment LC-501, born 12/05/1984"
    )
    talk.say("yes")
    assert "is cancelled" in talk.say("yes")


def test_each_message_goes_to_the_service_that_it_is_about(demo: RunningDemo) -> None:
    talk = talk_to_all(demo)
    assert "HP-10422" in talk.say("Where is my order HP-10422? ben@example.com")
    talk.say("Reserve a table for two on Sunday at 1 pm")
    assert talk.service.name == "restaurant"
    talk.say("cancel")
    talk.say("Cancel my appointment LC-502")
    assert (talk.service.name, talk.state["intent"]) == ("clinic", "cancel_appointment")


def test_a_telephone_number_goes_along_to_the_next_service(demo: RunningDemo) -> None:
    talk = talk_to_all(demo)
    talk.say("cancel booking SB-2042, phone 020 7946 0102")
    talk.say("yes")
    talk.say("I'd like to make an appointment with the doctor")
    assert talk.values() == {"phone": "+442079460102"}


def test_a_price_limit_is_part_of_the_search(demo: RunningDemo) -> None:
    talk = talk_to(demo, "shop")
    answer = talk.say("I'm looking for a lamp under £60")
    assert talk.sent == [("find_product", {"product_query": "lamp", "max_price": 60})]
    assert "I found 1 for “lamp” up to 60.00 GBP" in answer
