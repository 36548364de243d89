"""The assistant's state: findings, age, sex, warning signs; how a message changes it.

State keys: `findings` {HPO id: {name, status, confidence, turn, source}}, `age_years` and `sex`
{value, turn}, `signs` {sign: turn}, `question` (the HPO id asked for last), `asked` (all of them).
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from apps.medical import red_flags
from apps.medical.differential import Case
from apps.medical.findings import Reading
from apps.medical.ontology import load as load_ontology
from apps.medical.scope import Status

State = dict[str, Any]

_YES = re.compile(
    r"^\W*(?:(?:yes|yeah|yep|yup|correct|true|i do|she does|he does|it does|a bit|sometimes|definitely)\b|是|有|对|嗯|偶尔)",
    re.IGNORECASE,
)
_NO = re.compile(
    r"^\W*(?:(?:no|nope|nah|not really|none|never|i don'?t|she doesn'?t|he doesn'?t)\b|没|不|无|从来没)",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"^\W*(?:maybe|not sure|don'?t know|i don'?t know|unsure|perhaps|不知道|不清楚|不确定)",
    re.IGNORECASE,
)
SHORT_ANSWER = 60
"""Characters; a longer message that begins with "no" is read as a message, not as an answer."""


def updated(state: State, text: str, reading: Reading, turn: int) -> State:
    """The state after a message; the given one is not changed."""
    new = deepcopy(state)
    findings = new.get("findings", {})
    question = new.pop("question", None)
    mentioned = {finding.term for finding in reading.findings}
    if question and question not in mentioned and (status := answer_to_question(text)):
        findings[question] = entry(question, status, 0.9, turn, "answer")
    for finding in reading.findings:
        findings[finding.term] = {
            "name": finding.name,
            "status": finding.status.value,
            "confidence": finding.confidence,
            "turn": turn,
            "source": finding.source,
        }
    if findings:
        new["findings"] = findings
    if reading.age_years is not None:
        new["age_years"] = {"value": reading.age_years, "turn": turn}
    if reading.sex:
        new["sex"] = {"value": reading.sex, "turn": turn}
    signs = red_flags.signs_of(text, reading, age_of(new))
    if signs:
        new["signs"] = dict.fromkeys(sorted(signs), turn) | new.get("signs", {})
    return new


def answer_to_question(text: str) -> Status | None:
    """How a short reply answers the finding that was asked for; None if it doesn't."""
    if len(text.strip()) > SHORT_ANSWER:
        return None
    plain = text.replace("\u2019", "'").strip()
    if _UNSURE.match(plain):
        return Status.UNCERTAIN
    if _NO.match(plain):
        return Status.ABSENT
    return Status.PRESENT if _YES.match(plain) else None


def entry(term: str, status: Status, confidence: float, turn: int, source: str) -> dict[str, Any]:
    return {
        "name": load_ontology()[0].name_of(term),
        "status": status.value,
        "confidence": confidence,
        "turn": turn,
        "source": source,
    }


def age_of(state: Mapping[str, Any]) -> float | None:
    return state["age_years"]["value"] if "age_years" in state else None


def sex_of(state: Mapping[str, Any]) -> str:
    return state["sex"]["value"] if "sex" in state else ""


def terms_with(state: Mapping[str, Any], status: Status) -> list[str]:
    """HPO ids in the order in which they were first said."""
    return [
        term
        for term, finding in state.get("findings", {}).items()
        if finding["status"] == status.value
    ]


def case_of(state: Mapping[str, Any]) -> Case:
    """What the ranking is given: present and absent findings; unclear ones count for nothing."""
    ontology = load_ontology()[0]
    positions = {
        status: tuple(
            position
            for term in terms_with(state, status)
            if (position := ontology.position(term)) is not None
        )
        for status in (Status.PRESENT, Status.ABSENT)
    }
    return Case(
        present=positions[Status.PRESENT],
        absent=positions[Status.ABSENT],
        age_years=age_of(state),
        sex=sex_of(state),
    )
