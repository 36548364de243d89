"""Live records of another system (a product, an order) by its key: searchable when the call returns.

A record is small and comes as data, not as a file, so no job and no reader is needed: it is cut,
embedded and stored within the request. What changes makes a version; an answer's citation of the
one before still opens. The passages of the one before are deleted, or a price that changes every
minute would fill the index.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from praxis.accounts.models import User
from praxis.assistants.language_model import embed
from praxis.knowledge import encoders, vector_space
from praxis.knowledge.chunking import Splitter
from praxis.knowledge.content import content_changed, revise
from praxis.knowledge.ingestion import embedded_text, store_chunks, tell_ready
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
from praxis.knowledge.parsing.assembly import assemble
from praxis.knowledge.parsing.blocks import (
    Block,
    Page,
    clean_line,
    clean_lines,
    record,
    strip_invisible,
)

MAX_BYTES = 64 * 1024
LONG_CHARACTERS = 200
"""A value from here on is a paragraph under its name instead of a part of the record's line."""
_KEY = re.compile(r"[^\s/\x00-\x1f](?:[^/\x00-\x1f]*[^\s/\x00-\x1f])?")


class RecordRefused(Exception):
    """The record is not taken; the text says why and what to do."""


def put_record(
    *,
    corpus: Corpus,
    key: str,
    fields: Mapping[str, Any],
    title: str = "",
    metadata: Mapping[str, Any] | None = None,
    access: list[str] | None = None,
    created_by: User | None = None,
) -> tuple[DocumentVersion, bool]:
    """Store the record and make it searchable; the flag tells whether it is a new version.

    `access`: entries of its access list; None leaves the list as it is. Raises `RecordRefused`, and `ModelUnavailable` when it can't be embedded: nothing is stored then.
    """
    if len(key) > 200 or not _KEY.fullmatch(key):
        raise RecordRefused(
            _("A key has 1 to 200 characters, none of them a slash or a control character.")
        )
    content = json.dumps(
        {"title": title, "fields": fields, "metadata": metadata or {}},
        ensure_ascii=False,
        sort_keys=True,
    ).encode()
    if len(content) > MAX_BYTES:
        raise RecordRefused(
            _(
                "The record has %(size)s bytes; at most %(limit)s are taken. Upload long texts as files."
            )
            % {"size": len(content), "limit": MAX_BYTES}
        )
    digest = hashlib.sha256(content).hexdigest()
    if same := _current(corpus, key, digest):
        if access is not None and same.document.access != access:
            revise(same.document, access=access)
        return same, False
    reading = assemble([Page(1, None, _blocks(fields), _notes(content))])
    if not reading.text:
        raise RecordRefused(_("The record holds no text. Send at least one field with a value."))
    document = Document(corpus=corpus, key=key, title=clean_line(title)[:255] or key)
    spans = Splitter(title=document.title).split(reading.text, 0, reading.blocks, [])
    texts = [reading.text[span.start : span.end] for span in spans]
    embedded = [
        embedded_text(document, span.heading, text) for span, text in zip(spans, texts, strict=True)
    ]
    vector_space.check()
    vectors = embed(embedded)
    vector_space.check_width(vectors)
    by_tuned = encoders.embed_by_tuned(corpus.workspace_id, embedded)
    stored = default_storage.save(
        f"knowledge/{corpus.workspace_id}/{uuid.uuid4().hex}", ContentFile(content)
    )
    values: dict[str, Any] = {"title": document.title, "metadata": dict(metadata or {})}
    if access is not None:
        values["access"] = access
    kept = False
    try:
        with transaction.atomic():
            encoders.writing(corpus.workspace_id)
            # One write at a time per corpus decides about version numbers.
            locked = Corpus.objects.select_for_update(no_key=True).get(pk=corpus.pk)
            if same := _current(locked, key, digest):
                return same, False
            document, _created = Document.objects.update_or_create(
                corpus=locked,
                key=key,
                defaults=values,
                create_defaults={**values, "created_by": created_by},
            )
            highest = document.versions.aggregate(highest=Max("number"))["highest"] or 0
            version = DocumentVersion.objects.create(
                document=document,
                number=highest + 1,
                file=stored,
                file_name=f"{key}.json",
                media_type="application/json",
                size=len(content),
                sha256=digest,
                text=reading.text,
                blocks=reading.blocks,
                notes=reading.notes,
                state=DocumentVersion.State.READY,
                ready_at=Now(),
            )
            Chunk.objects.filter(version__document=document).delete()
            chunks = store_chunks(version, spans, texts, vectors)
            encoders.keep_up(corpus.workspace_id, chunks, embedded, by_tuned)
            Document.objects.filter(pk=document.pk).update(current_version=version)
            content_changed(locked.pk)
            tell_ready(version, num_chunks=len(spans))
        kept = True
    finally:
        if not kept:
            default_storage.delete(stored)
    return version, True


def _current(corpus: Corpus, key: str, digest: str) -> DocumentVersion | None:
    """The searched version, if it is exactly this."""
    return (
        DocumentVersion.objects.without_text()
        .filter(current_of__corpus=corpus, current_of__key=key, sha256=digest)
        .select_related("document__corpus__workspace")
        .first()
    )


def _blocks(fields: Mapping[str, Any]) -> list[Block]:
    """The short values as one line that names them, each long one as a paragraph under its name."""
    names: list[str] = []
    values: list[str] = []
    long: list[Block] = []
    for name, value in fields.items():
        text = _as_text(value)
        if len(text) > LONG_CHARACTERS or "\n" in text:
            long.append(Block("heading", clean_line(name), 2))
            long += [
                Block("paragraph", line)
                for part in clean_lines(text).split("\n\n")
                if (line := clean_line(part))
            ]
        elif text:
            names.append(name)
            values.append(text)
    line = record(names, values)
    return ([Block("row", line)] if line else []) + long


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(filter(None, map(_as_text, value)))
    if isinstance(value, dict):
        inner = ((name, _as_text(each)) for name, each in value.items())
        return ", ".join(f"{name} {text}" for name, text in inner if text)
    return str(value)


def _notes(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    removed = strip_invisible(content.decode())[1]
    return [("invisible_characters", {"characters": removed})] if removed else []
