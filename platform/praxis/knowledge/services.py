"""Adding and removing documents. Reading them in is the job's part, see `ingestion`."""

import hashlib
import uuid
from pathlib import PurePath
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext_noop

from praxis.accounts.models import User
from praxis.jobs.services import enqueue, request_cancel
from praxis.knowledge.content import content_changed, revise
from praxis.knowledge.integrity import left_of
from praxis.knowledge.models import (
    Corpus,
    Document,
    DocumentVersion,
    DocumentVersionQuerySet,
)
from praxis.knowledge.parsing.blocks import Refused, clean_line
from praxis.knowledge.parsing.formats import check_content, format_of
from praxis.knowledge.parsing.sentences import sentence
from praxis.sentences import Sentence


class UploadRefused(Exception):
    """The file is not taken; the text says why and what to do."""


def find_content(corpus: Corpus, content: bytes) -> DocumentVersion | None:
    """The version with exactly this content, if it is the newest of its document."""
    digest = hashlib.sha256(content).hexdigest()
    return (
        DocumentVersion.objects.newest()
        .filter(document__corpus=corpus, document__key="", sha256=digest)
        .select_related("document__corpus__workspace", "job")
        .order_by("created_at", "pk")
        .first()
    )


def add_document(
    *,
    corpus: Corpus,
    title: str,
    file_name: str,
    content: bytes,
    access: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    created_by: User | None = None,
) -> DocumentVersion:
    """Store the file and start reading it. The same content again returns what is there.

    A document of the corpus with the same title, or whose newest file has the same name, gets a new
    version; its old one is searched until the new one is ready. An empty `title` is taken from the
    file's name. `access` (entries of an access list) and `metadata` hold from the first passage on;
    None leaves what the document has. Raises `UploadRefused`.
    """
    name = clean_line(PurePath(file_name.replace("\\", "/")).name)[-255:]
    title = clean_line(title)[:255]
    try:
        known = format_of(name)
        check_content(known, size=len(content), head=content[:1024])
    except Refused as refusal:
        raise UploadRefused(sentence(refusal.code, refusal.values)) from refusal
    if existing := find_content(corpus, content):
        return existing
    try:
        stored = default_storage.save(
            f"knowledge/{corpus.workspace_id}/{uuid.uuid4().hex}", ContentFile(content)
        )
    except OSError as error:
        raise UploadRefused(
            Sentence(
                gettext_noop(
                    "The server could not store the file (%(cause)s). Tell its operator, then try again."
                ),
                {"cause": error.strerror or type(error).__name__},
            )
        ) from error
    kept = False
    try:
        with transaction.atomic():
            # One upload at a time per corpus decides about duplicates and version numbers.
            locked = Corpus.objects.select_for_update(no_key=True).get(pk=corpus.pk)
            if existing := find_content(locked, content):
                return existing
            document = _document_for(locked, title, name, created_by)
            own = {"access": access, "metadata": metadata}
            if given := {field: value for field, value in own.items() if value is not None}:
                revise(document, **given)
            highest = document.versions.aggregate(highest=Max("number"))["highest"] or 0
            version = DocumentVersion.objects.create(
                document=document,
                number=highest + 1,
                file=stored,
                file_name=name,
                media_type=known.media_type,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            version.job = enqueue(
                kind="knowledge.ingest",
                workspace=corpus.workspace,
                payload={"version_id": str(version.pk)},
                created_by=created_by,
            )
            version.save(update_fields=["job"])
        kept = True
    finally:
        if not kept:
            default_storage.delete(stored)
    return version


def _document_for(corpus: Corpus, title: str, file_name: str, created_by: User | None) -> Document:
    title = title or PurePath(file_name).stem
    if document := corpus.documents.filter(title=title, key="").first():
        return document
    same_file = (
        DocumentVersion.objects.newest()
        .filter(document__corpus=corpus, document__key="", file_name=file_name)
        .select_related("document")
        .first()
    )
    if same_file is not None:
        return same_file.document
    return Document.objects.create(corpus=corpus, title=title, created_by=created_by)


def delete_document(document: Document) -> None:
    """Remove the document with its versions, chunks, vectors, cached answers and files; what is left
    behind all the same is logged, see `integrity.left_of`."""
    with transaction.atomic():
        _stop_and_forget_files(DocumentVersion.objects.filter(document=document), document.corpus)
        document.delete()
        content_changed(document.corpus_id)


def delete_corpus(corpus: Corpus) -> None:
    """Remove the corpus with all its documents, as `delete_document` does."""
    with transaction.atomic():
        _stop_and_forget_files(DocumentVersion.objects.filter(document__corpus=corpus), corpus)
        content_changed(corpus.pk)
        corpus.delete()


def _stop_and_forget_files(versions: DocumentVersionQuerySet, corpus: Corpus) -> None:
    """Ask the jobs to stop; once the rows are gone for good, delete the files and look again."""
    corpus_id = corpus.pk
    ids: list[uuid.UUID] = []
    names: list[str] = []
    for version in versions.without_text().select_related("job"):
        ids.append(version.pk)
        names.append(str(version.file))
        if version.job is not None and not version.job.is_finished:
            # The job's row is locked first here and in `JobRun.transaction`, so neither waits for
            # the other in a circle.
            request_cancel(version.job)

    def delete_files() -> None:
        for name in names:
            default_storage.delete(name)
        left_of(versions=ids, files=names, corpus=corpus_id)

    transaction.on_commit(delete_files)
