"""Embedding every passage of the installation anew, by the encoder that is configured now."""

from collections.abc import Callable

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from praxis.assistants.language_model import embed
from praxis.knowledge import encoders, vector_space
from praxis.knowledge.ingestion import embedded_text
from praxis.knowledge.models import (
    EMBEDDING_WIDTH,
    HNSW_EF_CONSTRUCTION,
    HNSW_M,
    Chunk,
    VectorSpace,
)

BATCH = 256

_WAITING = (
    "SELECT id FROM knowledge_chunk WHERE next_embedding IS NULL AND id > %s ORDER BY id LIMIT %s"
)
_ADD = """
UPDATE knowledge_chunk c SET next_embedding = made.embedding::halfvec
FROM unnest(%s::bigint[], %s::text[]) AS made (id, embedding) WHERE c.id = made.id
"""
_INDEX = f"""
CREATE INDEX chunk_nearest_next ON knowledge_chunk
USING hnsw (next_embedding halfvec_cosine_ops)
WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION})
"""
_TAKE_OVER = """
ALTER TABLE knowledge_chunk DROP COLUMN embedding;
ALTER TABLE knowledge_chunk RENAME COLUMN next_embedding TO embedding;
ALTER TABLE knowledge_chunk ALTER COLUMN embedding SET NOT NULL;
ALTER INDEX chunk_nearest_next RENAME TO chunk_nearest
"""


def change_encoder(report: Callable[[int, int], None]) -> bool:
    """Embed every passage by the configured encoder; the index goes over at the end, at once.

    Until then search goes by words, because questions can no longer be embedded as the passages
    were. May be killed and run again: what is embedded stays. `report` gets how many passages are
    done, and of how many. False if the index is this encoder's already. Raises `ModelUnavailable`
    and `vector_space.OtherEncoder`.
    """
    probe = vector_space.probed()
    made_by, _created = VectorSpace.objects.get_or_create(
        id=1, defaults={"name": "", "width": EMBEDDING_WIDTH, "probe": []}
    )
    if vector_space.is_same(made_by.probe, probe):
        return False
    with connection.cursor() as cursor:
        if not vector_space.is_same(made_by.next_probe or [], probe):
            _begin(cursor, made_by, probe)
        done = _count(cursor, "next_embedding IS NOT NULL")
        total = _count(cursor, "true")
        after = 0
        while batch := _waiting(cursor, after):
            _add(cursor, batch)
            after = batch[-1].pk
            done += len(batch)
            report(done, max(done, total))
        cursor.execute("DROP INDEX IF EXISTS chunk_nearest_next")  # of an attempt before
        cursor.execute(_INDEX)
        with transaction.atomic():
            encoders.alone()
            while batch := _waiting(cursor, 0):  # stored since
                _add(cursor, batch)
            cursor.execute(_TAKE_OVER)
            vector_space.adopt(cursor, probe)
    vector_space.forget()
    return True


def _begin(cursor: CursorWrapper, made_by: VectorSpace, probe: list[float]) -> None:
    with transaction.atomic():
        cursor.execute("ALTER TABLE knowledge_chunk DROP COLUMN IF EXISTS next_embedding")
        cursor.execute(
            f"ALTER TABLE knowledge_chunk ADD COLUMN next_embedding halfvec({len(probe)})"
        )
        # As the column that it replaces: out of line, each comparison would cost a look-up.
        cursor.execute("ALTER TABLE knowledge_chunk ALTER COLUMN next_embedding SET STORAGE PLAIN")
        made_by.next_probe = probe
        made_by.save(update_fields=["next_probe"])


def _count(cursor: CursorWrapper, condition: str) -> int:
    cursor.execute(f"SELECT count(*) FROM knowledge_chunk WHERE {condition}")  # noqa: S608
    (number,) = cursor.fetchone()
    return int(number)


def _waiting(cursor: CursorWrapper, after: int) -> list[Chunk]:
    cursor.execute(_WAITING, [after, BATCH])
    return list(
        Chunk.objects.filter(pk__in=[row[0] for row in cursor.fetchall()])
        .select_related("version__document")
        .only("heading", "text", "search_text", "version__document__title")
        .order_by("pk")
    )


def _add(cursor: CursorWrapper, chunks: list[Chunk]) -> None:
    texts = [
        embedded_text(chunk.version.document, chunk.heading, chunk.searched_text)
        for chunk in chunks
    ]
    vectors = embed(texts, bulk=True)
    cursor.execute(_ADD, [[chunk.pk for chunk in chunks], [str(each) for each in vectors]])
