"""One document version from file to searchable: read, split, embed, store; part by part.

A part is some neighbouring pages. Its text, its chunks with their vectors, and the cursor are
stored in one transaction, so whenever the job dies, all of a part is there or nothing of it, and the
next run goes on behind the last one that is. The first version of a document is searched from its
first part on; a later one takes over as a whole, when it is ready.
"""

import json
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.postgres.search import SearchVector
from django.db import connection
from django.db.models import F, Func, JSONField, Q, Value
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Concat, Now
from django.utils.translation import gettext_noop

from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed
from praxis.integrations.events import emit
from praxis.jobs.models import Job
from praxis.jobs.running import Interrupted, JobRun, PermanentFailure, Retry
from praxis.knowledge import encoders, vector_space
from praxis.knowledge.chunking import SEPARATOR, Span, Splitter
from praxis.knowledge.content import access_of, content_changed, hand_down, metadata_of
from praxis.knowledge.fulltext import searchable
from praxis.knowledge.models import Chunk, Document, DocumentVersion
from praxis.knowledge.parsing.assembly import Assembly, Reading
from praxis.knowledge.parsing.blocks import Page, Refused
from praxis.knowledge.parsing.formats import WITH_PAGES, format_of
from praxis.knowledge.parsing.sandbox import read_file
from praxis.knowledge.parsing.sentences import sentence
from praxis.sentences import Sentence, sentence_of

logger = logging.getLogger(__name__)

BATCH = 64
PART_CHARACTERS = 20_000
PART_SHARE = 10
"""A part is at least one tenth of what was read before it: storing it writes the whole text anew."""
MOST_PART_CHARACTERS = 1_000_000
PART_SECONDS = 10
"""Where reading is slow (OCR), what is there is stored after this time."""
MAX_ATTEMPTS = 8
"""With the waits below, an embedding server may be away for about ten minutes."""
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 300

READING = gettext_noop("Reading and indexing")
INDEXING = gettext_noop("Indexing")
WAITING = gettext_noop("Waiting for the embedding server")

State = DocumentVersion.State


class _Deleted(Exception):
    """The document was deleted while it was read."""


def ingest(run: JobRun) -> None:
    """The handler of `knowledge.ingest`; payload: `version_id`."""
    version = (
        DocumentVersion.objects.select_related("document__corpus__workspace")
        .defer("text", "blocks")
        .filter(pk=run.payload["version_id"])
        .first()
    )
    if version is None or version.state == State.READY:
        return
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
        _fail(run, version, sentence_of(failure))
        raise
    except ModelUnavailable as error:
        _wait_for_server(run, version, error)
    except Exception as error:
        if run.job.attempt >= run.job.max_attempts:
            cause = Sentence(
                gettext_noop("An unexpected error (%(name)s). The worker's log has the details."),
                {"name": type(error).__name__},
            )
            _fail(run, version, cause)
        raise


def _ingest(run: JobRun, version: DocumentVersion) -> None:
    known = format_of(version.file_name)
    _begin(run, version)
    in_pages = known.name in WITH_PAGES
    run.progress(
        run.cursor.get("pages", 0),
        run.job.total if run.cursor else None,
        stage=READING,
        unit=gettext_noop("pages") if in_pages else gettext_noop("parts"),
    )
    vector_space.check()
    indexing = _Indexing(run, version)
    with version.file.open("rb") as file, closing(read_file(file, known)) as pages:
        for page in pages:
            run.check()
            indexing.add(page)
    indexing.finish()


@dataclass(kw_only=True)
class _Embedded:
    """Of a part's spans what was embedded, and the vectors: the shipped encoder's, and by its id
    those of each encoder that was tuned for the workspace."""

    texts: list[str] = field(default_factory=list)
    vectors: list[list[float]] = field(default_factory=list)
    by_tuned: dict[UUID, list[list[float]]] = field(default_factory=dict)


