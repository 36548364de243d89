"""One document version from file to searchable: read, split, embed, switch over.

The job may die at any point and be run again. What was read is stored together with the cursor in
one transaction; splitting is a pure function of that; chunks are keyed by version and ordinal and
written in batches, so the next run embeds only the missing ones.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from django.conf import settings
from django.contrib.postgres.search import SearchVector
from django.db.models import Q, Value
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed
from praxis.integrations.events import emit
from praxis.jobs.models import Job
from praxis.jobs.running import Interrupted, JobRun, PermanentFailure, Retry
from praxis.knowledge.chunking import SEPARATOR, Span, split
from praxis.knowledge.content import access_of, content_changed, metadata_of
from praxis.knowledge.fulltext import searchable
from praxis.knowledge.models import EMBEDDING_WIDTH, Chunk, Document, DocumentVersion
from praxis.knowledge.parsing.assembly import assemble
from praxis.knowledge.parsing.blocks import Page, Refused
from praxis.knowledge.parsing.formats import format_of
from praxis.knowledge.parsing.sandbox import read_file
from praxis.knowledge.parsing.sentences import sentence

logger = logging.getLogger(__name__)

BATCH = 32
MAX_ATTEMPTS = 8
"""With the waits below, an embedding server may be away for about ten minutes."""
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 300
PROGRESS_SECONDS = 0.5

READING = gettext_noop("Reading")
SPLITTING = gettext_noop("Splitting")
INDEXING = gettext_noop("Indexing")
WAITING = gettext_noop("Waiting for the embedding server")

State = DocumentVersion.State


class _Deleted(Exception):
    """The document was deleted while it was read."""


def ingest(run: JobRun) -> None:
    """The handler of `knowledge.ingest`; payload: `version_id`."""
    version = (
        DocumentVersion.objects.select_related("document__corpus__workspace")
        .filter(pk=run.payload["version_id"])
        .first()
    )
    if version is None or version.state == State.READY:
        return
    language = run.job.created_by.language if run.job.created_by else ""
    with translation.override(language or settings.LANGUAGE_CODE):
        try:
            _ingest(run, version)
        except Interrupted:
            raise
        except _Deleted:
            logger.info("Version %s was deleted while it was read", version.pk)
        except Refused as refusal:
            cause = sentence(refusal.code, refusal.values)
            _fail(run, version, cause)
            raise PermanentFailure(cause) from refusal
        except PermanentFailure as failure:
            _fail(run, version, str(failure))
            raise
        except ModelUnavailable as error:
            _wait_for_server(run, version, error)
        except Exception as error:
            if run.job.attempt >= run.job.max_attempts:
                cause = _("An unexpected error (%(name)s). The worker's log has the details.")
                _fail(run, version, cause % {"name": type(error).__name__})
            raise


def _ingest(run: JobRun, version: DocumentVersion) -> None:
    if not run.cursor.get("read"):
        _read(run, version)
    run.progress(0, stage=SPLITTING, unit="")
    spans = split(version.text, version.blocks, version.page_starts)
    _index(run, version, spans)
    _switch_over(run, version, num_chunks=len(spans))


def _read(run: JobRun, version: DocumentVersion) -> None:
    """File to text and structure; all or nothing."""
    _set_state(run, version, State.PARSING)
    known = format_of(version.file_name)
    run.progress(
        0,
        stage=READING,
        unit=gettext_noop("pages") if known.name == "pdf" else gettext_noop("parts"),
    )
    with version.file.open("rb") as file, closing(read_file(file, known)) as pages:
        reading = assemble(_shown(run, pages))
    if not reading.text:
        raise Refused("no_text")
    version.text = reading.text
    version.blocks = reading.blocks
    version.page_starts = reading.page_starts
    version.notes = reading.notes
    version.state = State.CHUNKING
    with run.transaction():
        _lock(version)
        version.save(update_fields=["text", "blocks", "page_starts", "notes", "state"])
        run.save_cursor({"read": True})


def _shown(run: JobRun, pages: Iterator[Page]) -> Iterator[Page]:
    """The same pages, with the job's progress following them."""
    shown_at = time.monotonic()
    for page in pages:
        yield page
        run.check()
        if time.monotonic() - shown_at > PROGRESS_SECONDS or page.number == page.total:
            run.progress(page.number, page.total)
            shown_at = time.monotonic()


