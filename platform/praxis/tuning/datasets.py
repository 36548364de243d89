"""Data sets: store a version, examine it line by line, hand out the usable lines."""

import hashlib
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.db import transaction
from django.db.models.fields.files import FieldFile
from django.utils.translation import gettext as _

from modeling.training import dataset as doctor
from modeling.training.chat import ChatTokenizer
from modeling.training.conversations import MESSAGES, Problem, read_lines
from praxis.accounts.access import Principal, record
from praxis.assistants.registry import get_assistant
from praxis.jobs.services import enqueue
from praxis.tuning.bases import ready_tokenizer
from praxis.tuning.corrections import corrected_conversations, corrected_states, to_jsonl
from praxis.tuning.models import Dataset, DatasetVersion

EXAMINED_AT_ONCE_BYTES = 2 * 1024 * 1024
"""Up to this size the report is there when the upload's answer is."""
LONGEST_CONVERSATION = 8192
"""In tokens: no run can be told to take longer ones. A run with a lower limit leaves out more."""
EXCERPT_LENGTH = 160
CHUNK_BYTES = 1024 * 1024


class DatasetRefused(Exception):
    """The file can't become a data set; the text is a sentence for the person."""


def store_upload(*, principal: Principal, name: str, file: File) -> DatasetVersion:
    """Store the file as the next version of the workspace's data set of that name, and examine it.

    Raises `DatasetRefused` when it is the newest version's file over again.
    """
    return _store(
        principal=principal,
        name=name,
        file=file,
        file_name=os.path.basename(file.name or "upload.jsonl")[:200],
        origin=DatasetVersion.Origin.UPLOAD,
    )


def store_corrections(
    *, principal: Principal, name: str, assistant: str, reviewed_only: bool
) -> DatasetVersion:
    """Collect what people corrected in the assistant's answers and state into the next version.

    Raises `DatasetRefused` when there is no correction, or none since the newest version.
    """
    corrected = get_assistant(assistant)
    content = to_jsonl(
        chain(
            corrected_conversations(principal.workspace, corrected, reviewed_only=reviewed_only),
            corrected_states(principal.workspace, corrected, reviewed_only=reviewed_only),
        )
    )
    if not content:
        raise DatasetRefused(
            _(
                "Nobody has corrected this assistant yet; correct an answer or the panel in the chat."
            )
        )
    return _store(
        principal=principal,
        name=name,
        file=ContentFile(content),
        file_name=f"corrections-{assistant}.jsonl",
        origin=DatasetVersion.Origin.CORRECTIONS,
    )


def _store(
    *, principal: Principal, name: str, file: File, file_name: str, origin: str
) -> DatasetVersion:
    sha256 = _hash_of(file)
    tokenizer = ready_tokenizer() if file.size <= EXAMINED_AT_ONCE_BYTES else None
    with transaction.atomic():
        Dataset.objects.get_or_create(
            workspace=principal.workspace, name=name, defaults={"created_by": principal.user}
        )
        # The lock gives every version its own number.
        dataset = Dataset.objects.select_for_update().get(workspace=principal.workspace, name=name)
        newest = dataset.versions.order_by("-number").first()
        if newest is not None and newest.sha256 == sha256:
            raise DatasetRefused(
                _("This is the same file as version %(number)d of %(name)s.")
                % {"number": newest.number, "name": name}
            )
        version = DatasetVersion(
            dataset=dataset,
            number=newest.number + 1 if newest else 1,
            origin=origin,
            file_name=file_name,
            size=file.size,
            sha256=sha256,
            created_by=principal.user,
        )
        version.file.save(file_name, file, save=False)
        if tokenizer is not None:
            _apply_report(version, tokenizer)
        else:
            version.job = enqueue(
                kind="tuning.examine",
                workspace=principal.workspace,
                payload={"version": str(version.pk)},
                created_by=principal.user,
            )
        version.save(force_insert=True)
        record(principal, "dataset.upload", version, origin=origin, sha256=sha256)
    return version


