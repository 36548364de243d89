"""What the rules read from one message."""

import datetime

import pytest

from apps.customer_service.phrases import only_abuse, read_acts, without_lead_in
from apps.customer_service.schema import Slot, Value
from apps.customer_service.simulation import TODAY
from apps.customer_service.values import WrongValue, choices_of, find, normalise


def slot(kind: str, **more: object) -> Slot:
    return Slot(name="s", title="It", description="", kind=kind, question="?", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["yes", "Yes please!", "yep", "sure, go ahead", "ok do it", "sounds good", "That's right",
     "correct, thanks", "y", "yess", "是的", "好的，谢谢", "确认"],
)  # fmt: skip
def test_a_yes(text: str) -> None:
    assert read_acts(text).affirms


@pytest.mark.parametrize(
    "text",
    ["yes but change the email", "yes?", "not yes", "no", "yes to HP-10421", "ok cancel", "maybe",
     "I don't know", "yes and send it to Bath", "是的但是地址不对", "", "that's not right", "fine, no"],
)  # fmt: skip
def test_no_clear_yes(text: str) -> None:
    assert not read_acts(text).affirms


@pytest.mark.parametrize(
    "text", ["no", "No thanks", "nope", "no, that's wrong", "不", "不是的", "不要"]
)
def test_a_no(text: str) -> None:
    assert read_acts(text).denies


@pytest.mark.parametrize(
    "text",
    ["I want to talk to a human", "can you get me a real person?", "agent", "human please",
     "connect me with your manager", "I'd like to speak with someone", "转人工", "我要找真人客服"],
)  # fmt: skip
def test_a_person_is_asked_for(text: str) -> None:
    assert read_acts(text).person


@pytest.mark.parametrize(
    "text",
    ["I don't want to talk to a person", "no need for an agent", "the agent of my landlord lives here",
     "the personal data", "不用转人工"],
)  # fmt: skip
def test_a_person_is_not_asked_for(text: str) -> None:
    assert not read_acts(text).person


@pytest.mark.parametrize(
    "text", ["cancel", "never mind", "forget it please", "stop", "算了", "我想取消"]
)
def test_a_cancellation(text: str) -> None:
    assert read_acts(text).cancels


@pytest.mark.parametrize("text", ["cancel my order HP-10421", "取消订单", "stop sending me mail"])
def test_no_cancellation_of_the_dialogue(text: str) -> None:
    assert not read_acts(text).cancels


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-05", "2026-03-05"),
        ("today", "2026-03-04"),
        ("tomorrow please", "2026-03-05"),
        ("the day after tomorrow", "2026-03-06"),
        ("on Friday", "2026-03-06"),
        ("next Wednesday", "2026-03-11"),
        ("last Monday", "2026-03-02"),
        ("in two weeks", "2026-03-18"),
        ("3 days ago", "2026-03-01"),
        ("March 9th", "2026-03-09"),
        ("9 April 2027", "2027-04-09"),
        ("2 January", "2026-01-02"),
        ("15 June", "2026-06-15"),
        ("the 9th", "2026-03-09"),
        ("the 2nd", "2026-04-02"),
        ("25/12/2026", "2026-12-25"),
        ("明天", "2026-03-05"),
        ("3月9日", "2026-03-09"),
    ],
)
def test_days(text: str, day: str) -> None:
    found = find(slot("date"), text, today=TODAY, asked=True)
    assert [one.value for one in found] == [day]


def test_a_date_that_may_be_read_two_ways_is_not_sure() -> None:
    found = find(slot("date"), "03/05/2026", today=TODAY, asked=True)
    assert found[0].value == "2026-05-03"
    assert found[0].confidence < 0.6


@pytest.mark.parametrize("text", ["31 February", "32/01/2026", "1/2", "version 2.3"])
def test_no_days(text: str) -> None:
    assert find(slot("date"), text, today=TODAY, asked=True) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("make it five", 5), ("2 pieces", 2), ("a couple", 2), ("两个", 2), ("just one", 1)],
)
def test_numbers(text: str, number: int) -> None:
    assert [one.value for one in find(slot("number"), text, today=TODAY, asked=True)] == [number]


@pytest.mark.parametrize("text", ["the second one", "this one", "HP-10421", "a@b5.com", "1.2.3"])
def test_no_numbers(text: str) -> None:
    assert find(slot("number"), text, today=TODAY, asked=True) == []


LAMPS = (
    {"value": "A", "title": "Beacon desk lamp"},
    {"value": "B", "title": "Lantern floor lamp"},
    {"value": "C", "title": "Oak stool"},
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("the second one", "B"), ("2", "B"), ("number 3", "C"), ("last", "C"), ("第一个", "A"),
     ("the desk lamp", "A"), ("Lantren", "B"), ("stools", "C"), ("oak stool please", "C"), ("#1", "A")],
)  # fmt: skip
def test_an_item_of_the_list_that_was_shown(text: str, value: str) -> None:
    choices = choices_of(slot("categorical"), LAMPS)
    found = find(slot("categorical"), text, today=TODAY, choices=choices, asked=True)
    assert [one.value for one in found] == [value]