def _index(run: JobRun, version: DocumentVersion, spans: Sequence[Span]) -> None:
    """Embed and store the chunks that are not there yet."""
    stored = {
        ordinal: (start, end)
        for ordinal, start, end in version.chunks.values_list("ordinal", "start", "end")
    }
    wanted = {span.ordinal: (span.start, span.end) for span in spans}
    if any(wanted.get(ordinal) != place for ordinal, place in stored.items()):
        # The splitting itself was changed between two runs: its earlier chunks don't fit.
        with run.transaction():
            version.chunks.all().delete()
        stored = {}
    missing = [span for span in spans if span.ordinal not in stored]
    _set_state(run, version, State.EMBEDDING)
    done = len(stored)
    run.progress(done, len(spans), unit=gettext_noop("chunks"), stage=INDEXING)
    for first in range(0, len(missing), BATCH):
        run.check()
        batch = missing[first : first + BATCH]
        vectors = embed([_embedded_text(version, span) for span in batch])
        _check_width(vectors)
        with run.transaction():
            _lock(version)
            Chunk.objects.bulk_create(
                [_chunk(version, span, vector) for span, vector in zip(batch, vectors, strict=True)]
            )
        done += len(batch)
        run.progress(done, len(spans))


def _embedded_text(version: DocumentVersion, span: Span) -> str:
    """The chunk under its headings: a paragraph often doesn't repeat what it is about."""
    place = SEPARATOR.join(part for part in (version.document.title, span.heading) if part)
    return f"{place}\n{version.text[span.start : span.end]}"


def _check_width(vectors: list[list[float]]) -> None:
    if width := next((len(vector) for vector in vectors if len(vector) != EMBEDDING_WIDTH), None):
        raise PermanentFailure(
            _(
                "The embedding server answers with vectors of %(width)s numbers; the index holds "
                "%(expected)s. Set EMBEDDING_MODEL to a model of that width, then try again."
            )
            % {"width": width, "expected": EMBEDDING_WIDTH}
        )


def _chunk(version: DocumentVersion, span: Span, vector: list[float]) -> Chunk:
    text = version.text[span.start : span.end]
    place = f"{version.document.title} {span.heading}"
    return Chunk(
        version=version,
        workspace_id=version.document.corpus.workspace_id,
        ordinal=span.ordinal,
        start=span.start,
        end=span.end,
        page=span.page,
        heading=span.heading,
        text=text,
        access=access_of(version.document),
        metadata=metadata_of(version.document),
        embedding=vector,
        search=SearchVector(Value(searchable(place)), config="english", weight="B")
        + SearchVector(Value(searchable(text)), config="english", weight="A"),
    )


def _switch_over(run: JobRun, version: DocumentVersion, *, num_chunks: int) -> None:
    """From here on this version is the one that is searched, unless a newer one is already."""
    with run.transaction():
        _lock(version)
        DocumentVersion.objects.filter(pk=version.pk).update(
            state=State.READY, error="", ready_at=Now()
        )
        Document.objects.filter(
            Q(current_version=None) | Q(current_version__number__lt=version.number),
            pk=version.document_id,
        ).update(current_version=version)
        content_changed(version.document.corpus_id)
        emit(
            version.document.corpus.workspace,
            "document.ready",
            subject=version.document_id,
            data={
                "document_id": str(version.document_id),
                "version_id": str(version.pk),
                "version": version.number,
                "chunks": num_chunks,
            },
        )


def _wait_for_server(run: JobRun, version: DocumentVersion, error: ModelUnavailable) -> None:
    """Raises `Retry`; the last attempt fails the version."""
    if run.job.attempt >= run.job.max_attempts:
        _fail(run, version, _("The embedding server could not be reached: %s") % error)
    else:
        run.progress(run.job.done, run.job.total, stage=WAITING)
    seconds = min(FIRST_WAIT_SECONDS * 2 ** (run.job.attempt - 1), LONGEST_WAIT_SECONDS)
    raise Retry(str(error), after_seconds=seconds) from error


def given_up(job: Job) -> None:
    """The workers died too often at this document: say so where a handler would have."""
    version = (
        DocumentVersion.objects.without_text()
        .select_related("document__corpus__workspace")
        .filter(pk=job.payload["version_id"], state__in=DocumentVersion.UNFINISHED)
        .first()
    )
    if version is not None:
        _declare_failed(version, job.message)


def _fail(run: JobRun, version: DocumentVersion, cause: str) -> None:
    with run.transaction():
        _declare_failed(version, cause)


def _declare_failed(version: DocumentVersion, cause: str) -> None:
    if DocumentVersion.objects.filter(pk=version.pk).update(state=State.FAILED, error=cause):
        emit(
            version.document.corpus.workspace,
            "document.failed",
            subject=version.document_id,
            data={
                "document_id": str(version.document_id),
                "version_id": str(version.pk),
                "version": version.number,
                "error": cause,
            },
        )


def _set_state(run: JobRun, version: DocumentVersion, state: State) -> None:
    with run.transaction():
        _lock(version)
        DocumentVersion.objects.filter(pk=version.pk).update(state=state, error="")


def _lock(version: DocumentVersion) -> None:
    """Hold the version's row until the transaction ends. Raises `_Deleted` when it is gone."""
    rows = DocumentVersion.objects.select_for_update(no_key=True).filter(pk=version.pk)
    if not rows.exists():
        raise _Deleted(version.pk)
