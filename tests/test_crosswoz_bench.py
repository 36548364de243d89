"""The bench of Chinese dialogues: its definition, and what it counts."""

import pytest

from ops.benchmarks._travel_desk import place_of, travel_desk
from ops.benchmarks.crosswoz import (
    Exchange,
    Rules,
    Scores,
    english_services,
    exchanges,
    informed,
    plain,
    queried,
)


def exchange(text: str, **offered: list[str]) -> Exchange:
    names: dict[str, list[str]] = {
        "景点": [],
        "餐馆": [],
        "酒店": [],
        "地铁": [],
        "出租": [],
    } | offered
    return Exchange(before="", offered=names, text=text, told={}, query={})


def test_every_slot_of_the_definition_is_one_of_the_data() -> None:
    places = {place_of(slot.name) for slot in travel_desk().slots}
    assert ("酒店", "酒店设施-24小时热水") in places
    assert {domain for domain, _slot in places} == {"景点", "餐馆", "酒店", "地铁", "出租"}


@pytest.mark.parametrize(
    ("said", "as_the_data_writes_it"),
    [
        ("2到3个小时", "2小时-3小时"),
        ("1小时 - 2小时", "1小时-2小时"),
        ("0.5-0.7小时", "0.5小时-0.7小时"),
        ("半小时", "0.5小时"),
        ("两个小时", "2小时"),
        ("砂锅居（西四店）", "砂锅居(西四店)"),
    ],
)
def test_values_are_compared_in_one_form(said: str, as_the_data_writes_it: str) -> None:
    assert plain(said) == plain(as_the_data_writes_it) == as_the_data_writes_it


def test_the_rules_follow_a_dialogue_through_the_domains() -> None:
    dialogue = [
        exchange("你好，请推荐一家评分4.5分以上、有叫醒服务的经济型酒店"),
        exchange("就住青松宾馆吧，谢谢", 酒店=["青松宾馆"]),
        exchange("另外我想找一家人均消费50到100元的餐馆，想吃炸酱面", 酒店=["青松宾馆"]),
        exchange("请帮我叫一辆从青松宾馆到北海公园的出租车", 酒店=["青松宾馆"]),
    ]
    hotel, chosen, meal, ride = Rules().states(dialogue)
    assert hotel == {
        ("酒店", "评分"): {"4.5分以上"},
        ("酒店", "酒店类型"): {"经济型"},
        ("酒店", "酒店设施-叫醒服务"): {"是"},
    }
    assert chosen == {**hotel, ("酒店", "名称"): {"青松宾馆"}}
    assert meal == {
        **chosen,
        ("餐馆", "人均消费"): {"50-100元"},
        ("餐馆", "推荐菜"): {"炸酱面"},
    }
    assert ride == {**meal, ("出租", "出发地"): {"青松宾馆"}, ("出租", "目的地"): {"北海公园"}}


def test_a_turn_is_exact_only_when_all_that_was_said_stands_in_the_state() -> None:
    told = informed([["Inform", "酒店", "评分", "5分"], ["Request", "酒店", "名称", ""]])
    query = queried({"酒店": {"评分": "5分", "酒店设施": "租车", "selectedResults": ["X"]}})
    assert query == {("酒店", "评分"): {"5分"}, ("酒店", "酒店设施-租车"): {"是"}}
    first = Exchange(before="", offered={}, text="", told=told, query=query)
    second = Exchange(before="", offered={}, text="", told={}, query=dict(told))
    scores = Scores()
    wrong = {**told, ("景点", "门票"): frozenset(("免费",))}
    scores.add([first, second], lambda dialogue: iter([dict(told), wrong]))
    assert scores.summary() == {
        "turns": 2,
        "jga": 50.0,
        "turn_jga": 50.0,
        "jga_system_state": 0.0,
        "precision": 66.7,
        "recall": 100.0,
        "f1": 80.0,
    }


def test_what_the_assistant_named_is_offered_from_the_next_message_on() -> None:
    state: dict[str, dict[str, str]] = {}
    dialogue = {
        "messages": [
            {"content": "附近有餐馆吗", "dialog_act": []},
            {
                "content": "有甲和乙",
                "dialog_act": [["Inform", "景点", "周边餐馆", "甲"], ["Inform", "景点", "周边餐馆", "乙"]],
                "sys_state_init": state,
            },
            {"content": "甲", "dialog_act": []},
            {"content": "好", "dialog_act": [], "sys_state_init": state},
        ]
    }  # fmt: skip
    first, second = exchanges(dialogue)
    assert first.offered["餐馆"] == ()
    assert second.offered["餐馆"] == ("乙", "甲")
    assert second.before == "有甲和乙"


def test_the_model_reads_each_domain_in_english() -> None:
    hotel = english_services()["hotel"]
    assert [slot.description for slot in hotel.slots] == [
        "Name of the hotel",
        "Least rating of the hotel",
        "Class of the hotel",
        "Price of a night",
        "Facility that the hotel must offer",
    ]
