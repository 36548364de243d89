"""Finding passages: nearest vectors and matching words in one query, fused at score level.

Rights are part of the query itself: a chunk is a candidate only if its workspace is the caller's,
its corpus is one of those asked for, and its version is the current one of its document. The two
legs are normalised over the candidates (minimum to maximum) and added with `SearchSettings`'
weights; that decides the order. How relevant a passage is at all is another question, because the
best of nothing is also normalised to 1: `Passage.score` answers it, see `relevance`.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection, transaction
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import Workspace
from praxis.assistants.contract import ModelUnavailable, Passage
from praxis.assistants.language_model import embed
from praxis.knowledge.access import corpora_of
from praxis.knowledge.fulltext import cjk_share, searchable

logger = logging.getLogger(__name__)

MAX_QUERY_CHARACTERS = 2_000


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What a workbench may change; the defaults are what every assistant uses."""

    vector_weight: float = 0.6
    text_weight: float = 0.4
    num_candidates: int = 50
    """Of each leg."""
    ef_search: int = 100
    """How far the vector index looks around; more is slower and misses less."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A chunk with what each leg made of it."""

    chunk_id: int
    version_id: UUID
    document_id: UUID
    corpus_id: UUID
    title: str
    heading: str
    text: str
    start: int
    end: int
    page: int | None
    cosine: float | None
    """None when the embedding server did not answer."""
    rank: float
    """Of the words; 0 when none matches."""
    coverage: float
    """How much of the query's words the chunk holds, from 0 to 1."""
    fused: float


# Each leg holds the caller's rights itself. It is a join on a unique key with conditions whose
# selectivity is known, so that the planner walks the vector index in order and looks each neighbour
# up (`hnsw.iterative_scan` lets the walk go on until enough of them pass), but sorts exactly where
# the caller may read few chunks.
_READABLE = """
    knowledge_chunk c
    JOIN knowledge_document d ON d.current_version_id = c.version_id
    WHERE c.workspace_id = %(workspace)s AND d.corpus_id = ANY(%(corpora)s)
"""
_SQL = f"""
WITH words AS MATERIALIZED (
    SELECT strip(to_tsvector('english', %(words)s)) AS vector,
           replace(plainto_tsquery('english', %(words)s)::text, ' & ', ' | ')::tsquery AS query
), nearest AS MATERIALIZED (
    SELECT c.id FROM {_READABLE} AND %(vector)s::vector IS NOT NULL
    ORDER BY c.embedding <=> %(vector)s::vector LIMIT %(num_candidates)s
), worded AS MATERIALIZED (
    SELECT c.id, ts_rank_cd(c.search, (SELECT query FROM words), 1) AS rank
    FROM {_READABLE} AND c.search @@ (SELECT query FROM words)
    ORDER BY rank DESC, c.id LIMIT %(num_candidates)s
)
SELECT c.id, c.version_id, d.id, d.corpus_id, d.title, c.heading, c.text, c.start,
       c."end", c.page, 1 - (c.embedding <=> %(vector)s::vector), coalesce(w.rank, 0),
       coalesce((SELECT avg((c.search @@ quote_literal(word)::tsquery)::int)
                 FROM words, unnest(tsvector_to_array(words.vector)) word), 0)::float
FROM (SELECT id FROM nearest UNION SELECT id FROM worded) candidate
JOIN knowledge_chunk c ON c.id = candidate.id
JOIN knowledge_document d ON d.current_version_id = c.version_id
LEFT JOIN worded w ON w.id = c.id
"""  # noqa: S608  (both parts are constants)


def search(*, principal: Principal, assistant: str, query: str, limit: int) -> list[Passage]:
    """The passages that the assistant may cite to the caller, best first, numbered from 1."""
    corpora = [
        corpus.pk
        for corpus in corpora_of(principal).only("pk", "assistants")
        if not corpus.assistants or assistant in corpus.assistants
    ]
    found = search_corpora(workspace=principal.workspace, corpora=corpora, query=query, limit=limit)
    return as_passages(principal.workspace, query, found)