@pytest.mark.parametrize("text", ["the lamp", "9", "the fourth", "something else"])
def test_no_item_of_the_list(text: str) -> None:
    choices = choices_of(slot("categorical"), LAMPS)
    assert find(slot("categorical"), text, today=TODAY, choices=choices, asked=True) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("no, it's 12 Elm Road", "12 Elm Road"), ("my new street is Elm Road.", "Elm Road"),
     ("actually make it Bath", "Bath"), ("应该是上海", "上海"), ("Nottingham", "Nottingham")],
)  # fmt: skip
def test_the_words_before_a_value_are_left_out(text: str, value: str) -> None:
    assert without_lead_in(text) == value


def test_a_value_typed_by_hand_is_normalised_or_refused() -> None:
    order = slot("pattern", pattern=r"(?:HP-?)?(\d{5})", form="HP-{1}")
    assert normalise(order, " hp10421 ", today=TODAY) == "HP-10421"
    size = slot("categorical", values=(Value(name="s", title="Small", synonyms=("tiny",)),))
    assert normalise(size, "TINY", today=TODAY, choices=choices_of(size)) == "s"
    for wrong_slot, text in ((order, "10421 or 10422"), (order, "not 10421"), (size, "huge")):
        with pytest.raises(WrongValue):
            normalise(wrong_slot, text, today=TODAY, choices=choices_of(wrong_slot))
    with pytest.raises(WrongValue):
        normalise(slot("number", minimum=1, maximum=20), "99", today=datetime.date.today())


@pytest.mark.parametrize("text", ["you idiot", "FUCK YOU", "stupid useless bot", "傻逼"])
def test_only_abuse(text: str) -> None:
    assert only_abuse(text)


@pytest.mark.parametrize(
    "text", ["this damn lamp is broken, I want a refund", "where is my order", "hello"]
)
def test_more_than_abuse(text: str) -> None:
    assert not only_abuse(text)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("7 pm", "19:00"), ("7.30pm", "19:30"), ("19:30", "19:30"), ("quarter to eight pm", "19:45"),
        ("noon", "12:00"), ("at 8 in the evening", "20:00"), ("09:10", "09:10"),
        ("晚上七点半", "19:30"), ("下午3点", "15:00"), ("12 am", "00:00"),
    ],
)  # fmt: skip
def test_a_time_of_day(text: str, time: str) -> None:
    (found,) = find(slot("time"), text, today=TODAY, asked=True)
    assert found.value == time
    assert found.confidence > 0.8


@pytest.mark.parametrize("text", ["at 7", "half past 7", "7:15", "8 o'clock"])
def test_half_a_day_that_is_not_said_is_unsure_unless_the_hours_settle_it(text: str) -> None:
    (open_,) = find(slot("time"), text, today=TODAY, asked=True)
    assert open_.confidence < 0.6
    (settled,) = find(slot("time", minimum=12, maximum=22), text, today=TODAY, asked=True)
    assert settled.confidence > 0.8
    assert str(settled.value) > "18:59"


@pytest.mark.parametrize("text", ["for 4 people", "25:10", "HP-10421", "1.299", "2026-03-05"])
def test_no_time(text: str) -> None:
    assert find(slot("time"), text, today=TODAY, asked=True) == []


def test_a_bare_number_below_a_list_of_times_is_a_line_or_an_hour() -> None:
    choices = choices_of(
        slot("time"), [{"value": v, "title": v} for v in ("08:30", "09:10", "14:00")]
    )

    def value(text: str) -> object:
        return normalise(slot("time"), text, today=TODAY, choices=choices)

    assert (value("2"), value("at 2"), value("9:10")) == (
        "09:10",
        "14:00",
        "09:10",
    )
    with pytest.raises(WrongValue):
        value("10:00")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("020 7946 0018", "+442079460018"), ("+44 (20) 7946-0018", "+442079460018"),
        ("0049 30 901820", "+4930901820"), ("my number is 07700 900123, thanks", "+447700900123"),
    ],
)  # fmt: skip
def test_a_telephone_number(text: str, number: str) -> None:
    (found,) = find(slot("phone", country_code="44"), text, today=TODAY, asked=False)
    assert found.value == number


@pytest.mark.parametrize("text", ["2026-03-05", "12.05.1984", "HP-10421", "10421", "1" * 30])
def test_no_telephone_number(text: str) -> None:
    assert find(slot("phone"), text, today=TODAY, asked=True) == []


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("under £50", 50),
        ("50 pounds", 50),
        ("1,299.50 GBP", 1299.5),
        ("12,50 £", 12.5),
        ("$20", 20),
    ],
)
def test_an_amount_of_money(text: str, amount: float) -> None:
    (found,) = find(slot("money", currency="GBP"), text, today=TODAY, asked=False)
    assert found.value == amount


def test_an_amount_without_currency_or_in_another_one() -> None:
    pounds = slot("money", currency="GBP")
    assert find(pounds, "50", today=TODAY, asked=False) == []
    assert [found.value for found in find(pounds, "50", today=TODAY, asked=True)] == [50]
    assert find(pounds, "50 euros", today=TODAY, asked=True) == []


def test_a_date_is_kept_within_its_range_of_days() -> None:
    coming, past = slot("date", minimum=0), slot("date", maximum=-1)
    text = "12 May 1984 and Friday"
    assert [found.value for found in find(coming, text, today=TODAY, asked=False)] == ["2026-03-06"]
    assert [found.value for found in find(past, text, today=TODAY, asked=False)] == ["1984-05-12"]
