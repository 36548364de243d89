"""What a person has said is still known after an interruption."""

from collections.abc import Iterator

import pytest

from apps.customer_service.simulation import RunningShop, Talk, running_shop


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningShop]:
    with running_shop() as shop:
        yield shop


def moving(shop: RunningShop) -> Talk:
    shop.shop.reset()
    talk = Talk(shop.endpoint)
    talk.say("I want to change my delivery address")
    talk.say("HP-10423")
    talk.say("chen@example.com")
    assert talk.state["asked"] == "street"
    return talk


def test_a_question_about_another_order_is_answered_and_changes_nothing(shop: RunningShop) -> None:
    talk = moving(shop)
    answer = talk.say("did HP-10430 go out? june@example.com")
    assert talk.sent[-1] == (
        "order_status",
        {"order_number": "HP-10430", "email": "june@example.com"},
    )
    assert "HP-10430" in answer
    assert talk.state["intent"] == "change_address"
    assert talk.values() == {"order_number": "HP-10423", "email": "chen@example.com"}


def test_a_correction_is_no_question_about_another(shop: RunningShop) -> None:
    talk = moving(shop)
    talk.say("sorry, can you make that HP-10427?")
    assert talk.values()["order_number"] == "HP-10427"
    assert talk.sent == []
