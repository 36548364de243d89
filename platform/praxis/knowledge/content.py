"""What a corpus hands down to its chunks, and the number that says that its content has changed."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from praxis.answer_cache.services import forget_corpus
from praxis.knowledge.models import Chunk, Corpus, Document


def content_changed(corpus_id: UUID) -> None:
    """Call it in the transaction of every change of what search can find in the corpus.

    `Corpus.content_version` grows, so that whatever was worked out from the earlier content no
    longer matches, and the cached answers from it are deleted. It also locks the corpus's row: a
    change of access or metadata calls it first, see `ingestion`.
    """
    Corpus.objects.filter(pk=corpus_id).update(content_version=F("content_version") + 1)
    forget_corpus(corpus_id)


def access_of(document: Document) -> list[str]:
    """Who may find the document's chunks: its own list, else the corpus's; empty is everyone."""
    return list(document.access or document.corpus.access)


def metadata_of(document: Document) -> dict[str, Any]:
    """The corpus's metadata with the document's own on top."""
    return {**document.corpus.metadata, **document.metadata}


def revise(document: Document, **changes: Any) -> None:
    """Change a document's title, access list or metadata, at once for what search finds of it."""
    with transaction.atomic():
        content_changed(document.corpus_id)
        for name, value in changes.items():
            setattr(document, name, value)
        document.save(update_fields=list(changes))
        if {"access", "metadata"} & changes.keys():
            hand_down(document)


def revise_corpus(corpus: Corpus, **changes: Any) -> None:
    """Change fields of a corpus; its documents follow a new access list or metadata."""
    with transaction.atomic():
        content_changed(corpus.pk)
        for name, value in changes.items():
            setattr(corpus, name, value)
        # Only these: the row's version is changed by others.
        corpus.save(update_fields=list(changes))
        if {"access", "metadata"} & changes.keys():
            hand_down_corpus(corpus)


def hand_down(document: Document) -> None:
    """Bring the document's chunks in line after a change of access or metadata."""
    Chunk.objects.filter(version__document=document).update(
        access=access_of(document), metadata=metadata_of(document)
    )


def hand_down_corpus(corpus: Corpus) -> None:
    """Bring the chunks of all its documents in line."""
    for document in corpus.documents.select_related("corpus"):
        hand_down(document)
