"""The data-set doctor: what is wrong with a JSONL of conversations, line by line.

It reads the file once, in bounded memory, and never stops at a bad line: line 17 is reported as
line 17 and the lines around it stay usable. It imports no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modeling.training.chat import ChatTemplateError, ChatTokenizer, Message
from modeling.training.conversations import Conversation, Line, Problem, parse, read_lines
from modeling.training.personal import find_personal_data

HISTOGRAM_LIMITS = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
MAX_PROBLEMS = 1000
_BATCH = 128
_LEAK_WORDS = 13
_LEAK_WHOLE_WORDS = 5


@dataclass(kw_only=True)
class Report:
    """`problems` holds the first MAX_PROBLEMS; `codes` counts all of them."""

    sha256: str = ""
    num_bytes: int = 0
    lines: int = 0
    usable_lines: int = 0
    errors: int = 0
    warnings: int = 0
    messages: int = 0
    assistant_messages: int = 0
    tokens: int | None = None
    """Tokens of the usable lines; None when examined without a tokeniser."""
    longest_tokens: int = 0
    histogram: list[tuple[int | None, int]] = field(default_factory=list)
    """(largest number of tokens, usable lines); the last has no limit."""
    problems: list[Problem] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    unusable: array[int] = field(default_factory=lambda: array("I"))
    """Numbers of the lines with an error, ascending."""

    @property
    def problems_left_out(self) -> int:
        return self.errors + self.warnings - len(self.problems)


def examine(
    path: Path,
    *,
    tokenizer: ChatTokenizer | None = None,
    max_tokens: int,
    evaluation_texts: Iterable[str] = (),
) -> Report:
    """Examine a data set. Without a tokeniser, lengths are not checked."""
    report = Report(num_bytes=path.stat().st_size)
    lengths: Counter[int] = Counter()
    leaks = _EvaluationTexts(evaluation_texts)
    duplicates = _Duplicates()
    control = _control_pattern(tokenizer)
    total = 0
    for batch in _batches(read_lines(path)):
        parsed = [parse(line) for line in batch]
        counts = _count_tokens(
            tokenizer, [conversation for conversation, _ in parsed if conversation is not None]
        )
        for line, (conversation, problems) in zip(batch, parsed, strict=True):
            report.lines += 1
            if conversation is not None:
                num_tokens = counts[conversation.line]
                problems += _judge(conversation, num_tokens, max_tokens, control, leaks, duplicates)
            failed = any(problem.severity == "error" for problem in problems)
            for problem in problems:
                report.codes[problem.code] += 1
                report.errors += problem.severity == "error"
                report.warnings += problem.severity == "warning"
                if len(report.problems) < MAX_PROBLEMS:
                    report.problems.append(problem)
            if failed:
                report.unusable.append(line.number)
                continue
            assert conversation is not None
            report.usable_lines += 1
            report.messages += len(conversation.messages)
            report.assistant_messages += sum(
                message["role"] == "assistant" for message in conversation.messages
            )
            if isinstance(num_tokens, int):
                total += num_tokens
                report.longest_tokens = max(report.longest_tokens, num_tokens)
                lengths[bisect_left(HISTOGRAM_LIMITS, num_tokens)] += 1
    if tokenizer is not None:
        report.tokens = total
        report.histogram = [
            (limit, lengths[index]) for index, limit in enumerate((*HISTOGRAM_LIMITS, None))
        ]
    with path.open("rb") as file:
        report.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return report


def write_usable(source: Path, target: Path, report: Report) -> int:
    """Copy the usable lines of an examined file; returns how many. `target` appears whole."""
    unusable = iter(report.unusable)
    skip = next(unusable, None)
    written = 0
    temporary = target.with_name(f".{target.name}.part")
    with temporary.open("wb") as file:
        for line in read_lines(source):
            if line.number == skip:
                skip = next(unusable, None)
                continue
            file.write(line.raw.removeprefix(b"\xef\xbb\xbf") + b"\n")
            written += 1
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    return written


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(islice(lines, _BATCH)):
        yield batch


def _count_tokens(
    tokenizer: ChatTokenizer | None, conversations: list[Conversation]
) -> dict[int, int | ChatTemplateError | None]:
    """By line number: tokens, the template's refusal, or None without a tokeniser."""
    if tokenizer is None:
        return dict.fromkeys(conversation.line for conversation in conversations)
    try:
        counts = tokenizer.count([conversation.messages for conversation in conversations])
    except ChatTemplateError as error:
        if len(conversations) == 1:
            return {conversations[0].line: error}
        return {
            line: count
            for conversation in conversations
            for line, count in _count_tokens(tokenizer, [conversation]).items()
        }
    return {
        conversation.line: count for conversation, count in zip(conversations, counts, strict=True)
    }