class _Indexing:
    """Stores the pages that it is given, a part at a time."""

    def __init__(self, run: JobRun, version: DocumentVersion) -> None:
        self.run, self.version = run, version
        cursor = run.cursor
        self._stored_pages: int = cursor.get("pages", 0)
        """As the reader counts them; of a run before this one, they are read again and left out."""
        self._assembly = Assembly(
            position=cursor.get("characters", 0),
            num_pages=len(version.page_starts),
            previous=cursor.get("previous", ""),
        )
        self._splitter = Splitter(
            title=version.document.title,
            path=cursor.get("path", []),
            num_chunks=cursor.get("chunks", 0),
        )
        self._page_starts = list(version.page_starts)
        self._offset = self._assembly.position
        self._pages = self._stored_pages
        self._total: int | None = None
        self._stored_at = time.monotonic()

    def add(self, page: Page) -> None:
        if page.number <= self._stored_pages:
            return
        if self._total is None and page.total is not None:
            self.run.progress(self._pages, page.total)
        self._assembly.add(page)
        self._pages, self._total = page.number, page.total
        if self._part_is_full() and page.number != page.total:
            self._store(*self._next_part())

    def finish(self) -> None:
        """Store what is left; from here on the version is the one that is searched, unless a newer
        one is already."""
        if self._assembly.position == 0:
            raise Refused("no_text")
        self._store(*self._next_part(), last=True)

    def _part_is_full(self) -> bool:
        waiting = self._assembly.position - self._offset
        enough = min(max(PART_CHARACTERS, self._offset // PART_SHARE), MOST_PART_CHARACTERS)
        return waiting >= enough or (
            waiting > 0 and time.monotonic() - self._stored_at > PART_SECONDS
        )

    def _next_part(self) -> tuple[Reading, list[Span], _Embedded]:
        part = self._assembly.take()
        self._page_starts += part.page_starts
        spans = self._splitter.split(part.text, self._offset, part.blocks, self._page_starts)
        return part, spans, self._embedded(part, spans)

    def _embedded(self, part: Reading, spans: list[Span]) -> _Embedded:
        workspace_id = self.version.document.corpus.workspace_id
        embedded = _Embedded()
        for first in range(0, len(spans), BATCH):
            if first:
                self.run.check()
                if self._total is None:
                    done = spans[first].ordinal
                    total = spans[-1].ordinal + 1
                    self.run.progress(done, total, stage=INDEXING, unit=gettext_noop("passages"))
            batch = spans[first : first + BATCH]
            texts = [self._embedded_text(part, span) for span in batch]
            embedded.texts += texts
            embedded.vectors += embed(texts, bulk=True)
            for encoder, vectors in encoders.embed_by_tuned(workspace_id, texts, bulk=True).items():
                embedded.by_tuned.setdefault(encoder, []).extend(vectors)
        vector_space.check_width(embedded.vectors)
        return embedded

    def _embedded_text(self, part: Reading, span: Span) -> str:
        text = self._text_of(part, span)
        return embedded_text(self.version.document, span.heading, text)

    def _text_of(self, part: Reading, span: Span) -> str:
        return part.text[span.start - self._offset : span.end - self._offset]

    def _store(
        self,
        part: Reading,
        spans: list[Span],
        embedded: _Embedded,
        *,
        last: bool = False,
    ) -> None:
        run, version = self.run, self.version
        workspace_id = version.document.corpus.workspace_id
        with run.transaction():
            encoders.writing(workspace_id)
            _lock(version)
            DocumentVersion.objects.filter(pk=version.pk).update(
                text=Concat("text", Value(part.text)),
                blocks=_appended("blocks", part.blocks),
                page_starts=_appended("page_starts", part.page_starts),
                notes=_appended("notes", part.notes),
                state=State.READY if last else State.EMBEDDING,
                error="",
                ready_at=Now() if last else None,
            )
            chunk_texts = [self._text_of(part, span) for span in spans]
            chunks = store_chunks(version, spans, chunk_texts, embedded.vectors)
            encoders.keep_up(workspace_id, chunks, embedded.texts, embedded.by_tuned)
            replaced = Q(current_version=None)
            if last:
                replaced |= Q(current_version__number__lt=version.number)
            switched = Document.objects.filter(replaced, pk=version.document_id).update(
                current_version=version
            )
            if switched or Document.objects.filter(current_version=version.pk).exists():
                content_changed(version.document.corpus_id)
                self._follow_changed_rights()
            if last:
                tell_ready(version, num_chunks=self._splitter.num_chunks)
            else:
                run.save_cursor(
                    {
                        "pages": self._pages,
                        "characters": self._assembly.position,
                        "previous": self._assembly.previous,
                        "path": self._splitter.path,
                        "chunks": self._splitter.num_chunks,
                    }
                )
        self._offset = self._assembly.position
        self._stored_at = time.monotonic()
        if self._total is not None:
            run.progress(self._pages, self._total)
        elif last:
            done = self._splitter.num_chunks
            run.progress(done, done, unit=gettext_noop("passages"), stage=INDEXING)

    def _follow_changed_rights(self) -> None:
        """Someone may have changed the lists since the version was loaded. `content_changed` has
        locked the corpus, and so does every such change first, so nobody is in the middle of one."""
        before = self.version.document
        now = Document.objects.select_related("corpus__workspace").get(pk=before.pk)
        if (access_of(now), metadata_of(now)) != (access_of(before), metadata_of(before)):
            hand_down(now)
            self.version.document = now


def tell_ready(version: DocumentVersion, *, num_chunks: int) -> None:
    """The webhook event of a version that is searched from now on."""
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


def _appended(name: str, more: list[Any]) -> Func:
    """A JSON list column with more at its end, without sending what it holds."""
    return Func(F(name), Value(more, JSONField()), template="(%(expressions)s)", arg_joiner=" || ")


def embedded_text(document: Document, heading: str, text: str) -> str:
    """The chunk under its headings: a paragraph often doesn't repeat what it is about."""
    place = SEPARATOR.join(each for each in (document.title, heading) if each)
    return f"{place}\n{text}"


def indexed_words(document: Document, heading: str, text: str) -> CombinedExpression:
    """The chunk's words for the full-text index; those of its headings count for less. The same as
    `store_chunks` writes."""
    place = f"{document.title} {heading}"
    return SearchVector(Value(searchable(place)), config="english", weight="B") + SearchVector(
        Value(searchable(text)), config="english", weight="A"
    )


def store_chunks(
    version: DocumentVersion,
    spans: Sequence[Span],
    texts: Sequence[str],
    vectors: Sequence[Sequence[float]],
) -> list[Chunk]:
    """In the order of the spans, with nothing but the primary keys.

    One statement over arrays: building a model and an expression for each chunk, and reading back
    the words that PostgreSQL worked out, took longer than everything else around a document.
    """
    document = version.document
    values: dict[str, Any] = {
        "version": version.pk,
        "workspace": document.corpus.workspace_id,
        "access": access_of(document),
        "metadata": json.dumps(metadata_of(document)),
        "ordinal": [span.ordinal for span in spans],
        "start": [span.start for span in spans],
        "end": [span.end for span in spans],
        "page": [span.page for span in spans],
        "heading": [span.heading for span in spans],
        "parent_start": [span.parent_start for span in spans],
        "parent_end": [span.parent_end for span in spans],
        "text": list(texts),
        "place_words": [searchable(f"{document.title} {span.heading}") for span in spans],
        "words": [searchable(text) for text in texts],
        "embedding": [_written(vector) for vector in vectors],
    }
    with connection.cursor() as cursor:
        cursor.execute(_STORE, values)
        keys = dict(cursor.fetchall())
    return [Chunk(pk=keys[span.ordinal]) for span in spans]


_STORE = """
INSERT INTO knowledge_chunk (
    version_id, workspace_id, ordinal, start, "end", page, heading, parent_start, parent_end, text,
    search_text, access, metadata, embedding, search
)
SELECT %(version)s, %(workspace)s, ordinal, start, "end", page, heading, parent_start, parent_end, text,
    '', %(access)s::varchar[], %(metadata)s::jsonb, embedding::halfvec,
    setweight(to_tsvector('english', place_words), 'B')
    || setweight(to_tsvector('english', words), 'A')
FROM unnest(
    %(ordinal)s::int[], %(start)s::int[], %(end)s::int[], %(page)s::int[], %(heading)s::text[],
    %(parent_start)s::int[], %(parent_end)s::int[], %(text)s::text[], %(place_words)s::text[],
    %(words)s::text[], %(embedding)s::text[]
) AS row (
    ordinal, start, "end", page, heading, parent_start, parent_end, text, place_words, words, embedding
)
ORDER BY ordinal
RETURNING ordinal, id
"""


def _written(vector: Sequence[float]) -> str:
    """In pgvector's text form; half precision has no more than five digits."""
    return "[" + ",".join(["%.5g"] * len(vector)) % tuple(vector) + "]"


def _wait_for_server(run: JobRun, version: DocumentVersion, error: ModelUnavailable) -> None:
    """Raises `Retry`; the last attempt fails the version."""
    if run.job.attempt >= run.job.max_attempts:
        unreachable = gettext_noop("The embedding server could not be reached: %(reason)s")
        _fail(run, version, Sentence(unreachable, {"reason": sentence_of(error)}))
    else:
        run.progress(run.job.done, run.job.total, stage=WAITING)
    seconds = min(FIRST_WAIT_SECONDS * 2 ** (run.job.attempt - 1), LONGEST_WAIT_SECONDS)
    raise Retry(sentence_of(error), after_seconds=seconds) from error


def given_up(job: Job) -> None:
    """The workers died too often at this document: say so where a handler would have."""
    version = (
        DocumentVersion.objects.without_text()
        .select_related("document__corpus__workspace")
        .filter(pk=job.payload["version_id"], state__in=DocumentVersion.UNFINISHED)
        .first()
    )
    if version is not None:
        _declare_failed(version, job.reason)


def _fail(run: JobRun, version: DocumentVersion, cause: Sentence) -> None:
    with run.transaction():
        _declare_failed(version, cause)


def _declare_failed(version: DocumentVersion, cause: Sentence) -> None:
    """A first version of which some parts were searched already is so no longer."""
    if DocumentVersion.objects.filter(pk=version.pk).update(
        state=State.FAILED, error=cause.text, error_values=cause.stored_values()
    ):
        searched = Document.objects.filter(current_version=version.pk)
        if searched.update(current_version=None):
            content_changed(version.document.corpus_id)
        emit(
            version.document.corpus.workspace,
            "document.failed",
            subject=version.document_id,
            data={
                "document_id": str(version.document_id),
                "version_id": str(version.pk),
                "version": version.number,
                "error": str(cause),
            },
        )


def _begin(run: JobRun, version: DocumentVersion) -> None:
    with run.transaction():
        _lock(version)
        if run.cursor and "characters" not in run.cursor:
            # Of a program that stored the text before the chunks.
            version.chunks.all().delete()
            version.text, version.blocks, version.page_starts, version.notes = "", [], [], []
            version.save(update_fields=["text", "blocks", "page_starts", "notes"])
        DocumentVersion.objects.filter(pk=version.pk).update(state=State.PARSING, error="")


def _lock(version: DocumentVersion) -> None:
    """Hold the version's row until the transaction ends. Raises `_Deleted` when it is gone."""
    rows = DocumentVersion.objects.select_for_update(no_key=True).filter(pk=version.pk)
    if not rows.exists():
        raise _Deleted(version.pk)
