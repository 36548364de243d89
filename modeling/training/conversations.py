"""Reading one line of a data set: what is a usable conversation, and if not, why not.

The doctor and the trainer share this, so a line that the doctor calls usable is trained on and
no other is.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from modeling.training.chat import Message

ROLES = ("system", "user", "assistant")
MAX_LINE_BYTES = 4 * 1024 * 1024

# Keyed by code, so that a user interface can translate the sentence and fill in the parameters.
MESSAGES = {
    "invalid_utf8": ("Byte {byte} is not valid UTF-8; save the file as UTF-8 and upload it again."),
    "byte_order_mark": (
        "The file starts with a byte order mark; it is ignored here, but save it as UTF-8 "
        "without BOM."
    ),
    "line_too_large": (
        "The line is larger than {allowed_bytes} bytes; put one conversation on each line."
    ),
    "empty_line": "The line is empty; put one JSON object on each line.",
    "invalid_json": "Not valid JSON: {detail}. Write one complete JSON object on the line.",
    "not_an_object": (
        'Got a JSON {received}; each line must be an object such as {{"messages": [...]}}.'
    ),
    "missing_messages": (
        'The object has {received}; it needs "messages", a list of one or more messages.'
    ),
    "invalid_message": ('Got {received}; a message is an object with "role" and "content".'),
    "unknown_role": "The role is {received}; allowed are system, user and assistant.",
    "invalid_content": "The content is {received}; it must be a text.",
    "empty_content": "The content is empty; write the text or remove the message.",
    "invalid_weight": (
        "The weight is {received}; allowed are 0 (read, not learnt) and 1, on assistant messages."
    ),
    "no_assistant_turn": (
        "No assistant message to learn from; add the answer that the assistant should give."
    ),
    "nothing_to_learn": (
        "Every assistant message has weight 0; give at least one of them weight 1."
    ),
    "system_not_first": "The system message is number {position}; it must be the first.",
    "last_not_assistant": (
        "The last message is from {received}; end with the assistant's answer or remove it."
    ),
    "repeated_role": (
        "Two {received} messages follow each other; join them, or add the turn between them."
    ),
    "assistant_first": ("The assistant speaks before any user; start with what the user says."),
    "nul_character": "The text holds a NUL character; remove it.",
    "control_character": (
        "The text holds the control character {received}; allowed are line break and tab."
    ),
    "lone_surrogate": (
        "The text holds {received}, half of a character; export the text again as UTF-8."
    ),
    "hidden_text": (
        "The text holds invisible characters that can carry hidden instructions ({received}); "
        "remove them."
    ),
    "invisible_character": (
        "The text holds the invisible character {received}; remove it unless it is meant."
    ),
    "control_token": (
        "The text holds {received}, which the model reads as a control mark; remove it."
    ),
    "template_rejects": "The model's chat template rejects the conversation: {detail}",
    "too_long": (
        "The conversation has {received} tokens; allowed are {allowed}. Split or shorten it."
    ),
    "exact_duplicate": (
        "The same conversation is on line {other_line}; it would count twice, remove one."
    ),
    "near_duplicate": (
        "Nearly the same conversation is on line {other_line} ({percent} % alike); keep the "
        "better one."
    ),
    "evaluation_leak": (
        "The text also occurs in the evaluation data ({received}); training on it would make the "
        "evaluation worthless, remove it."
    ),
    "personal_email": "Possibly an e-mail address ({received}); replace it by a placeholder.",
    "personal_phone": "Possibly a telephone number ({received}); replace it by a placeholder.",
    "personal_card": "Possibly a payment card number ({received}); replace it by a placeholder.",
    "personal_iban": "Possibly a bank account number ({received}); replace it by a placeholder.",
}

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding. `line` counts from 1; `column` (characters, from 1) where it is known."""

    line: int
    severity: Severity
    code: str
    where: str = ""
    column: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        return MESSAGES[self.code].format(**self.parameters)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    line: int
    messages: list[Message]
    weights: list[int]
    """1 where the message is learnt from; 0 for context and for messages of other roles."""


class Line(NamedTuple):
    number: int
    raw: bytes
    complete: bool
    """False where the line was cut at MAX_LINE_BYTES."""


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file with their numbers, without the line end, in bounded memory."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            complete = raw.endswith(b"\n") or len(raw) <= MAX_LINE_BYTES
            rest = raw
            while not complete and rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
            yield Line(number, raw.rstrip(b"\r\n"), complete)


def read_conversations(path: Path) -> Iterator[Conversation]:
    """The conversations of all lines without an error; the others are passed over."""
    for line in read_lines(path):
        conversation, _ = parse(line)
        if conversation is not None:
            yield conversation


