from datetime import date

import pytest

from apps.legal import dialogue
from apps.legal.interview import (
    WrongAnswer,
    find_date,
    find_law,
    find_parties,
    find_years,
    read_law,
    read_name,
    read_purpose,
    read_years,
)
from praxis.assistants.contract import State


def talk(*messages: str) -> State:
    state: State = {}
    for turn, message in enumerate(messages, start=1):
        state = dialogue.advance(state, message, turn=turn)
    return state


REPLIES = (
    "Draft an NDA between Acme Robotics Ltd and Blue Harbour GmbH",
    "1 Mill Lane, Leeds, United Kingdom",
    "Hafenstraße 2, Hamburg, Germany",
    "evaluating a joint warehouse robot",
    "1 December 2026",
    "two years",
    "5 years",
    "England and Wales",
)


def test_an_interview_ends_with_every_answer() -> None:
    state = talk(*REPLIES)
    assert state["asked"] is None
    assert dialogue.values_of(state) == {
        "party_a": "Acme Robotics Ltd",
        "party_b": "Blue Harbour GmbH",
        "party_a_address": "1 Mill Lane, Leeds, United Kingdom",
        "party_b_address": "Hafenstraße 2, Hamburg, Germany",
        "purpose": "evaluating a joint warehouse robot",
        "effective_date": "2026-12-01",
        "term_years": 2,
        "survival_years": 5,
        "law": "england",
    }
    assert state["answers"]["party_a"]["turn"] == 1


def test_a_question_in_between_leaves_the_open_question_open() -> None:
    state = talk(REPLIES[0], "What does the survival period mean?")
    assert state["asked"] == "party_a_address"
    assert "party_a_address" not in state["answers"]


def test_a_reply_that_cannot_be_used_is_asked_again_with_the_reason() -> None:
    state = talk(*REPLIES[:5], "forty years")
    assert state["asked"] == "term_years"
    assert "number of years" in state["problem"]
    state = dialogue.advance(state, "40 years", turn=7)
    assert "you said 40" in state["problem"]
    state = dialogue.advance(state, "4 years", turn=8)
    assert state["answers"]["term_years"]["value"] == 4
    assert state["problem"] == ""


def test_a_correction_changes_the_named_answer_only() -> None:
    state = talk(*REPLIES, "Change the term to 3 years")
    values = dialogue.values_of(state)
    assert (values["term_years"], values["survival_years"]) == (3, 5)
    assert state["asked"] is None


def test_several_answers_in_one_message() -> None:
    state = talk(
        "I need an NDA between Acme Ltd and Beta Inc, governed by the laws of New York, "
        "for two years from 2027-01-15"
    )
    values = dialogue.values_of(state)
    assert values["party_a"] == "Acme Ltd"
    assert values["law"] == "new_york"
    assert values["term_years"] == 2
    assert values["effective_date"] == "2027-01-15"


def test_a_question_about_ndas_does_not_start_the_interview() -> None:
    assert not talk("What is an NDA?")["active"]
    assert not talk("hello")["active"]


def test_cancel_and_start_again() -> None:
    assert not talk(REPLIES[0], "cancel")["active"]
    state = talk(*REPLIES, "start over")
    assert state["active"]
    assert state["answers"] == {}


def test_two_parties_of_one_name_are_refused() -> None:
    state = talk("Draft an NDA", "Acme Ltd", "1 Mill Lane, Leeds, UK", "ACME Ltd")
    assert state["asked"] == "party_b"
    assert "same name" in state["problem"]


def test_the_panel_corrects_and_refuses() -> None:
    state = dialogue.correct(talk(*REPLIES), "law", "delaware")
    assert dialogue.values_of(state)["law"] == "delaware"
    assert state["answers"]["law"]["confidence"] == 1.0
    with pytest.raises(ValueError, match="number of years"):
        dialogue.correct(state, "term_years", "long")
    with pytest.raises(ValueError, match="no field"):
        dialogue.correct(state, "price", "5")
    emptied = dialogue.correct(state, "purpose", "")
    assert emptied["asked"] == "purpose"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 years", 2),
        ("a term of three years", 3),
        ("24 months", 2),
        ("18 months", None),
        ("两年", 2),
        ("the year 2026", None),
    ],
)
def test_years(text: str, expected: int | None) -> None:
    assert find_years(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 1st of March 2027", "2027-03-01"),
        ("March 3, 2027", "2027-03-03"),
        ("2027年3月1日", "2027-03-01"),
        ("today", "2026-11-22"),
        ("3/4/2027", None),
        ("31 February 2027", None),
    ],
)
def test_dates(text: str, expected: str | None) -> None:
    assert find_date(text, date(2026, 11, 22)) == expected


def test_laws_are_named_not_guessed() -> None:
    assert find_law("We met in Germany") is None
    assert find_law("under German law") == "germany"
    assert read_law("English law please") == "england"
    assert read_law("适用中国法律") == "china"
    with pytest.raises(WrongAnswer, match="Delaware"):
        read_law("the law of the sea")


def test_parties() -> None:
    assert find_parties("an NDA between Smith & Sons Ltd and Bank of Leeds plc") == (
        "Smith & Sons Ltd",
        "Bank of Leeds plc",
    )
    assert find_parties("a contract for two years and more") is None
    assert read_name("  we are “Acme Ltd”. ") == "Acme Ltd"
    with pytest.raises(WrongAnswer):
        read_name("42")
    with pytest.raises(WrongAnswer):
        read_years("soon")
    with pytest.raises(WrongAnswer):
        read_purpose("business")
