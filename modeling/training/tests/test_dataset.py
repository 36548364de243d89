from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from modeling.training.chat import ChatTokenizer
from modeling.training.conversations import MESSAGES, read_conversations
from modeling.training.dataset import Report, examine, write_usable
from modeling.training.tests.conftest import conversation, sentence, write_jsonl

OK = conversation(0)


def said(*turns: tuple[str, str], **extra: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **extra}


def examined(tmp_path: Path, *lines: bytes | dict[str, Any], **options: Any) -> Report:
    path = tmp_path / "set.jsonl"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
        + b"\n"
    )
    return examine(path, max_tokens=options.pop("max_tokens", 1000), **options)


BAD_LINES: list[tuple[str, bytes | dict[str, Any]]] = [
    ("invalid_utf8", b'{"messages": "\xff\xfe"}'),
    ("empty_line", b"   "),
    ("invalid_json", b'{"messages": [}'),
    ("invalid_json", b"[" * 100_000),
    ("not_an_object", b"[1, 2]"),
    ("missing_messages", b'{"prompt": "a", "completion": "b"}'),
    ("missing_messages", b'{"messages": []}'),
    ("missing_messages", b'{"messages": "hello"}'),
    ("invalid_message", b'{"messages": ["hello"]}'),
    ("unknown_role", said(("human", "hi"), ("assistant", "hello"))),
    ("invalid_content", b'{"messages": [{"role": "assistant", "content": [{"type": "text"}]}]}'),
    ("invalid_content", b'{"messages": [{"role": "assistant"}]}'),
    ("empty_content", said(("user", "hi"), ("assistant", "  \n"))),
    ("invalid_weight", b'{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}'),
    ("invalid_weight", b'{"messages": [{"role": "assistant", "content": "a", "weight": true}]}'),
    ("no_assistant_turn", said(("user", "hi"))),
    ("nothing_to_learn", b'{"messages": [{"role": "assistant", "content": "a", "weight": 0}]}'),
    ("system_not_first", said(("user", "a"), ("system", "b"), ("assistant", "c"))),
    ("last_not_assistant", said(("user", "a"), ("assistant", "b"), ("user", "c"))),
    ("nul_character", said(("user", "a\0b"), ("assistant", "c"))),
    ("lone_surrogate", b'{"messages": [{"role": "assistant", "content": "a \\ud83d b"}]}'),
    ("hidden_text", said(("user", "a\U000e0041\U000e0042"), ("assistant", "c"))),
    ("control_token", said(("user", "a <|im_end|> b"), ("assistant", "c"))),
]


@pytest.mark.parametrize(("code", "line"), BAD_LINES)
def test_it_names_a_bad_line_and_keeps_the_lines_around_it(
    tmp_path: Path, code: str, line: bytes | dict[str, Any]
) -> None:
    before = [conversation(seed, words=9) for seed in range(16)]
    after = [conversation(seed, words=9) for seed in range(100, 103)]
    report = examined(tmp_path, *before, line, *after)
    errors = [problem for problem in report.problems if problem.severity == "error"]
    assert [(problem.line, problem.code) for problem in errors] == [(17, code)]
    assert (report.lines, report.usable_lines) == (20, 19)
    assert list(report.unusable) == [17]
    assert errors[0].message


WARNED_LINES: list[tuple[str, bytes | dict[str, Any]]] = [
    ("repeated_role", said(("user", "a"), ("user", "b"), ("assistant", "c"))),
    ("assistant_first", said(("assistant", "a"), ("user", "b"), ("assistant", "c"))),
    ("control_character", said(("user", "a\x07b"), ("assistant", "c"))),
    ("invisible_character", said(("user", "a\u200bb"), ("assistant", "c"))),
    ("personal_email", said(("user", "I am jo.doe@shop.org"), ("assistant", "c"))),
    ("personal_phone", said(("user", "call +44 20 7946 0958"), ("assistant", "c"))),
    ("personal_phone", said(("user", "call (212) 555-0143 today"), ("assistant", "c"))),
    ("personal_card", said(("user", "pay with 4111 1111 1111 1111"), ("assistant", "c"))),
    ("personal_iban", said(("user", "to GB82 WEST 1234 5698 7654 32"), ("assistant", "c"))),
    ("byte_order_mark", b"\xef\xbb\xbf" + json.dumps(OK).encode()),
]


@pytest.mark.parametrize(("code", "line"), WARNED_LINES)
def test_a_warning_leaves_the_line_usable(
    tmp_path: Path, code: str, line: bytes | dict[str, Any]
) -> None:
    report = examined(tmp_path, line)
    assert [(problem.code, problem.severity) for problem in report.problems] == [(code, "warning")]
    assert report.usable_lines == 1


@pytest.mark.parametrize(
    "text",
    [
        "order 12345678901234 of 2024-11-05",
        "card 4111 1111 1111 1112",
        "GB83 WEST 1234 5698 7654 32",
        "write to help@example.com",
        "3.141592653589793 and 1,234,567.89",
        "👩‍👩‍👧 family and 🏳️‍🌈",
        "first line\n\tindented",
    ],
)
def test_it_leaves_harmless_text_alone(tmp_path: Path, text: str) -> None:
    assert examined(tmp_path, said(("user", text), ("assistant", "c"))).problems == []


def test_a_message_says_what_was_received_what_is_allowed_and_where(tmp_path: Path) -> None:
    report = examined(tmp_path, said(("human", "hi"), ("assistant", "hello")))
    assert report.problems[0].where == "messages[0].role"
    assert report.problems[0].message == (
        "The role is the text 'human'; allowed are system, user and assistant."
    )


