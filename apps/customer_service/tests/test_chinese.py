"""A Chinese customer of the demo businesses: values as they are said, and a table from start to end."""

from collections.abc import Iterator
from typing import Any

import pytest

from apps.customer_service.demo_services import DEMO_SERVICES
from apps.customer_service.schema import Slot, Value, parse_service
from apps.customer_service.simulation import TODAY, RunningDemo, Talk, running_demo
from apps.customer_service.tracker import Ranking, empty_state, read
from apps.customer_service.values import choices_of, denied, find

SERVICES = {definition["name"]: parse_service(definition) for definition in DEMO_SERVICES}
RESTAURANT = SERVICES["restaurant"]
DAY, TIME, GUESTS, PHONE = map(RESTAURANT.slot, ("day", "time", "guests", "phone"))


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDemo]:
    with running_demo() as demo:
        yield demo


@pytest.fixture
def talk(running: RunningDemo) -> Talk:
    for business in running.businesses:
        business.reset()
    offered = {name: (service, running.endpoint(name)) for name, service in SERVICES.items()}
    return Talk(running.endpoint("shop"), SERVICES["shop"], offered=offered)


@pytest.mark.parametrize(
    ("slot", "text", "value"),
    [
        (DAY, "周六", "2026-03-07"),
        (DAY, "这周日晚上", "2026-03-08"),
        (DAY, "下周二晚上七点", "2026-03-10"),
        (DAY, "星期三", "2026-03-04"),
        (DAY, "改到3月20日晚上", "2026-03-20"),
        (DAY, "三月八号中午", "2026-03-08"),
        (DAY, "十一月二十三日", "2026-11-23"),
        (DAY, "订二十号的", "2026-03-20"),
        (DAY, "明晚", "2026-03-05"),
        (DAY, "我的号码是3号码", None),
        (TIME, "晚上19:30吧", "19:30"),
        (TIME, "下午六点一刻", "18:15"),
        (TIME, "中午十二点半", "12:30"),
        (TIME, "下午三点", "15:00"),
        (TIME, "晚上七点二十五分", "19:25"),
        (TIME, "晚上七点十个人", "19:00"),
        (TIME, "晚上八点零五", "20:05"),
        (GUESTS, "十二个人", 12),
        (GUESTS, "二十位", 20),
        (GUESTS, "一共3个大人", 3),
        (GUESTS, "改成六个人", 6),
        (GUESTS, "周一两个人", 2),
        (GUESTS, "一百二十个人", None),
        (GUESTS, "五", 5),
        (GUESTS, "周六", None),
        (GUESTS, "第二个", None),
        (GUESTS, "张三", None),
        (GUESTS, "晚上七点", None),
        (PHONE, "电话07700 900123", "+447700900123"),
    ],
)  # fmt: skip
def test_values_are_read_as_they_are_said(slot: Slot, text: str, value: Any) -> None:
    found = find(slot, text, today=TODAY, asked=True)
    assert [one.value for one in found] == ([] if value is None else [value])


def test_a_table_is_booked_in_one_sentence(talk: Talk, running: RunningDemo) -> None:
    talk.say("请帮我订一张桌子，三月八号中午十二点半，五位，姓名是李娜，电话07700 900123")
    talk.say("好的")
    ((_method, _path, sent),) = running.restaurant.calls
    assert sent == {
        "guests": 5, "day": "2026-03-08", "time": "12:30", "name": "李娜",
        "phone": "+447700900123",
    }  # fmt: skip


def test_a_table_is_booked_piece_by_piece_and_put_right(talk: Talk, running: RunningDemo) -> None:
    for text in ("我想订位", "十二个人", "周六", "晚上七点半"):
        talk.say(text)
    talk.say("8个人吧")
    assert talk.state["asked"] == "guest_name"
    talk.say("王伟")
    talk.say("020 7946 0999")
    talk.say("不对，改成六个人")
    talk.say("是的")
    ((_method, _path, sent),) = running.restaurant.calls
    assert (sent["guests"], sent["day"], sent["time"]) == (6, "2026-03-07", "19:30")


def test_days_and_counts_do_not_decide_what_is_wanted(talk: Talk) -> None:
    talk.say("后天下午六点还有位子吗？")
    assert talk.state["intent"] == "free_tables"
    talk.say("3位")
    assert talk.sent == [("free_tables", {"day": "2026-03-06", "guests": 3})]


def test_a_booking_is_moved(talk: Talk, running: RunningDemo) -> None:
    talk.say("把预订SB-2041改到下周二晚上七点")
    talk.say("020 7946 0101")
    talk.say("是")
    ((method, path, _sent),) = running.restaurant.calls
    assert (method, path) == ("PATCH", "/bookings/SB-2041")


BUDGET = Slot(
    name="budget", title="预算", description="", kind="money", question="?", currency="CNY"
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("三百元以内", [300]),
        ("两百五十块钱", [250]),
        ("一百五块", [150]),
        ("一千零五块", [1005]),
        ("一万二千元", [12000]),
        ("一千元到两千元", [1000, 2000]),
        ("我们一块去", []),
        ("买一块手表", []),
        ("几十元", []),
    ],
)
def test_prices_are_read_in_chinese_numerals(text: str, values: list[int]) -> None:
    found = find(BUDGET, text, today=TODAY, asked=False)
    assert [one.value for one in found] == values


RATING = Slot(
    name="rating",
    title="评分",
    description="",
    kind="categorical",
    question="?",
    values=tuple(Value(name=name, title=name) for name in ("4.5分以上", "5分")),
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("评分4.5分以上的", ["4.5分以上"]),
        ("评分是4.5分", []),
        ("评分5分的", ["5分"]),
        ("15分", []),
        ("第一次来", []),
        ("第一个", ["4.5分以上"]),
    ],
)
def test_a_listed_value_is_no_part_of_a_longer_number(text: str, values: list[str]) -> None:
    found = find(RATING, text, today=TODAY, choices=choices_of(RATING), asked=False)
    assert [one.value for one in found] == values


def test_a_value_that_is_not_wanted_is_ruled_out() -> None:
    assert denied("我不想住经济型", 4)
    assert denied("除了周六", 2)
    assert not denied("我想住经济型", 3)


def test_the_slot_whose_title_stands_in_the_message_gets_the_number() -> None:
    """Two prices might both be 300元; the one that is named is meant, though it comes second."""
    slots = [
        {"name": name, "title": title, "description": title, "kind": "money", "question": "?"}
        for name, title in (("ticket", "门票"), ("meal", "人均消费"))
    ]
    service = parse_service(
        {
            "name": "desk",
            "title": "旅行",
            "description": "旅行",
            "slots": slots,
            "intents": [
                {
                    "name": "ask",
                    "title": "问",
                    "description": "问",
                    "optional": ["ticket", "meal"],
                }
            ],
        }
    )
    reading = read(
        service,
        {**empty_state(), "intent": "ask"},
        "人均消费300元",
        today=TODAY,
        recognise=lambda text, evidence: Ranking(),
    )
    assert [(one.slot, one.value) for one in reading.found] == [("meal", 300)]