def _judge(
    conversation: Conversation,
    num_tokens: int | ChatTemplateError | None,
    max_tokens: int,
    control: re.Pattern[str],
    leaks: _EvaluationTexts,
    duplicates: _Duplicates,
) -> list[Problem]:
    """What is wrong with a well-formed conversation beside the others and for this model."""
    line = conversation.line
    problems = []
    if isinstance(num_tokens, ChatTemplateError):
        problems.append(
            Problem(
                line=line,
                severity="error",
                code="template_rejects",
                parameters={"detail": str(num_tokens)},
            )
        )
    elif num_tokens is not None and num_tokens > max_tokens:
        problems.append(
            Problem(
                line=line,
                severity="error",
                code="too_long",
                parameters={"received": num_tokens, "allowed": max_tokens},
            )
        )
    for index, message in enumerate(conversation.messages):
        where = f"messages[{index}].content"
        if found := control.search(message["content"]):
            problems.append(
                Problem(
                    line=line,
                    severity="error",
                    code="control_token",
                    where=where,
                    parameters={"received": found[0]},
                )
            )
        if (leak := leaks.find(message["content"])) is not None:
            problems.append(
                Problem(
                    line=line,
                    severity="error",
                    code="evaluation_leak",
                    where=where,
                    parameters={"received": leak},
                )
            )
        for code, text in find_personal_data(message["content"]):
            problems.append(
                Problem(
                    line=line,
                    severity="warning",
                    code=code,
                    where=where,
                    parameters={"received": text},
                )
            )
    if (twin := duplicates.find(line, conversation.messages)) is not None:
        other_line, percent = twin
        exact = percent is None
        problems.append(
            Problem(
                line=line,
                severity="warning",
                code="exact_duplicate" if exact else "near_duplicate",
                parameters={"other_line": other_line} | ({} if exact else {"percent": percent}),
            )
        )
    return problems


def _control_pattern(tokenizer: ChatTokenizer | None) -> re.Pattern[str]:
    if tokenizer is None or not tokenizer.control_texts:
        return re.compile(r"<\|[A-Za-z_]{2,40}\|>")
    longest_first = sorted(tokenizer.control_texts, key=len, reverse=True)
    return re.compile("|".join(re.escape(text) for text in longest_first))


# A Chinese character counts as a word: there are no spaces to split at.
_WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W\u3400-\u9fff\uf900-\ufaff]+")


def words_of(text: str) -> list[str]:
    """The words of a text without case and punctuation, to compare texts by."""
    return _WORD.findall(text.casefold())