def test_it_gives_the_column_of_broken_json_and_of_a_broken_byte(tmp_path: Path) -> None:
    report = examined(tmp_path, b'{"messages": [}', '{"é": "'.encode() + b'\xff"}')
    assert [problem.column for problem in report.problems] == [15, 8]


def test_every_code_has_its_own_message(tmp_path: Path) -> None:
    tested = {code for code, _ in BAD_LINES + WARNED_LINES} | {
        "line_too_large",
        "too_long",
        "template_rejects",
        "exact_duplicate",
        "near_duplicate",
        "evaluation_leak",
    }
    assert tested == set(MESSAGES)


def test_a_line_without_end_is_cut_and_the_next_one_is_read(tmp_path: Path) -> None:
    report = examined(tmp_path, b'{"x": "' + b"y" * 5_000_000 + b'"}', OK)
    assert [(problem.line, problem.code) for problem in report.problems] == [(1, "line_too_large")]
    assert report.usable_lines == 1


def test_it_counts_tokens_as_training_does(tmp_path: Path, model_dir: Path) -> None:
    chat = ChatTokenizer.load(model_dir)
    short, long = conversation(1), conversation(2, turns=6, words=30)
    expected = chat.count([short["messages"], long["messages"]])
    report = examined(tmp_path, short, long, tokenizer=chat, max_tokens=expected[0])
    assert report.tokens == expected[0] == report.longest_tokens
    assert sum(count for _, count in report.histogram) == 1
    assert [(problem.line, problem.code) for problem in report.problems] == [(2, "too_long")]
    assert f"has {expected[1]} tokens" in report.problems[0].message


def test_a_template_may_refuse_one_conversation(tmp_path: Path, model_dir: Path) -> None:
    strict = tmp_path / "strict"
    strict.mkdir()
    (strict / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    (strict / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    report = examined(
        tmp_path,
        OK,
        said(("system", "s"), ("user", "u"), ("assistant", "a")),
        tokenizer=ChatTokenizer.load(strict),
    )
    assert [(p.line, p.code) for p in report.problems] == [(2, "template_rejects")]
    assert "no system turn" in report.problems[0].message


def test_it_finds_equal_and_nearly_equal_conversations(tmp_path: Path) -> None:
    others = [conversation(seed, words=40) for seed in range(2, 60)]
    original = conversation(1, words=40)
    nearly = json.loads(json.dumps(original))
    nearly["messages"][1]["content"] += " bye"
    report = examined(tmp_path, original, *others, original, nearly)
    assert [(p.line, p.code, p.parameters["other_line"]) for p in report.problems] == [
        (60, "exact_duplicate", 1),
        (61, "near_duplicate", 1),
    ]


def test_a_shared_system_message_makes_no_duplicates(tmp_path: Path) -> None:
    import random

    instructions = sentence(random.Random(5), 200)
    lines = []
    for seed in range(30):
        line = conversation(seed, words=10)
        line["messages"].insert(0, {"role": "system", "content": instructions})
        lines.append(line)
    assert examined(tmp_path, *lines).problems == []


def test_text_of_the_evaluation_data_makes_a_line_unusable(tmp_path: Path) -> None:
    import random

    held_out = sentence(random.Random(7), 40)
    piece = " ".join(held_out.split()[10:24]).upper()
    report = examined(
        tmp_path,
        OK,
        said(("user", f"Please: {piece}!"), ("assistant", "c")),
        said(("user", "a"), ("assistant", "Where is my blue parcel today?")),
        evaluation_texts=[held_out, "where is my blue parcel today"],
    )
    assert [(p.line, p.code, p.where) for p in report.problems] == [
        (2, "evaluation_leak", "messages[0].content"),
        (3, "evaluation_leak", "messages[1].content"),
    ]


def test_usable_lines_are_exactly_those_that_are_trained_on(tmp_path: Path) -> None:
    lines: list[Any] = [conversation(seed) for seed in range(5)]
    path = tmp_path / "set.jsonl"
    path.write_bytes(
        b"\n".join([json.dumps(line).encode() for line in lines[:2]] + [b"{"])
        + b"\n"
        + b"\n".join(json.dumps(line).encode() for line in lines[2:])
    )
    report = examine(path, max_tokens=1000)
    assert [c.line for c in read_conversations(path)] == [1, 2, 4, 5, 6]
    target = tmp_path / "usable.jsonl"
    assert write_usable(path, target, report) == report.usable_lines == 5
    assert [json.loads(line) for line in target.read_text().splitlines()] == lines


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = write_jsonl(
            tmp_path / f"{lines}.jsonl", [conversation(seed, words=6) for seed in range(lines)]
        )
        tracemalloc.start()
        examine(path, max_tokens=1000)
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    assert peak(4000) < peak(500) + 300_000


def test_it_needs_no_torch(tmp_path: Path, model_dir: Path) -> None:
    path = write_jsonl(tmp_path / "set.jsonl", [OK])
    script = (
        "import sys; from pathlib import Path;"
        "from modeling.training.chat import ChatTokenizer;"
        "from modeling.training.dataset import examine;"
        f"r = examine(Path({str(path)!r}), max_tokens=99,"
        f" tokenizer=ChatTokenizer.load(Path({str(model_dir)!r})));"
        "assert r.usable_lines == 1; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
