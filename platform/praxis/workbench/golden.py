"""Keeping the golden set, and searching it to see how well search does."""

import contextlib
import csv
import io
import time
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import JobRun, Retry
from praxis.jobs.services import enqueue
from praxis.knowledge.encoders import encoder_in_use
from praxis.knowledge.models import Chunk, Corpus, Document, SearchProfile
from praxis.knowledge.search import search
from praxis.knowledge.search_settings import SearchSettings
from praxis.workbench.models import (
    QUESTION_CHARACTERS,
    QUOTE_CHARACTERS,
    Expectation,
    GoldenQuestion,
    GoldenRun,
)
from praxis.workbench.scoring import DEPTH, Score, mean, score

MAX_QUESTIONS = 2_000
MAX_CSV_BYTES = 4 * 1024 * 1024
KEPT_RUNS = 200
QUESTIONS = gettext_noop("questions")
SEARCHING = gettext_noop("Searching")


class GoldenRefused(Exception):
    """Why something can't be added to the golden set, for the person who asked."""


def add_question(
    *, workspace: Workspace, text: str, corpus: Corpus | None, by: User | None
) -> GoldenQuestion:
    """The question, also if it is there already. Raises `GoldenRefused`."""
    text = " ".join(text.replace("\x00", " ").split())
    if not text:
        raise GoldenRefused(_("The question is empty."))
    if len(text) > QUESTION_CHARACTERS:
        raise GoldenRefused(
            _("A question may have %(limit)d characters, got %(count)d; shorten it.")
            % {"limit": QUESTION_CHARACTERS, "count": len(text)}
        )
    existing = GoldenQuestion.objects.filter(workspace=workspace, corpus=corpus, text=text).first()
    if existing is not None:
        return existing
    if GoldenQuestion.objects.filter(workspace=workspace).count() >= MAX_QUESTIONS:
        raise GoldenRefused(
            _("A golden set holds at most %(limit)d questions; delete some first.")
            % {"limit": MAX_QUESTIONS}
        )
    question, _created = GoldenQuestion.objects.get_or_create(
        workspace=workspace, corpus=corpus, text=text, defaults={"created_by": by}
    )
    return question


def quote_of(text: str) -> str:
    """A passage as an expectation keeps it."""
    return " ".join(text.replace("\x00", " ").split())[:QUOTE_CHARACTERS]


def expect(question: GoldenQuestion, document: Document, quote: str = "") -> Expectation:
    expectation, _created = Expectation.objects.get_or_create(
        question=question, document=document, quote=quote_of(quote)
    )
    return expectation


def toggle(question: GoldenQuestion, chunk: Chunk, *, whole_document: bool) -> bool:
    """Expect the chunk (or its document), or no longer; whether it is expected now.

    A question that expects nothing any more is deleted.
    """
    quote = "" if whole_document else quote_of(chunk.text)
    with transaction.atomic():
        expectation, created = Expectation.objects.get_or_create(
            question=question, document_id=chunk.version.document_id, quote=quote
        )
        if not created:
            expectation.delete()
            if not question.expected.exists():
                question.delete()
    return created


# As a file --------------------------------------------------------------------------------------

CSV_COLUMNS = ("question", "document", "passage", "corpus")


