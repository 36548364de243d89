"""How a service is written for the model, and what is believed of its answer."""

import pytest

from modeling.state_tracking.format import (
    DONT_CARE,
    Change,
    IntentText,
    ServiceText,
    SlotText,
    Turn,
    apply,
    grammar,
    letters,
    read_change,
    system_message,
    write_change,
)
from modeling.state_tracking.tracker import Tracker

TABLES = ServiceText(
    description="Reserve tables",
    slots=(
        SlotText(name="city", description="City of the restaurant"),
        SlotText(name="price", description="Price range", values=("cheap", "dear")),
        SlotText(name="outside", description="Outside or not", values=("True", "False")),
    ),
    intents=(
        IntentText(name="find", description="Find a restaurant"),
        IntentText(name="book", description="Reserve a table"),
    ),
)


def test_the_schema_is_written_without_names() -> None:
    assert system_message(TABLES) == (
        "Track the state. Reserve tables\n"
        "a: City of the restaurant\n"
        "b: Price range [cheap | dear]\n"
        "c: Outside or not [yes | no]\n"
        "A: Find a restaurant\n"
        "B: Reserve a table"
    )


@pytest.mark.parametrize(
    "change",
    [
        Change(),
        Change(intent="book", values={"city": "San Jose", "outside": "True"}),
        Change(intent="find", values={"price": DONT_CARE, "city": None}, requested=("outside",)),
    ],
)
def test_what_is_written_is_read_again(change: Change) -> None:
    assert read_change(TABLES, write_change(TABLES, change)) == change


def test_lines_that_name_nothing_are_passed_over() -> None:
    change = read_change(TABLES, "Z\nq=5\na=Bern\nnonsense\n?x\n?b\n?b")
    assert change == Change(intent="", values={"city": "Bern"}, requested=("price",))


def test_a_value_of_none_takes_the_slot_away() -> None:
    state = {"city": "Bern", "price": "cheap"}
    assert apply(state, Change(values={"city": None, "price": "dear"})) == {"price": "dear"}


def test_keys_go_on_with_two_letters_and_end() -> None:
    assert letters(28, "abcdefghijklmnopqrstuvwxyz")[25:] == ["z", "aa", "ab"]
    with pytest.raises(ValueError, match="at most 6 fit"):
        letters(7, "ab")


def test_the_grammar_lists_slots_and_closed_values() -> None:
    rules = grammar(TABLES)
    assert 'value-b ::= "cheap" | "dear" | "any" | ""' in rules
    assert '"b=" value-b' in rules
    assert '"a=" free' in rules


def test_only_what_was_said_or_is_listed_is_believed() -> None:
    tracker = Tracker(service=TABLES)
    messages = tracker.ask([Turn(agent="", user="Somewhere in san jose, please.")])
    assert messages[-1]["content"] == "User: Somewhere in san jose, please."
    change = tracker.accept("A\na=San Jose\nb=luxurious")
    assert change == Change(intent="find", values={"city": "san jose"})
    tracker.ask([Turn(agent="Which price?", user="any will do")])
    tracker.accept("A\nb=any\na=Paris")
    assert tracker.state == {"city": "san jose", "price": DONT_CARE}


def test_the_conversation_only_grows_so_that_a_prefix_cache_holds() -> None:
    tracker = Tracker(service=TABLES)
    before = tracker.ask([Turn(agent="", user="Book a table in Bern.")])
    tracker.accept("B\na=Bern")
    after = tracker.ask([Turn(agent="Inside or outside?", user="Outside.")])
    assert after[: len(before)] == before
    assert after[len(before)] == {"role": "assistant", "content": "B\na=Bern"}


TRIPS = ServiceText(
    description="Book flights",
    slots=(
        SlotText(name="day", description="Date of departure"),
        SlotText(name="hour", description="Time of departure"),
        SlotText(name="airline", description="Airline to fly with"),
    ),
    intents=(IntentText(name="book", description="Book a flight"),),
)


def read(*lines: str, said: str) -> dict[str, str]:
    tracker = Tracker(service=TRIPS)
    tracker.ask([Turn(agent="", user=said)])
    tracker.accept("\n".join(("A", *lines)))
    return tracker.state


def test_a_misspelt_name_is_written_as_it_was_said() -> None:
    assert read("c=Laure de Clermon-tonre Air", said="With Laure de Clermont-Tonnerre Air.") == {
        "airline": "Laure de Clermont-Tonnerre Air"
    }
    assert read("c=British Airways", said="With Brussels Airlines.") == {}


def test_a_part_of_a_word_is_not_a_value() -> None:
    assert read("c=a", said="Fly with Delta") == {}


def test_a_day_and_a_time_go_where_they_belong() -> None:
    assert read("b=11th of March", said="on the 11th of March") == {"day": "11th of March"}
    assert read("a=9:45 am", "b=tomorrow", said="tomorrow at 9:45 am") == {
        "day": "tomorrow",
        "hour": "9:45 am",
    }
    assert read("a=March 3rd", "b=the 4th", said="March 3rd, no, the 4th") == {"day": "March 3rd"}


def test_several_values_are_not_taken_back_at_once() -> None:
    tracker = Tracker(service=TRIPS, state={"day": "tomorrow", "hour": "noon"})
    tracker.ask([Turn(agent="", user="Leave the time open.")])
    tracker.accept("A\nb=")
    assert tracker.state == {"day": "tomorrow"}
    tracker = Tracker(service=TRIPS, state={"day": "tomorrow", "hour": "noon"})
    tracker.ask([Turn(agent="", user="With Delta.")])
    tracker.accept("A\nc=Delta\na=\nb=")
    assert tracker.state == {"day": "tomorrow", "hour": "noon", "airline": "Delta"}
