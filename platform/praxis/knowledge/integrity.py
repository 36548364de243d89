"""Proof that the stores agree: rows, chunks, words of the index, cached answers, and files.

`manage.py check_knowledge` runs it over everything; deleting a document runs `left_of` over what it
has just deleted.
"""

import logging
from collections.abc import Collection, Iterator
from datetime import timedelta
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from praxis.answer_cache.models import CachedAnswer
from praxis.knowledge.models import Chunk, DocumentVersion

logger = logging.getLogger(__name__)

FOLDER = "knowledge"
YOUNG = timedelta(hours=1)
"""A file may be there before its row, for as long as an upload lasts."""

_CHUNKS_AND_TEXT = """
SELECT c.id FROM knowledge_chunk c JOIN knowledge_documentversion v ON v.id = c.version_id
WHERE c.text <> substr(v.text, c.start + 1, c."end" - c.start)
"""
_GAPS = """
SELECT version_id FROM knowledge_chunk GROUP BY version_id HAVING count(*) <> max(ordinal) + 1
"""
_TENANTS = """
SELECT c.id FROM knowledge_chunk c
JOIN knowledge_documentversion v ON v.id = c.version_id
JOIN knowledge_document d ON d.id = v.document_id
JOIN knowledge_corpus k ON k.id = d.corpus_id
WHERE c.workspace_id <> k.workspace_id
"""
_COUNTS = """
SELECT coalesce(counted.workspace_id, there.workspace_id) FROM (
    SELECT workspace_id, sum(num_chunks) AS num FROM knowledge_termcount WHERE term = 0
    GROUP BY workspace_id
) counted FULL JOIN (
    SELECT workspace_id, count(*) AS num FROM knowledge_chunk GROUP BY workspace_id
) there USING (workspace_id)
WHERE coalesce(counted.num, 0) <> coalesce(there.num, 0)
"""
_ANSWERS = """
SELECT a.id FROM answer_cache_cachedanswer a, unnest(a.corpora) AS used(id)
LEFT JOIN knowledge_corpus k ON k.id = used.id WHERE k.id IS NULL
"""


def problems() -> Iterator[str]:
    """A line for each thing that doesn't agree; none when all does."""
    for statement, complaint in (
        (_CHUNKS_AND_TEXT, "chunk {}: its text is not the one at its place in the version"),
        (_GAPS, "version {}: a chunk is missing or there twice"),
        (_TENANTS, "chunk {}: it names another workspace than its document"),
        (_COUNTS, "workspace {}: the index counts other chunks than there are"),
        (_ANSWERS, "cached answer {}: a corpus that it was made from is gone"),
    ):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            for (key,) in cursor.fetchall():
                yield complaint.format(key)
    yield from _problems_of_files()


def _problems_of_files() -> Iterator[str]:
    named = set(DocumentVersion.objects.values_list("file", flat=True))
    stored = set(_stored(FOLDER))
    for name in sorted(named - stored):
        if not default_storage.exists(name):
            yield f"file {name}: it is missing"
    for name in sorted(stored - named):
        if timezone.now() - default_storage.get_modified_time(name) > YOUNG:
            yield f"file {name}: no document has it"


def _stored(folder: str) -> Iterator[str]:
    if not default_storage.exists(folder):
        return
    folders, names = default_storage.listdir(folder)
    for name in names:
        yield f"{folder}/{name}"
    for name in folders:
        yield from _stored(f"{folder}/{name}")


def left_of(*, versions: Collection[UUID], files: Collection[str], corpus: UUID) -> list[str]:
    """What is still there of deleted versions; call it after the transaction that deleted them.

    Vectors and words of the index are columns of the chunks, so they go with them.
    """
    left = [f"file {name}" for name in files if default_storage.exists(name)]
    left += [
        f"version {key}"
        for key in DocumentVersion.objects.filter(pk__in=versions).values_list("pk", flat=True)
    ]
    if number := Chunk.objects.filter(version__in=versions).count():
        left.append(f"{number} chunks")
    keys = {str(key) for key in versions}
    for answer in CachedAnswer.objects.filter(corpora__contains=[corpus]).only("events"):
        if any(key in str(answer.events) for key in keys):
            left.append(f"cached answer {answer.pk}")
    if left:
        logger.error("Deleting left something behind: %s", "; ".join(left))
    return left