def _hash_of(file: File) -> str:
    digest = hashlib.sha256()
    for chunk in file.chunks(CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def examine(version: DatasetVersion, tokenizer: ChatTokenizer) -> None:
    """Examine the stored file and write the report; again, if it was done before."""
    _apply_report(version, tokenizer)
    version.save()


def _apply_report(version: DatasetVersion, tokenizer: ChatTokenizer) -> None:
    with _local_copy(version.file) as path:
        report = doctor.examine(path, tokenizer=tokenizer, max_tokens=LONGEST_CONVERSATION)
        if version.usable_file:
            version.usable_file.delete(save=False)
        if report.unusable and report.usable_lines:
            usable = path.with_name("usable.jsonl")
            doctor.write_usable(path, usable, report)
            with usable.open("rb") as file:
                version.usable_file.save("usable.jsonl", File(file), save=False)
        excerpts = _excerpts(path, report.problems)
    version.rows = report.lines
    version.usable_rows = report.usable_lines
    version.tokens = report.tokens or 0
    version.report = {
        "errors": report.errors,
        "warnings": report.warnings,
        "messages": report.messages,
        "assistant_messages": report.assistant_messages,
        "longest_tokens": report.longest_tokens,
        "histogram": report.histogram,
        "codes": dict(report.codes.most_common()),
        "problems_left_out": report.problems_left_out,
        "problems": [
            {
                "line": problem.line,
                "column": problem.column,
                "severity": problem.severity,
                "code": problem.code,
                "where": problem.where,
                "parameters": problem.parameters,
                "excerpt": excerpt,
            }
            for problem, excerpt in zip(report.problems, excerpts, strict=True)
        ],
    }
    version.state = (
        DatasetVersion.State.READY if report.usable_lines else DatasetVersion.State.UNUSABLE
    )


@contextmanager
def _local_copy(stored: FieldFile) -> Iterator[Path]:
    """The stored file on this machine's disk, wherever the storage is."""
    with tempfile.TemporaryDirectory(prefix="dataset-") as directory:
        path = Path(directory) / "data.jsonl"
        with stored.open("rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
        yield path


def _excerpts(path: Path, problems: list[Problem]) -> list[str]:
    """For each problem, the part of its line that it is about; `problems` are in line order."""
    found: list[str] = []
    lines = read_lines(path)
    line = next(lines, None)
    for problem in problems:
        while line is not None and line.number < problem.line:
            line = next(lines, None)
        assert line is not None
        text = line.raw.decode("utf-8", errors="replace").replace("\0", "\ufffd")
        start = max(0, (problem.column or 1) - 1 - EXCERPT_LENGTH // 2)
        end = start + EXCERPT_LENGTH
        head, tail = "…" if start else "", "…" if end < len(text) else ""
        found.append(head + text[start:end] + tail)
    return found


def usable_chunks(version: DatasetVersion) -> Iterator[bytes]:
    """The lines without an error, for a download."""
    with version.usable.open("rb") as file:
        yield from file.chunks(CHUNK_BYTES)


def write_usable_lines(version: DatasetVersion, target: Path) -> None:
    """The lines without an error as a file on this machine; it appears whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    with part.open("wb") as file:
        for chunk in usable_chunks(version):
            file.write(chunk)
    os.replace(part, target)


# The report as people read it --------------------------------------------------------------------


def sentence(code: str, parameters: dict[str, Any]) -> str:
    """What is wrong, in the reader's language."""
    known = defaultdict(lambda: "…", parameters)
    return _(MESSAGES[code]).format_map(known)


def why_unusable(version: DatasetVersion) -> str:
    """A sentence from the report; empty for a version that can be used or is examined yet."""
    if version.state != DatasetVersion.State.UNUSABLE:
        return ""
    if not version.rows:
        return _("The file has no lines. Write one conversation on each line.")
    errors: dict[str, dict[str, Any]] = {}
    for problem in version.report["problems"]:
        if problem["severity"] == "error":
            errors.setdefault(problem["code"], problem)
    counts = version.report["codes"]
    code = max(errors, key=lambda one: counts[one])
    return _(
        "None of the %(rows)d lines can be used. The most frequent problem (%(count)d times), "
        "first on line %(line)d: %(message)s"
    ) % {
        "rows": version.rows,
        "count": counts[code],
        "line": errors[code]["line"],
        "message": sentence(code, errors[code]["parameters"]),
    }


def problem_for_people(problem: dict[str, Any]) -> dict[str, Any]:
    return {**problem, "message": sentence(problem["code"], problem["parameters"])}


def totals_for_people(report: dict[str, Any]) -> list[dict[str, Any]]:
    """How often each problem occurs, with the first case's sentence."""
    examples: dict[str, dict[str, Any]] = {}
    for problem in report.get("problems", []):
        examples.setdefault(problem["code"], problem)
    return [
        {
            "count": count,
            "severity": examples[code]["severity"] if code in examples else "",
            "message": sentence(code, examples[code]["parameters"] if code in examples else {}),
        }
        for code, count in report.get("codes", {}).items()
    ]


def histogram_for_people(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows `{"from", "to", "count", "width"}`; `to` is None for the last, `width` is 0 to 100."""
    histogram = report.get("histogram", [])
    most = max((count for _limit, count in histogram), default=0)
    if not most:
        return []
    rows = []
    lowest = 1
    for limit, count in histogram:
        rows.append(
            {"from": lowest, "to": limit, "count": count, "width": round(100 * count / most, 1)}
        )
        lowest = (limit or 0) + 1
    while rows[-1]["count"] == 0:
        rows.pop()
    return rows


def longer_than(version: DatasetVersion, max_tokens: int) -> int:
    """How many usable lines are longer; exact for the limits of the histogram."""
    return sum(
        count
        for limit, count in version.report.get("histogram", [])
        if limit is None or limit > max_tokens
    )