def search_corpora(
    *,
    workspace: Workspace,
    corpora: Sequence[UUID],
    query: str,
    limit: int,
    settings: SearchSettings | None = None,
) -> list[Found]:
    """The best chunks of these corpora of the workspace, with each leg's figures.

    Without an embedding server the words alone decide, and the log says so.
    """
    settings = settings or SearchSettings()
    query = query[:MAX_QUERY_CHARACTERS].replace("\x00", " ").strip()
    if not query or not corpora:
        return []
    try:
        vector = str(embed([query])[0])
    except ModelUnavailable as error:
        logger.warning("Searching by words only: %s", error)
        vector = None
    # Planner settings hold for this transaction only.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),"
            " set_config('hnsw.ef_search', %s, true)",
            [str(settings.ef_search)],
        )
        cursor.execute(
            _SQL,
            {
                "workspace": workspace.pk,
                "corpora": list(corpora),
                "words": searchable(query),
                "vector": vector,
                "num_candidates": settings.num_candidates,
            },
        )
        rows = cursor.fetchall()
    cosines = _normalised([row[10] or 0.0 for row in rows])
    ranks = _normalised([row[11] for row in rows])
    found = [
        Found(
            chunk_id=row[0],
            version_id=row[1],
            document_id=row[2],
            corpus_id=row[3],
            title=row[4],
            heading=row[5],
            text=row[6],
            start=row[7],
            end=row[8],
            page=row[9],
            cosine=row[10],
            rank=row[11],
            coverage=row[12],
            fused=settings.vector_weight * cosine + settings.text_weight * rank,
        )
        for row, cosine, rank in zip(rows, cosines, ranks, strict=True)
    ]
    return sorted(found, key=lambda each: (-each.fused, each.chunk_id))[:limit]


def _normalised(scores: list[float]) -> list[float]:
    """From 0 for the lowest to 1 for the highest; all equal and above 0 are all 1."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if high == low:
        return [float(high > 0)] * len(scores)
    return [(score - low) / (high - low) for score in scores]


# A logistic regression of "is the best passage about the question's subject?" on 250 answerable and
# 300 unanswerable MedQuAD questions (area under the curve 0.976), intercept moved from -11.5 to -9
# because those questions always name their subject and people often paraphrase it. There: 99 % of
# the answerable score above 0.5, 16 % of the unanswerable of the same domain; questions of another
# domain score below 0.01.
_COSINE_SLOPE, _COVERAGE_SLOPE, _INTERCEPT = 12.0, 4.0, -9.0


def relevance(query: str, found: Found) -> float:
    """How likely the chunk is about the query at all, from 0 to 1; comparable between queries.

    The shipped encoder knows English. A query in Chinese, like one without a vector, is judged by
    the share of its words that the chunk holds.
    """
    if found.cosine is None or cjk_share(query) > 0.3:
        return found.coverage
    logit = _COSINE_SLOPE * found.cosine + _COVERAGE_SLOPE * found.coverage + _INTERCEPT
    return 1 / (1 + math.exp(-logit))


def as_passages(workspace: Workspace, query: str, found: Sequence[Found]) -> list[Passage]:
    return [
        Passage(
            number=number,
            document_id=str(each.document_id),
            version_id=str(each.version_id),
            chunk_id=str(each.chunk_id),
            title=each.title,
            heading=each.heading,
            text=each.text,
            start=each.start,
            end=each.end,
            page=each.page,
            score=round(relevance(query, each), 4),
            url=passage_url(workspace, each.document_id, each.version_id, each.start, each.end),
        )
        for number, each in enumerate(found, 1)
    ]


def passage_url(
    workspace: Workspace, document_id: UUID, version_id: UUID, start: int, end: int
) -> str:
    """The document's page with the span highlighted and scrolled to."""
    page = reverse("knowledge:document", args=[workspace.slug, document_id])
    place = urlencode({"version": version_id, "start": start, "end": end})
    return f"{page}?{place}#passage"
