"""Which encoder a workspace is searched by, and going over from one to another.

The shipped encoder's vectors are a column of the chunks and always there. A workspace may have
encoders tuned for it, whose vectors lie beside (`TunedVector`). While the vectors of one are being
made, search uses those of the old one; when none is missing, one row (`EncoderSwitch`) makes it the
one that search uses, and the old vectors stay for the way back.

Nothing is lost in between because of one lock for each workspace. Whoever writes chunks holds it
shared (`writing`) and writes the vectors of all encoders that are kept up (`keep_up`); whoever
decides that an encoder is kept up, or that none of its vectors is missing, holds it alone. It is
the first lock of each such transaction after the job's own.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db import connection, transaction

from praxis.accounts.models import User, Workspace
from praxis.assistants.language_model import embed
from praxis.integrations.events import emit
from praxis.knowledge.content import content_changed
from praxis.knowledge.models import Chunk, Corpus, Encoder, EncoderSwitch, TunedVector

_LOCK = 20_417
"""The class of the advisory lock; its other half is the workspace."""

Vectors = list[list[float]]


class NotKeptUp(Exception):
    """The encoder was retired, or its vectors were given up, in the meantime."""


def last_switch(workspace_id: UUID) -> EncoderSwitch | None:
    """Which encoder is searched by now, since when, and what it replaced; None: never another than
    the shipped one."""
    return (
        EncoderSwitch.objects.filter(workspace=workspace_id)
        .select_related("encoder__workspace", "previous__workspace", "by")
        .order_by("-id")
        .first()
    )


def encoder_in_use(workspace_id: UUID) -> Encoder | None:
    """None is the shipped one."""
    switch = (
        EncoderSwitch.objects.filter(workspace=workspace_id)
        .select_related("encoder__workspace")
        .order_by("-id")
        .first()
    )
    return switch.encoder if switch else None


def kept_up(workspace_id: UUID) -> list[Encoder]:
    """The tuned encoders of which every chunk needs a vector."""
    return list(
        Encoder.objects.filter(workspace=workspace_id, state__in=Encoder.KEPT_UP)
        .select_related("workspace")
        .order_by("pk")
    )


def _lock(workspace_id: UUID, *, shared: bool) -> None:
    name = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {name}(%s, hashtext(%s))", [_LOCK, str(workspace_id)])


def writing(workspace_id: UUID) -> None:
    """Call it first in a transaction that writes chunks or what is searched of them."""
    _lock(workspace_id, shared=True)


def alone() -> None:
    """Call it first in a transaction that changes the tables of vectors: nobody writes until it ends."""
    for workspace_id in Workspace.objects.order_by("pk").values_list("pk", flat=True):
        _lock(workspace_id, shared=False)


# Vectors of chunks that are written ---------------------------------------------------------------


def embed_by_tuned(
    workspace_id: UUID, texts: Sequence[str], *, bulk: bool = False
) -> dict[UUID, Vectors]:
    """The texts' vectors by each encoder that is kept up; call it before the transaction."""
    return {
        encoder.pk: embed(texts, bulk=bulk, model=encoder.served_name)
        for encoder in kept_up(workspace_id)
    }


def keep_up(
    workspace_id: UUID,
    chunks: Sequence[Chunk],
    texts: Sequence[str],
    ready: Mapping[UUID, Vectors],
) -> None:
    """Store the written chunks' vectors, in the transaction that wrote them after `writing`.

    `ready` are those of `embed_by_tuned`. An encoder that came to be kept up since then has none
    there yet; its vectors are made here, for once within the transaction.
    """
    for encoder in kept_up(workspace_id):
        vectors = ready.get(encoder.pk, [])
        if len(vectors) != len(texts):
            vectors = embed(texts, model=encoder.served_name)
        TunedVector.objects.bulk_create(
            (
                TunedVector(encoder=encoder, chunk=chunk, embedding=vector)
                for chunk, vector in zip(chunks, vectors, strict=True)
            ),
            update_conflicts=True,
            unique_fields=["encoder", "chunk"],
            update_fields=["embedding"],
        )