class _EvaluationTexts:
    """Finds texts of the evaluation data: whole, or any run of 13 words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[int] = set()
        self._whole: set[int] = set()
        for text in texts:
            words = words_of(text)
            if len(words) >= _LEAK_WHOLE_WORDS:
                self._whole.add(hash(tuple(words)))
            self._runs.update(_runs(words))

    def find(self, text: str) -> str | None:
        """The words that leak, or None."""
        if not self._whole:
            return None
        words = words_of(text)
        if len(words) >= _LEAK_WHOLE_WORDS and hash(tuple(words)) in self._whole:
            return " ".join(words[:_LEAK_WORDS])
        for start, run in enumerate(_runs(words)):
            if run in self._runs:
                return " ".join(words[start : start + _LEAK_WORDS])
        return None


def _runs(words: Sequence[str]) -> Iterator[int]:
    for start in range(len(words) - _LEAK_WORDS + 1):
        yield hash(tuple(words[start : start + _LEAK_WORDS]))


_BINS = 32
_BANDS = 8
_ROWS = _BINS // _BANDS
_SHINGLE_WORDS = 3
_ALIKE_BINS = 28
_TABLE = 1 << 20
_EMPTY = np.uint32(0xFFFFFFFF)


class _Duplicates:
    """Equal and nearly equal conversations among the last million, in fixed memory.

    Nearly equal: one-permutation MinHash over runs of three words, looked up by bands and compared
    over all bins. Tables are direct-mapped, so a later line may overwrite an earlier one's entry;
    what is found is always verified against the stored signature.
    """

    def __init__(self) -> None:
        # numpy's zeros take memory only where they are written to: small files stay small.
        self._digests = np.zeros(_TABLE, dtype=np.uint64)
        self._digest_lines = np.zeros(_TABLE, dtype=np.uint32)
        self._bands = np.zeros((_BANDS, _TABLE // 4), dtype=np.uint32)
        self._signatures = np.zeros((_TABLE // 4, _BINS), dtype=np.uint32)
        self._signature_lines = np.zeros(_TABLE // 4, dtype=np.uint32)

    def find(self, line: int, messages: Sequence[Message]) -> tuple[int, int | None] | None:
        """(other line, None) for an equal one, (other line, percent) for a nearly equal one."""
        content = "\x1e".join(f"{m['role']}\x1f{m['content'].strip()}" for m in messages)
        digest = int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "little")
        slot = digest % _TABLE
        if self._digest_lines[slot] and int(self._digests[slot]) == digest:
            return int(self._digest_lines[slot]), None
        self._digests[slot] = digest
        self._digest_lines[slot] = line
        signature = _signature(messages)
        return None if signature is None else self._alike(line, signature)

    def _alike(self, line: int, signature: npt.NDArray[np.uint32]) -> tuple[int, int] | None:
        home = line % len(self._signatures)
        found: tuple[int, int] | None = None
        for band in range(_BANDS):
            rows = signature[band * _ROWS : (band + 1) * _ROWS]
            slot = zlib.crc32(rows.tobytes()) % self._bands.shape[1]
            other = int(self._bands[band, slot])
            place = other % len(self._signatures)
            if found is None and other and self._signature_lines[place] == other:
                alike = int((self._signatures[place] == signature).sum())
                if alike >= _ALIKE_BINS:
                    found = other, round(100 * alike / _BINS)
            self._bands[band, slot] = line
        self._signatures[home] = signature
        self._signature_lines[home] = line
        return found


def _signature(messages: Sequence[Message]) -> npt.NDArray[np.uint32] | None:
    """MinHash of the words said, system messages left out; None for very short conversations."""
    words = [
        word
        for message in messages
        if message["role"] != "system"
        for word in words_of(message["content"])
    ]
    if len(words) < 2 * _SHINGLE_WORDS:
        return None
    hashes = np.fromiter(
        (
            zlib.crc32(" ".join(words[start : start + _SHINGLE_WORDS]).encode())
            for start in range(len(words) - _SHINGLE_WORDS + 1)
        ),
        dtype=np.uint32,
    )
    # crc32 is linear; one multiplication spreads it before the low bits choose the bin.
    hashes = hashes * np.uint32(2654435761)
    hashes ^= hashes >> np.uint32(15)
    signature = np.full(_BINS, _EMPTY, dtype=np.uint32)
    np.minimum.at(signature, hashes % _BINS, hashes // _BINS)
    # Empty bins borrow from the next full one, so that short texts can be compared too.
    full = np.flatnonzero(signature != _EMPTY)
    borrowed = full[np.searchsorted(full, np.arange(_BINS)) % len(full)]
    return signature[borrowed]