def import_csv(*, workspace: Workspace, content: bytes, by: User | None) -> tuple[int, list[str]]:
    """Add what a CSV file expects; how many lines were taken, and what was wrong with the others.

    Its columns are `question`, `document` (a title), and if wanted `passage` (its words) and
    `corpus` (a name; without it the question is asked of every corpus). Raises `GoldenRefused` when
    nothing of it can be read.
    """
    if len(content) > MAX_CSV_BYTES:
        raise GoldenRefused(
            _("The file may have %(limit)d MB.") % {"limit": MAX_CSV_BYTES // 1048576}
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise GoldenRefused(
            _("The file is not UTF-8 text; save it as “CSV UTF-8” and import it again.")
        ) from None
    reader = csv.DictReader(io.StringIO(text))
    if not {"question", "document"} <= set(reader.fieldnames or ()):
        raise GoldenRefused(
            _("The first line must name the columns question and document; it is “%(line)s”.")
            % {"line": ", ".join(reader.fieldnames or ())[:200]}
        )
    corpora = {corpus.name: corpus for corpus in Corpus.objects.filter(workspace=workspace)}
    taken, problems = 0, []
    try:
        for row in reader:
            try:
                _import_row(workspace, corpora, row, by)
                taken += 1
            except GoldenRefused as refusal:
                problems.append(f"{reader.line_num}: {refusal}")
    except csv.Error as error:
        problems.append(f"{reader.line_num}: {error}")
    return taken, problems


def _import_row(
    workspace: Workspace, corpora: Mapping[str, Corpus], row: Mapping[str, Any], by: User | None
) -> None:
    values = {name: str(row.get(name) or "").strip() for name in CSV_COLUMNS}
    corpus = corpora.get(values["corpus"])
    if values["corpus"] and corpus is None:
        raise GoldenRefused(
            _("There is no corpus “%(name)s”; there are: %(names)s.")
            % {"name": values["corpus"], "names": ", ".join(sorted(corpora)) or "–"}
        )
    documents = Document.objects.filter(corpus__workspace=workspace, title=values["document"])
    if corpus is not None:
        documents = documents.filter(corpus=corpus)
    found = list(documents.order_by("pk")[:2])
    if not found:
        raise GoldenRefused(
            _("There is no document with the title “%(title)s”.") % {"title": values["document"]}
        )
    if len(found) > 1:
        raise GoldenRefused(
            _("Several corpora have a document “%(title)s”; name the corpus in its column.")
            % {"title": values["document"]}
        )
    question = add_question(workspace=workspace, text=values["question"], corpus=corpus, by=by)
    expect(question, found[0], values["passage"])


def csv_rows(workspace: Workspace) -> Iterator[tuple[str, str, str, str]]:
    """The golden set as `import_csv` takes it, the first row with the names."""
    yield CSV_COLUMNS
    expectations = (
        Expectation.objects.filter(question__workspace=workspace)
        .select_related("question__corpus", "document")
        .order_by("question__created_at", "question_id", "pk")
    )
    for each in expectations:
        corpus = each.question.corpus.name if each.question.corpus else ""
        yield (each.question.text, each.document.title, each.quote, corpus)


# Scoring ------------------------------------------------------------------------------------------


def content_version(workspace: Workspace) -> int:
    total = Corpus.objects.filter(workspace=workspace).aggregate(sum=Sum("content_version"))
    return int(total["sum"] or 0)


def start_run(
    *,
    workspace: Workspace,
    origin: GoldenRun.Origin,
    by: User | None = None,
    tried: SearchSettings | None = None,
) -> GoldenRun:
    """Search the golden set in the background, with the stored settings or with those to try."""
    if not GoldenQuestion.objects.filter(workspace=workspace, expected__isnull=False).exists():
        raise GoldenRefused(
            _("The golden set is empty. Mark what a question should find, then score it.")
        )
    encoder = encoder_in_use(workspace.pk)
    with transaction.atomic():
        run = GoldenRun.objects.create(
            workspace=workspace,
            origin=origin,
            tried=tried.to_dict() if tried else None,
            stored=_stored_settings(workspace),
            encoder=encoder.served_name if encoder else settings.EMBEDDING_MODEL,
            content_version=content_version(workspace),
            created_by=by,
        )
        run.job = enqueue(
            kind="workbench.score",
            workspace=workspace,
            payload={"run_id": str(run.pk)},
            created_by=by,
        )
        run.save(update_fields=["job"])
        old = GoldenRun.objects.filter(workspace=workspace).order_by("-created_at")[KEPT_RUNS:]
        GoldenRun.objects.filter(pk__in=[each.pk for each in old.only("pk")]).delete()
    return run


def settings_changed(workspace: Workspace, *, by: User | None) -> None:
    """Score the golden set, if there is one, after a change of the stored settings or the encoder."""
    with contextlib.suppress(GoldenRefused):
        start_run(workspace=workspace, origin=GoldenRun.Origin.SETTINGS, by=by)


def _stored_settings(workspace: Workspace) -> list[dict[str, Any]]:
    profiles = SearchProfile.objects.filter(workspace=workspace).select_related("corpus")
    return [
        {"corpus": profile.corpus.name if profile.corpus else "", "values": profile.values}
        for profile in profiles.order_by("corpus__name", "pk")
    ]


def score_run(run: JobRun) -> None:
    """The handler of `workbench.score`; payload: `run_id`. It searches with an owner's rights."""
    golden_run = (
        GoldenRun.objects.select_related("workspace").filter(pk=run.payload["run_id"]).first()
    )
    if golden_run is None:
        return
    principal = Principal(workspace=golden_run.workspace, role=Role.OWNER)
    tried = SearchSettings.from_dict(golden_run.tried) if golden_run.tried else None
    questions = list(
        GoldenQuestion.objects.filter(workspace=golden_run.workspace, expected__isnull=False)
        .distinct()
        .prefetch_related("expected")
        .order_by("created_at", "pk")
    )
    scores: list[Score] = []
    seconds: list[float] = []
    results: list[dict[str, Any]] = []
    run.progress(0, len(questions), unit=QUESTIONS, stage=SEARCHING)
    for question in questions:
        run.check()
        started = time.perf_counter()
        result = search(
            principal=principal,
            query=question.text,
            limit=DEPTH,
            corpora=[question.corpus_id] if question.corpus_id else None,
            settings=tried,
        )
        seconds.append(time.perf_counter() - started)
        if result.explanation.words_only:
            raise Retry(_("The embedding server does not answer, and scores without it mislead."))
        scores.append(score(result.found, list(question.expected.all())))
        results.append(
            {
                "id": question.pk,
                "question": question.text,
                "corpus_id": question.corpus_id,
                **scores[-1].to_dict(),
            }
        )
        run.progress(len(scores), len(questions))
    figures = mean(scores)
    if seconds:
        figures["ms_p95"] = round(1000 * sorted(seconds)[int(0.95 * (len(seconds) - 1))], 1)
    golden_run.figures, golden_run.results = figures, results
    golden_run.num_questions = len(scores)
    with run.transaction():
        golden_run.save(update_fields=["figures", "results", "num_questions"])


def score_changed() -> None:
    """Score each golden set whose documents have changed since it was last scored.

    Documents often come in numbers, so it waits until none of the workspace is being read.
    """
    with_questions = Workspace.objects.filter(golden_questions__expected__isnull=False).distinct()
    for workspace in with_questions:
        # The newest, not the highest: a deleted corpus takes its share of the sum with it.
        scored = (
            GoldenRun.objects.filter(workspace=workspace, tried__isnull=True)
            .order_by("-created_at")
            .values_list("content_version", flat=True)
            .first()
        )
        reading = Job.objects.filter(
            Q(state=JobState.QUEUED) | Q(state=JobState.RUNNING),
            workspace=workspace,
            kind="knowledge.ingest",
        )
        if scored == content_version(workspace) or reading.exists():
            continue
        start_run(workspace=workspace, origin=GoldenRun.Origin.CONTENT)
