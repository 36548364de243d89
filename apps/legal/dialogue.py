"""The interview over turns: which answer a message gives, and what comes next. Pure functions.

The state is `{"active": bool, "asked": key | None, "answers": {key: answer}, "problem": sentence}`,
an answer `{"value", "turn", "confidence"}`.
"""

import re
from typing import Any

from django.utils.translation import gettext as _

from apps.legal.interview import BY_KEY, LAWS, QUESTIONS, WrongAnswer, check, next_question
from praxis.assistants.contract import State

SURE, LIKELY = 0.97, 0.85
"""Confidence of a direct reply to its question, and of a value found in a free sentence."""

_NDA = re.compile(r"\bnda\b|non[- ]?disclosure|confidentiality agreement|保密协议", re.I)
_WANT = re.compile(
    r"\b(draft|need|want|prepare|write|create|make|generate|set up|start)\b|起草|需要|写|拟|准备",
    re.I,
)
_CANCEL = re.compile(r"^\s*(stop|cancel|never ?mind|abort|forget it|取消|算了)\b", re.I)
_RESTART = re.compile(r"\b(start (over|again)|new (nda|agreement))\b|重新开始", re.I)
_QUESTION = re.compile(
    r"[?？]\s*$|^\s*(what|why|how|when|which|who|can|could|may|does|do|is|are|should|must)\b|什么|为什么|怎么|吗",
    re.I,
)
_CHANGE = re.compile(r"\b(change|correct|replace|update|actually|instead|sorry|no,)|改|更正", re.I)


def empty() -> State:
    return {"active": False, "asked": None, "answers": {}, "problem": ""}


def values_of(state: State) -> dict[str, Any]:
    return {key: answer["value"] for key, answer in state.get("answers", {}).items()}


def is_question(text: str) -> bool:
    return bool(_QUESTION.search(text))


def advance(state: State, text: str, *, turn: int) -> State:
    """The state after the person's message."""
    state = {**empty(), **state, "problem": ""}
    state["answers"] = dict(state["answers"])
    wants_draft = bool(_NDA.search(text) and _WANT.search(text))
    if _RESTART.search(text) and (wants_draft or state["active"] or state["answers"]):
        state = {**empty(), "active": True}
    elif not state["active"]:
        changes = bool(state["answers"]) and bool(_CHANGE.search(text))
        if not wants_draft and not changes:
            return state
        state["active"] = True
    elif _CANCEL.search(text):
        return {**state, "active": False, "asked": None}
    elif is_question(text) and not wants_draft:
        return state  # answered from the documents; the interview's question stays open
    found = _found(state, text)
    if not found and state["asked"]:
        question = BY_KEY[state["asked"]]
        try:
            found = {question.key: (question.read(text), SURE)}
        except WrongAnswer as wrong:
            state["problem"] = str(wrong)
    answers = dict(state["answers"])
    for key, (value, confidence) in found.items():
        answers[key] = {"value": value, "turn": turn, "confidence": confidence}
    try:
        check({key: answer["value"] for key, answer in answers.items()})
        state["answers"] = answers
    except WrongAnswer as wrong:
        state["problem"] = str(wrong)
    open_question = next_question(values_of(state))
    state["asked"] = open_question.key if open_question else None
    return state


def _found(state: State, text: str) -> dict[str, tuple[Any, float]]:
    """Values that the message states: for open questions, and when it corrects, for all."""
    correcting = bool(_CHANGE.search(text))
    found: dict[str, tuple[Any, float]] = {}
    if correcting and (named := _named_change(text)):
        return {named[0]: (named[1], SURE)}
    for question in QUESTIONS:
        if question.key in state["answers"] and not correcting:
            continue
        try:
            value = question.find(text)
        except WrongAnswer:
            continue
        if value is not None:
            found[question.key] = (value, LIKELY)
    # Two periods in one sentence can't be told apart by a bare number: the asked one counts.
    if state["asked"] == "survival_years" and set(found) == {"term_years"}:
        found = {"survival_years": found["term_years"]}
    return found


def _named_change(text: str) -> tuple[str, Any] | None:
    """The question and value in “change the purpose to …”."""
    match = re.search(
        r"\b(?:change|correct|replace|update)\s+(?:the\s+)?(.+?)\s+(?:to|with|by)\s+(.+)$",
        text,
        re.I,
    )
    if not match:
        return None
    words = {
        "first party": "party_a",
        "second party": "party_b",
        "first party's address": "party_a_address",
        "second party's address": "party_b_address",
        "purpose": "purpose",
        "date": "effective_date",
        "effective date": "effective_date",
        "term": "term_years",
        "survival": "survival_years",
        "confidentiality period": "survival_years",
        "law": "law",
        "governing law": "law",
    }
    key = words.get(match[1].lower())
    if key is None:
        return None
    try:
        return key, BY_KEY[key].read(match[2])
    except WrongAnswer:
        return None


def correct(state: State, key: str, value: str) -> State:
    """The state after a field was edited by hand. Raises `ValueError` with a sentence."""
    if key not in BY_KEY:
        raise ValueError(_("There is no field “%(key)s”.") % {"key": key})
    state = {**empty(), **state}
    answers = {name: dict(answer) for name, answer in state["answers"].items()}
    if not value.strip():
        answers.pop(key, None)
    else:
        read = value if key == "law" and value in LAWS else BY_KEY[key].read(value)
        answers[key] = {"value": read, "turn": answers.get(key, {}).get("turn"), "confidence": 1.0}
    check({name: answer["value"] for name, answer in answers.items()})
    asked = next_question({name: answer["value"] for name, answer in answers.items()})
    return {**state, "answers": answers, "asked": asked.key if asked else None}
