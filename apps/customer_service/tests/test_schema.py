import copy
import dataclasses
import json
import time

import pytest
from django.utils.translation import override

from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.json_lines import lines_of, parse_json, place_problems
from apps.customer_service.schema import DefinitionError, parse_service


def changed(**changes: object) -> dict[str, object]:
    """The demo's definition with values put at dotted paths."""
    data = copy.deepcopy(SHOP)
    for path, value in changes.items():
        target: object = data
        *parents, last = path.split("__")
        for part in parents:
            target = target[int(part) if part.isdigit() else part]  # type: ignore[index]
        target[last] = value  # type: ignore[index]
    return data


def problems_of(data: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        parse_service(data)
    return [f"{problem.place} {problem.message}" for problem in caught.value.problems]


def test_a_definition_survives_the_way_through_json() -> None:
    service = parse_service(SHOP)
    assert parse_service(json.loads(json.dumps(dataclasses.asdict(service)))) == service


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "definition must be an object, got a list"),
        (changed(name="My Shop"), "name must be lower-case letters"),
        (changed(color="red"), "color is not known here"),
        (changed(intents=[]), "intents is missing; a service needs at least one intent"),
        (changed(slots__0__kind="colour"), "slots[0].kind must be one of text, categorical"),
        (changed(slots__0__pattern="("), "slots[0].pattern is not a regular expression"),
        (changed(slots__0__pattern="(a+)+"), "slots[0].pattern must not repeat a group"),
        (changed(slots__0__pattern="(?:a|b*){2,}"), "slots[0].pattern must not repeat a group"),
        (changed(slots__0__pattern="a*"), "slots[0].pattern must not match an empty text"),
        (changed(slots__0__form="{2}"), "slots[0].form names group 2; the pattern has 1"),
        (changed(slots__0__keep="yes"), "slots[0].keep must be true or false, got a text"),
        (changed(slots__4__values=[]), "slots[4].values is missing; a categorical slot needs"),
        (changed(slots__2__values_from__intent="x"), "names the unknown intent 'x'"),
        (changed(slots__2__values_from__intent="return_item"), "whose action is a GET"),
        (changed(slots__1__name="order_number"), "slots[1].name is used twice"),
        (changed(intents__0__required=["nothing"]), "intents[0].required[0] names the unknown slot"),
        (changed(intents__1__confirm=False), "intents[1].confirm must be true: POST changes"),
        (changed(intents__1__summary="Return {colour}"), "intents[1].summary names 'colour'"),
        (changed(intents__0__action__path="//evil.example"), "must start with / and contain no //"),
        (changed(intents__0__action__path="/a/../b"), "must start with / and contain no //"),
        (changed(intents__0__action__path="/o/{item}"), "action.path names 'item', which is no slot"),
        (changed(intents__0__action__method="FETCH"), "method must be one of GET, POST"),
        (changed(intents__0__action__replies={}), 'lacks "ok"'),
        (changed(intents__0__action__card="../admin"), "card must be one of details, order"),
        (changed(intents__0__action__sent_as={"x": "flag"}), "sent_as.x is no field of the body"),
    ],
)  # fmt: skip
def test_it_names_what_is_wrong(data: object, problem: str) -> None:
    assert any(problem in found for found in problems_of(data)), problems_of(data)


def test_it_reports_all_problems_at_once() -> None:
    data = changed(name="", slots__0__kind="colour", intents__1__confirm=False)
    assert len(problems_of(data)) >= 3


def test_patterns_that_are_allowed_answer_at_once_on_any_text() -> None:
    from apps.customer_service.schema import Slot
    from apps.customer_service.values import find

    service = parse_service(SHOP)
    slots: list[Slot] = [slot for slot in service.slots if slot.kind in ("pattern", "email")]
    started = time.monotonic()
    for slot in slots:
        for text in ("1" * 20_000, "a@" * 10_000, "a." * 10_000, "HP-" * 6_000):
            find(slot, text, today=None, asked=True)  # type: ignore[arg-type]
    assert time.monotonic() - started < 3


def test_a_problem_is_shown_at_its_line() -> None:
    text = json.dumps(changed(slots__0__kind="colour"), indent=2)
    data, wrong = parse_json(text)
    assert wrong == []
    with pytest.raises(DefinitionError) as caught:
        parse_service(data)
    line, message = place_problems(text, caught.value.problems)[0]
    assert '"kind": "colour"' in text.splitlines()[line - 1]
    assert "must be one of" in message


def test_a_missing_field_is_shown_at_the_object_that_lacks_it() -> None:
    text = '{\n  "name": "a",\n  "intents": [\n    {"name": "b"}\n  ]\n}'
    with pytest.raises(DefinitionError) as caught:
        parse_service(json.loads(text))
    lines = {
        message.split()[0]: line for line, message in place_problems(text, caught.value.problems)
    }
    assert lines["intents[0].title"] == 4
    assert lines["title"] == 1


def test_lines_are_found_in_any_layout() -> None:
    text = '{"a": [1,\n{"b": "x, \\"}]"},\n[]], "c":\ntrue}'
    assert lines_of(text) == {
        (): 1,
        ("a",): 1,
        ("a", 0): 1,
        ("a", 1): 2,
        ("a", 1, "b"): 2,
        ("a", 2): 3,
        ("c",): 4,
    }


def test_text_that_is_no_json_is_placed_too() -> None:
    assert parse_json('{\n "a": 1,\n}')[1][0][0] == 3
    assert parse_json("[" * 100_000)[1] == [(1, "is nested too deeply")]


def test_a_problem_is_told_in_the_language_of_who_reads_it() -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_service(changed(slots__0__keep="yes", intents__0__required=["nothing"]))
    with override("zh-hans"):
        told = str(caught.value)
    assert "slots[0].keep: 必须是 true 或 false，收到的是文本" in told
    assert "intents[0].required[0]: 提到未知的槽位 'nothing'" in told
    assert "must be true or false, got a text" in str(caught.value)