# Vectors of chunks that are there already ---------------------------------------------------------

_ADD = """
INSERT INTO knowledge_tunedvector (encoder_id, chunk_id, embedding)
SELECT %s, c.id, made.embedding::halfvec
FROM unnest(%s::bigint[], %s::text[]) AS made (id, embedding)
JOIN knowledge_chunk c ON c.id = made.id FOR KEY SHARE OF c
ON CONFLICT DO NOTHING
"""


def begin(encoder: Encoder) -> None:
    """From here on, whoever writes a chunk writes its vector by this encoder too."""
    with transaction.atomic():
        # Of an earlier time: they weren't kept up since.
        TunedVector.objects.filter(encoder=encoder).delete()
        # A transaction that didn't know of it yet must end before a chunk is read for embedding.
        _lock(encoder.workspace_id, shared=False)
        Encoder.objects.filter(pk=encoder.pk).update(state=Encoder.State.INDEXING)
    encoder.state = Encoder.State.INDEXING


def chunks_without_vector(encoder: Encoder, *, after: int, limit: int) -> list[Chunk]:
    with_vector = TunedVector.objects.filter(encoder=encoder).values("chunk")
    return list(
        Chunk.objects.filter(workspace=encoder.workspace_id, pk__gt=after)
        .exclude(pk__in=with_vector)
        .select_related("version__document")
        .only("heading", "text", "search_text", "version__document__title")
        .order_by("pk")[:limit]
    )


def add_vectors(encoder: Encoder, chunks: Sequence[Chunk], vectors: Vectors) -> None:
    """A chunk that was deleted since has none; one that was edited since has a newer one already."""
    with connection.cursor() as cursor:
        cursor.execute(
            _ADD, [encoder.pk, [chunk.pk for chunk in chunks], [str(each) for each in vectors]]
        )


def switch(workspace: Workspace, encoder: Encoder | None, *, by: User | None) -> bool:
    """Search by this encoder from the commit on; False, and nothing done, if a vector is missing.

    Call it in a transaction. Raises `NotKeptUp`. What was searched by before is kept up for the way back; of others that
    were, the caller deletes the vectors (`forget_unused`).
    """
    _lock(workspace.pk, shared=False)
    if encoder is not None and chunks_without_vector(encoder, after=0, limit=1):
        return False
    before = encoder_in_use(workspace.pk)
    if before == encoder:
        return True
    if encoder is not None:
        usable = Encoder.objects.filter(pk=encoder.pk, state__in=Encoder.KEPT_UP)
        if not usable.update(state=Encoder.State.INDEXED):
            raise NotKeptUp(encoder.pk)
    EncoderSwitch.objects.create(workspace=workspace, encoder=encoder, previous=before, by=by)
    kept = [each.pk for each in (encoder, before) if each is not None]
    Encoder.objects.filter(workspace=workspace, state=Encoder.State.INDEXED).exclude(
        pk__in=kept
    ).update(state=Encoder.State.TRAINED)
    # Answers that were made from what the old one found are not given again.
    for corpus in Corpus.objects.filter(workspace=workspace).order_by("pk"):
        content_changed(corpus.pk)
    emit(
        workspace,
        "encoder.promoted",
        subject=encoder.pk if encoder else "shipped",
        data={
            "encoder": encoder.served_name if encoder else None,
            "sha256": encoder.sha256 if encoder else None,
            "previous": before.served_name if before else None,
        },
    )
    return True


def forget_unused(workspace_id: UUID) -> None:
    """Delete the vectors that nobody keeps up any more."""
    unused = Encoder.objects.filter(workspace=workspace_id).exclude(state__in=Encoder.KEPT_UP)
    TunedVector.objects.filter(encoder__in=unused.values("pk")).delete()
