"""The vector index at size: recall against exact search, and the time of a search.

Chunks with synthetic vectors go into the product's own table in an embedded PostgreSQL, 99 of 100 into
a large workspace and one into a small one, both in the same index; then questions go through
`praxis.knowledge.search.search`. `recall10`: how many of the true ten nearest (compared one by one in
float32, by numpy) are among the first ten. `ms_p95`: of the whole search without the question's
encoding. Sizes are 100,000 and 1,000,000 (`--limit N` takes N instead, then only that).

The vectors are drawn as sentence embeddings lie: topics, within them clusters about as large as a
document, and directions of falling variance; the cosine of neighbours and of strangers is printed. The
chunks have no words, so that only this leg works.
"""

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

WIDTH = 384
SIZES = (100_000, 1_000_000)
QUESTIONS = 200
WIDER = (400,)
"""Other values of the setting `ef_search`, for the large workspace."""
DOCUMENT = 100
"""Chunks of a document."""
SHARE = 100
"""One of so many chunks belongs to the small workspace."""
BLOCK = 20_000
NO_WORDS = bytes(4)
"""An empty `tsvector` as PostgreSQL sends it."""
FILLER = 500
"""Characters of a chunk's text, so that its row is about as long as a real one."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="praxis-bench-") as directory:
        return measured([args.limit] if args.limit else list(SIZES), Path(directory), args.seed)


def measured(sizes: list[int], directory: Path, seed: int) -> dict[str, Any]:
    from praxis.local.services import embedded_services

    with embedded_services(directory, durable=False) as (database, cache):
        os.environ.update(
            DATABASE_URL=database,
            REDIS_URL=cache,
            PRAXIS_VAR=str(directory),
            DJANGO_SETTINGS_MODULE="praxis.settings",
        )
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        figures: dict[str, Any] = {"n": 0}
        for size in sizes:
            of_size = measure(size, seed)
            figures["n"] += QUESTIONS
            figures |= {f"{name}_{size}": value for name, value in of_size.items()}
            figures |= {name: of_size[name] for name in ("recall10", "ms_p95")}
        connections.close_all()
    return figures


def measure(size: int, seed: int) -> dict[str, float]:
    from django.db import connection

    from praxis.accounts.models import Workspace
    from praxis.knowledge.models import HNSW_EF_CONSTRUCTION, HNSW_M

    generator = np.random.default_rng(seed)
    space = Space(generator, size)
    questions = space.draw(QUESTIONS)
    large, small = (
        Workspace.objects.create(name=name, slug=f"{name}-{size}") for name in ("large", "small")
    )
    with connection.cursor() as cursor:
        # As an administrator would before a large import; it is built again as the migration does.
        cursor.execute("DROP INDEX IF EXISTS chunk_nearest")
    nearest = fill(space, size, questions, large, small)
    with connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute("SET maintenance_work_mem = '3GB'")
        cursor.execute("SET max_parallel_maintenance_workers = %s", [(os.cpu_count() or 1) - 1])
        cursor.execute(
            "CREATE INDEX chunk_nearest ON knowledge_chunk"
            " USING hnsw (embedding halfvec_cosine_ops)"
            f" WITH (m = {HNSW_M}, ef_construction = {HNSW_EF_CONSTRUCTION})"
        )
        build_seconds = time.perf_counter() - started
        cursor.execute("SELECT pg_relation_size('chunk_nearest'), pg_table_size('knowledge_chunk')")
        index_bytes, table_bytes = cursor.fetchone()
        cursor.execute("ANALYZE")
    of_large = search_all(large, questions, nearest[large.pk])
    wider = {
        f"{name}_ef{ef_search}": value
        for ef_search in WIDER
        for name, value in search_all(
            large, questions, nearest[large.pk], ef_search=ef_search
        ).items()
    }
    of_small = search_all(small, questions, nearest[small.pk])
    cosine = nearest_cosine(nearest[large.pk])
    large.delete()
    small.delete()
    return {
        **of_large,
        **wider,
        **{f"small_{name}": value for name, value in of_small.items()},
        "build_seconds": round(build_seconds, 1),
        "index_mb": round(index_bytes / 2**20),
        "table_mb": round(table_bytes / 2**20),
        "cosine_of_10th": round(cosine, 3),
    }


class Space:
    """Where the vectors are drawn: a mixture of mixtures with falling variance."""

    def __init__(self, generator: np.random.Generator, size: int) -> None:
        self._generator = generator
        self._spread = (np.arange(1, WIDTH + 1) ** -0.35).astype(np.float32)
        self._topics = self._noise(max(20, size // 5_000))
        self._clusters = 0.7 * self._noise(max(200, size // 50))
        self._topic_of = generator.integers(len(self._topics), size=len(self._clusters))

    def draw(self, count: int) -> Vectors:
        """(count, WIDTH), float32, each of length 1."""
        cluster = self._generator.integers(len(self._clusters), size=count)
        vectors = self._topics[self._topic_of[cluster]] + self._clusters[cluster]
        vectors = vectors + 0.7 * self._noise(count)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _noise(self, count: int) -> Vectors:
        return self._generator.standard_normal((count, WIDTH), dtype=np.float32) * self._spread


Nearest = dict[Any, list[list[tuple[float, int]]]]
"""By workspace, for each question: the cosine and chunk number of the nearest so far."""


def fill(space: Space, size: int, questions: Vectors, *workspaces: Any) -> Nearest:
    """Write the chunks, and compare every one with every question on the way."""
    from django.db import connection
    from pgvector.psycopg import register_vector

    connection.ensure_connection()
    assert connection.connection is not None
    register_vector(connection.connection)
    large, small = workspaces
    nearest: Nearest = {large.pk: [[] for _ in questions], small.pk: [[] for _ in questions]}
    for workspace, share in ((small, size // SHARE), (large, size - size // SHARE)):
        versions = documents(workspace, share)
        for start in range(0, share, BLOCK):
            vectors = space.draw(min(BLOCK, share - start))
            first = write(workspace, versions, start, vectors)
            keep_nearest(nearest[workspace.pk], questions @ vectors.T, first)
    return nearest


def documents(workspace: Any, num_chunks: int) -> list[uuid.UUID]:
    """Versions for so many chunks, each the current one of its document."""
    from django.db import connection

    from praxis.knowledge.models import Corpus, Document, DocumentVersion

    corpus = Corpus.objects.create(workspace=workspace, name="synthetic")
    count = -(-num_chunks // DOCUMENT)
    rows = Document.objects.bulk_create(
        [Document(corpus=corpus, title=f"{number}") for number in range(count)], batch_size=5_000
    )
    versions = DocumentVersion.objects.bulk_create(
        [
            DocumentVersion(
                document=document,
                number=1,
                file="-",
                file_name="-",
                media_type="text/plain",
                size=1,
                sha256="0" * 64,
                text="-",
                state=DocumentVersion.State.READY,
            )
            for document in rows
        ],
        batch_size=5_000,
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE knowledge_document d SET current_version_id = v.id"
            " FROM knowledge_documentversion v WHERE v.document_id = d.id AND d.corpus_id = %s",
            [corpus.pk],
        )
    return [version.pk for version in versions]


def write(workspace: Any, versions: list[uuid.UUID], start: int, vectors: Vectors) -> int:
    """The id of the first; the others follow it."""
    from django.db import connection
    from pgvector import HalfVector

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM knowledge_chunk")
        [first] = cursor.fetchone()
        filler = os.urandom(FILLER // 2).hex()
        with cursor.copy(
            'COPY knowledge_chunk (id, version_id, workspace_id, ordinal, start, "end", heading,'
            " text, search_text, embedding, search) FROM STDIN WITH (FORMAT BINARY)"
        ) as copy:
            copy.set_types("int8 uuid uuid int4 int4 int4 text text text halfvec bytea".split())
            for offset, vector in enumerate(vectors):
                number = start + offset
                copy.write_row(
                    (
                        first + offset,
                        versions[number // DOCUMENT],
                        workspace.pk,
                        number % DOCUMENT,
                        0,
                        1,
                        "",
                        filler,
                        "",
                        HalfVector(vector),
                        NO_WORDS,
                    )
                )
        cursor.execute("SELECT setval('knowledge_chunk_id_seq', %s)", [first + len(vectors)])
    return int(first)


def keep_nearest(kept: list[list[tuple[float, int]]], cosines: Vectors, first: int) -> None:
    for place, row in enumerate(cosines):
        best = np.argpartition(-row, min(10, len(row) - 1))[:10]
        kept[place] = sorted(
            [*kept[place], *((float(row[one]), first + int(one)) for one in best)], reverse=True
        )[:10]


def nearest_cosine(kept: list[list[tuple[float, int]]]) -> float:
    return float(np.mean([each[-1][0] for each in kept]))


def search_all(
    workspace: Any,
    questions: Vectors,
    nearest: list[list[tuple[float, int]]],
    *,
    ef_search: int | None = None,
) -> dict[str, float]:
    from praxis.accounts.access import Principal
    from praxis.accounts.models import Role
    from praxis.knowledge import search as searching
    from praxis.knowledge import vector_space
    from praxis.knowledge.search_settings import SearchSettings

    settings = SearchSettings(ef_search=ef_search) if ef_search else None
    vector_space.check = lambda: None  # there is no encoder to ask
    principal = Principal(workspace=workspace, role=Role.OWNER)
    hits: list[float] = []
    seconds: list[float] = []
    for _round in ("to warm the caches", "to measure"):
        hits, seconds = [], []
        for question, wanted in zip(questions, nearest, strict=True):
            searching.embed = partial(_vector_of_question, question.tolist())
            started = time.perf_counter()
            found = searching.search(
                principal=principal, query="?", limit=10, settings=settings
            ).found
            seconds.append(time.perf_counter() - started)
            hits.append(len({each.chunk_id for each in found} & {key for _, key in wanted}) / 10)
    return {
        "recall10": round(float(np.mean(hits)), 4),
        "ms_p50": round(1000 * float(np.quantile(seconds, 0.5)), 1),
        "ms_p95": round(1000 * float(np.quantile(seconds, 0.95)), 1),
    }


def _vector_of_question(
    vector: list[float], texts: Sequence[str], *, model: str = ""
) -> list[list[float]]:
    """In place of the embedding server."""
    return [vector]