def _name(value: object) -> str:
    """What a JSON value is, in words, without repeating its content."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"[:60]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    assert isinstance(value, dict)
    return "an object with " + (", ".join(repr(key)[:40] for key in list(value)[:5]) or "no fields")


_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Unicode tags and long runs of variation selectors are invisible and carry text (OWASP LLM01).
_HIDDEN = re.compile(r"[\U000e0000-\U000e007f\U000e0100-\U000e01ef]|[\ufe00-\ufe0f]{2,}")
_INVISIBLE = re.compile(r"[\u200b\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069\u00ad]")


def _code_points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text[:4])


def parse(line: Line) -> tuple[Conversation | None, list[Problem]]:
    """Check one line. The conversation is None when there is an error among the problems."""
    problems: list[Problem] = []

    def report(
        code: str,
        *,
        severity: Severity = "error",
        where: str = "",
        column: int | None = None,
        **parameters: Any,
    ) -> None:
        problems.append(
            Problem(
                line=line.number,
                severity=severity,
                code=code,
                where=where,
                column=column,
                parameters=parameters,
            )
        )

    raw = line.raw
    if not line.complete:
        report("line_too_large", allowed_bytes=MAX_LINE_BYTES)
        return None, problems
    if raw.startswith(codecs.BOM_UTF8):
        report("byte_order_mark", severity="warning", column=1)
        raw = raw[len(codecs.BOM_UTF8) :]
    if not raw.strip():
        report("empty_line")
        return None, problems
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        report("invalid_utf8", column=column, byte=f"0x{raw[error.start]:02X}")
        return None, problems
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        report("invalid_json", column=error.pos + 1, detail=error.msg)
        return None, problems
    except RecursionError:
        report("invalid_json", detail="nested too deeply")
        return None, problems
    except ValueError as error:
        report("invalid_json", detail=str(error).split(":")[0])
        return None, problems
    if not isinstance(value, dict):
        report("not_an_object", received=_name(value))
        return None, problems
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        received = _name(value) if "messages" not in value else f"messages = {_name(messages)}"
        report("missing_messages", received=received)
        return None, problems

    weights = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            report("invalid_message", where=where, received=_name(message))
            continue
        role = message.get("role")
        if role not in ROLES:
            report("unknown_role", where=f"{where}.role", received=_name(role))
        content = message.get("content")
        if not isinstance(content, str):
            report("invalid_content", where=f"{where}.content", received=_name(content))
        elif not content.strip():
            report("empty_content", where=f"{where}.content")
        else:
            _check_characters(content, f"{where}.content", report)
        weight = message.get("weight", 1)
        allowed = type(weight) is int and weight in (0, 1)
        if not allowed or ("weight" in message and role != "assistant"):
            report("invalid_weight", where=f"{where}.weight", received=_name(weight))
        weights.append(weight if role == "assistant" else 0)
    if any(problem.severity == "error" for problem in problems):
        return None, problems

    _check_order([message["role"] for message in messages], report)
    if "assistant" in (message["role"] for message in messages) and not any(weights):
        report("nothing_to_learn")
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    plain = [Message(role=message["role"], content=message["content"]) for message in messages]
    return Conversation(line=line.number, messages=plain, weights=weights), problems


def _check_characters(content: str, where: str, report: Any) -> None:
    if "\0" in content:
        report("nul_character", where=where)
    if found := _SURROGATE.search(content):
        report("lone_surrogate", where=where, received=_code_points(found[0]))
    if found := _HIDDEN.search(content):
        report("hidden_text", where=where, received=_code_points(found[0]))
    if found := _CONTROL.search(content):
        report(
            "control_character",
            severity="warning",
            where=where,
            received=_code_points(found[0]),
        )
    if found := _INVISIBLE.search(content):
        report(
            "invisible_character",
            severity="warning",
            where=where,
            received=_code_points(found[0]),
        )


def _check_order(roles: list[str], report: Any) -> None:
    if "assistant" not in roles:
        report("no_assistant_turn")
        return
    for index, role in enumerate(roles):
        if role == "system" and index > 0:
            report("system_not_first", where=f"messages[{index}]", position=index + 1)
        if index > 0 and role == roles[index - 1] != "system":
            report("repeated_role", severity="warning", where=f"messages[{index}]", received=role)
    if roles[-1] != "assistant":
        report("last_not_assistant", where=f"messages[{len(roles) - 1}]", received=roles[-1])
    if "user" not in roles or roles.index("assistant") < roles.index("user"):
        report("assistant_first", severity="warning", where="messages[0]")
