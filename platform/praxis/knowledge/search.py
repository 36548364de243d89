"""Finding passages: nearest vectors and matching words, fused, with an explanation of how.

Rights are part of the query itself: a chunk is a candidate only if its workspace is the caller's,
its corpus is one of those asked for, its access list is empty or names the caller, and its version
is the current one of its document. Both legs bring candidates; every candidate then gets both
scores, its cosine and its BM25, whichever leg found it. `SearchSettings.fusion` says how the two
become one, and that decides the order. How relevant a passage is at all is another question,
because the best of nothing is also normalised to 1: `Passage.score` answers it, see `relevance`.
"""

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db import connection, transaction
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import Workspace
from praxis.assistants.contract import ModelUnavailable, Passage
from praxis.assistants.language_model import embed, rerank
from praxis.knowledge import vector_space
from praxis.knowledge.access import access_keys, corpora_of
from praxis.knowledge.encoders import encoder_in_use
from praxis.knowledge.fulltext import cjk_share, searchable
from praxis.knowledge.fusion import by_rank, by_score, normalised
from praxis.knowledge.rewriting import standing_alone
from praxis.knowledge.search_settings import SearchSettings, settings_for
from praxis.knowledge.terms import WeighedQuery, inverse_frequency, weigh

logger = logging.getLogger(__name__)

MAX_QUERY_CHARACTERS = 2_000
NUM_RERANKED = 50
"""Candidates that the reranker reads, the best by fusion."""
EXACT_UP_TO = 10_000
"""Chunks of a workspace up to which every vector is compared. Beyond, the index is walked; a small
share of a large index is found more surely, and about as fast, by looking at all of it."""


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
    bm25: float
    """Of the words; 0 when none matches."""
    coverage: float
    """How much of the query's words the chunk holds, from 0 to 1."""
    version: int
    dated: str
    """When the version was added, as an ISO date."""
    word_share: float = 0.0
    """`bm25` by what the whole query could weigh, words that stand nowhere included."""
    unknown_share: float = 0.0
    """Of the query's weight, what lies on words that stand nowhere in the workspace."""
    lead: float = 0.0
    """By how much `cosine` is above that of the next passages of other documents."""
    vector_rank: int | None = None
    """Its place (from 1) among the nearest; None if that leg did not bring it."""
    text_rank: int | None = None
    vector_score: float = 0.0
    """The cosine, from 0 for the lowest to 1 for the highest of the candidates."""
    text_score: float = 0.0
    fused: float = 0.0
    rerank_score: float | None = None
    """What the reranker made of it; None if it was not asked, or did not answer."""
    reranked: float | None = None
    """Of the fused and the reranker's score, which then decides the order."""
    context: str = ""
    """The passage with what stands around it, if the settings ask for it."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What happened on the way from the question to the passages."""

    question: str
    searched: str
    """The question as it was searched; another text than `question` if it was a follow-up."""
    settings: SearchSettings
    corpora: tuple[UUID, ...]
    words: WeighedQuery | None
    """None when nothing was searched."""
    candidates: tuple[Found, ...] = ()
    """Of both legs, best first; the passages are the first of these that are relevant enough."""
    exact: bool = False
    """Whether every vector was compared, without the index."""
    encoder: str = ""
    """The tuned encoder that was searched by; empty for the shipped one."""
    words_only: bool = False
    """Whether the embedding server did not answer."""
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """By step: `embed`, `search`, `fuse`, `context`, and `rerank` where that was asked for."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "searched": self.searched,
            "settings": self.settings.to_dict(),
            "corpus_ids": [str(corpus) for corpus in self.corpora],
            "words": [asdict(term) for term in self.words.terms] if self.words else [],
            "unknown_words": self.words.num_unknown if self.words else 0,
            "chunks": self.words.num_chunks if self.words else 0,
            "candidates": [_as_dict(found) for found in self.candidates],
            "exact": self.exact,
            "encoder": self.encoder or None,
            "words_only": self.words_only,
            "milliseconds": dict(self.milliseconds),
        }


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    workspace: Workspace
    found: tuple[Found, ...]
    """Best first."""
    explanation: Explanation

    @property
    def passages(self) -> list[Passage]:
        """As an assistant may cite them, numbered from 1."""
        return as_passages(self.workspace, self.explanation.searched, self.found)


def search(
    *,
    principal: Principal,
    query: str,
    limit: int,
    assistant: str = "",
    corpora: Sequence[UUID] | None = None,
    settings: SearchSettings | None = None,
    filters: Mapping[str, Any] | None = None,
    earlier: Sequence[str] = (),
) -> SearchResult:
    """The best passages that the caller may read, and how they were found.

    `assistant`: only what it may search. `corpora`: only these (others of the workspace that the
    caller may not see are left out). `settings`: instead of the stored ones. `filters`: metadata, on
    top of the settings' own. `earlier`: the person's questions before this one, oldest first, for a
    follow-up. Without an embedding server the words alone decide, and the log says so.
    """
    allowed = tuple(
        corpus.pk
        for corpus in corpora_of(principal).only("pk", "assistants").order_by("pk")
        if (corpora is None or corpus.pk in corpora)
        and (not assistant or not corpus.assistants or assistant in corpus.assistants)
    )
    settings = settings or settings_for(principal.workspace, allowed)
    if filters:
        settings = settings.changed(filters={**settings.filters, **filters})
    question = query[:MAX_QUERY_CHARACTERS].replace("\x00", " ").strip()
    searched = standing_alone(question, earlier) if settings.rewrite == "rules" else question
    explanation = Explanation(
        question=question, searched=searched, settings=settings, corpora=allowed, words=None
    )
    if question and allowed:
        explanation = _candidates(principal, explanation)
    if settings.rerank and explanation.candidates:
        explanation = _reranked(explanation)
    found = [
        each
        for each in explanation.candidates
        if not settings.min_relevance or relevance(searched, each) >= settings.min_relevance
    ][:limit]
    started = time.perf_counter()
    found = _with_context(found, settings)
    milliseconds = {**explanation.milliseconds, "context": _since(started)}
    return SearchResult(
        workspace=principal.workspace,
        found=tuple(found),
        explanation=replace(explanation, milliseconds=milliseconds),
    )


# Each leg holds the caller's rights itself. It is a join on a unique key with conditions whose
# selectivity is known, so that the planner walks the vector index in order and looks each neighbour
# up (`hnsw.iterative_scan` lets the walk go on until enough of them pass).
_CHUNKS = """
    knowledge_chunk c
    JOIN knowledge_document d ON d.current_version_id = c.version_id
"""
_MAY_BE_READ = """
    c.workspace_id = %(workspace)s AND d.corpus_id = ANY(%(corpora)s)
    AND (c.access = '{}' OR c.access && %(access)s::varchar[])
    AND (%(filters)s::jsonb IS NULL OR NOT EXISTS (
        SELECT FROM jsonb_each(%(filters)s::jsonb) wanted
        WHERE NOT coalesce(wanted.value @> (c.metadata -> wanted.key), false)
    ))
"""
# The vectors of the shipped encoder are the chunks' own; those of a tuned one lie beside them.
_TUNED = """
    JOIN knowledge_tunedvector t ON t.chunk_id = c.id AND t.encoder_id = %(encoder)s
"""


def _statement(*, tuned: bool, walk: bool) -> str:
    """Both legs' candidates with both scores; the parts are this module's constants.

    `walk` the vector index, or compare every vector.
    """
    vectors = _TUNED if tuned else ""
    distance = f"{'t' if tuned else 'c'}.embedding <=> %(vector)s::halfvec"
    readable = f"{_CHUNKS} {vectors} WHERE {_MAY_BE_READ} AND %(vector)s::halfvec IS NOT NULL"
    if walk:
        nearest = f"""
    SELECT c.id FROM {readable} ORDER BY {distance} LIMIT %(num_candidates)s
"""  # noqa: S608
    else:
        nearest = f"""
    SELECT id FROM (SELECT c.id, {distance} AS distance FROM {readable} OFFSET 0) readable
    ORDER BY distance, id LIMIT %(num_candidates)s
"""  # noqa: S608
    return f"""
WITH nearest AS MATERIALIZED ({nearest}), worded AS MATERIALIZED (
    SELECT c.id FROM {_CHUNKS} WHERE {_MAY_BE_READ}
    AND c.search @@ %(selective)s::tsquery
    ORDER BY c.terms <#> %(weights)s::sparsevec, c.id LIMIT %(num_candidates)s
)
SELECT c.id, c.version_id, d.id, d.corpus_id, d.title, c.heading, c.text, c.start,
       c."end", c.page, %(shift)s::float + %(scale)s::float * (1 - ({distance})),
       coalesce(-(c.terms <#> %(weights)s::sparsevec), 0),
       coalesce((SELECT avg((c.search @@ quote_literal(word)::tsquery)::int)
                 FROM unnest(%(lexemes)s::text[]) word), 0)::float,
       EXISTS (SELECT FROM nearest n WHERE n.id = c.id),
       EXISTS (SELECT FROM worded w WHERE w.id = c.id), v.number, v.created_at::date
FROM (SELECT id FROM nearest UNION SELECT id FROM worded) candidate
JOIN knowledge_chunk c ON c.id = candidate.id
JOIN knowledge_document d ON d.current_version_id = c.version_id
JOIN knowledge_documentversion v ON v.id = c.version_id
{f"LEFT {vectors.strip()}" if vectors else ""}
"""  # noqa: S608


_STATEMENTS = {
    (tuned, walk): _statement(tuned=tuned, walk=walk)
    for tuned in (False, True)
    for walk in (False, True)
}


def _candidates(principal: Principal, explanation: Explanation) -> Explanation:
    """The same explanation with the candidates of both legs, fused."""
    settings, workspace = explanation.settings, principal.workspace
    encoder = encoder_in_use(workspace.pk)
    started = time.perf_counter()
    try:
        if encoder is None:
            vector_space.check()
        name = encoder.served_name if encoder else ""
        vector = str(embed([explanation.searched], model=name)[0])
    except (ModelUnavailable, vector_space.OtherEncoder) as error:
        logger.warning("Searching by words only: %s", error)
        vector = None
    embedded = time.perf_counter()
    # Planner settings hold for this transaction only.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),"
            " set_config('hnsw.ef_search', %s, true)",
            [str(settings.ef_search)],
        )
        words = weigh(cursor, workspace.pk, searchable(explanation.searched))
        exact = words.num_chunks <= EXACT_UP_TO
        parameters: dict[str, Any] = {
            "workspace": workspace.pk,
            "corpora": list(explanation.corpora),
            "access": access_keys(principal),
            "filters": _filters(settings.filters),
            "vector": vector,
            "encoder": encoder.pk if encoder else None,
            "scale": encoder.cosine_scale if encoder else 1.0,
            "shift": encoder.cosine_shift if encoder else 0.0,
            "weights": words.vector,
            "selective": words.selective_query,
            "lexemes": words.lexemes,
            "num_candidates": settings.num_candidates,
        }
        tuned = encoder is not None
        cursor.execute(_STATEMENTS[tuned, not exact], parameters)
        rows = cursor.fetchall()
        if not exact and sum(row[13] for row in rows) < settings.num_candidates:
            # The walk gave up before it met enough chunks that pass: few of many are readable.
            exact = True
            cursor.execute(_STATEMENTS[tuned, False], parameters)
            rows = cursor.fetchall()
    searched = time.perf_counter()
    candidates = _weighed(_fused(rows, settings), words)
    return replace(
        explanation,
        words=words,
        candidates=candidates,
        exact=exact,
        encoder=encoder.served_name if encoder else "",
        words_only=vector is None,
        milliseconds={
            "embed": _milliseconds(embedded - started),
            "search": _milliseconds(searched - embedded),
            "fuse": _since(searched),
        },
    )


def _filters(filters: Mapping[str, Any]) -> str | None:
    """Each name with the list of values of which one is enough."""
    if not filters:
        return None
    wanted = {
        name: value if isinstance(value, list) else [value] for name, value in filters.items()
    }
    return json.dumps(wanted)


def _fused(rows: Sequence[tuple[Any, ...]], settings: SearchSettings) -> tuple[Found, ...]:
    cosines = [row[10] if row[10] is not None else 0.0 for row in rows]
    bm25s = [row[11] for row in rows]
    vector_scores, text_scores = normalised(cosines), normalised(bm25s)
    vector_ranks = _ranks(rows, brought=13, score=10)
    text_ranks = _ranks(rows, brought=14, score=11)
    weights = (settings.vector_weight, settings.text_weight)
    if settings.fusion == "rank":
        fused = by_rank(weights, (vector_ranks, text_ranks))
    else:
        fused = by_score(weights, (vector_scores, text_scores))
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
            bm25=row[11],
            coverage=row[12],
            version=row[15],
            dated=row[16].isoformat(),
            vector_rank=vector_ranks[place],
            text_rank=text_ranks[place],
            vector_score=vector_scores[place],
            text_score=text_scores[place],
            fused=fused[place],
        )
        for place, row in enumerate(rows)
    ]
    return tuple(sorted(found, key=lambda each: (-each.fused, each.chunk_id)))


def _weighed(candidates: Sequence[Found], words: WeighedQuery) -> tuple[Found, ...]:
    """The same candidates, best first, with what `relevance` needs to know of the whole query."""
    unknown = words.num_unknown * inverse_frequency(0, words.num_chunks)
    total = unknown + sum(term.weight for term in words.terms)
    nearest = sorted(
        ((each.cosine, each.document_id) for each in candidates if each.cosine is not None),
        reverse=True,
    )[: NEIGHBOURS + 1]

    def lead(found: Found) -> float:
        others = [cosine for cosine, document in nearest if document != found.document_id]
        if found.cosine is None:
            return 0.0
        return found.cosine - sum(others) / len(others) if others else TYPICAL_LEAD

    return tuple(
        replace(
            each,
            word_share=min(each.bm25 / total, MOST_SHARE) if total else 0.0,
            unknown_share=unknown / total if total else 1.0,
            lead=lead(each),
        )
        for each in candidates
    )


def _reranked(explanation: Explanation) -> Explanation:
    """The same with its first candidates in the order that the reranker has a say in."""
    started = time.perf_counter()
    first = explanation.candidates[:NUM_RERANKED]
    rest = explanation.candidates[NUM_RERANKED:]
    try:
        # The title and the headings often name what the passage only calls "it".
        scores = rerank(
            explanation.searched,
            ["\n".join(filter(None, (each.title, each.heading, each.text))) for each in first],
        )
    except ModelUnavailable as error:
        logger.warning("Searching without the reranker: %s", error)
        return explanation
    weight = explanation.settings.rerank_weight
    reranked = by_score(
        (1 - weight, weight),
        (normalised([each.fused for each in first]), normalised(scores)),
    )
    ordered = sorted(
        (
            replace(each, rerank_score=score, reranked=both)
            for each, score, both in zip(first, scores, reranked, strict=True)
        ),
        key=lambda each: (-(each.reranked or 0.0), each.chunk_id),
    )
    milliseconds = {**explanation.milliseconds, "rerank": _since(started)}
    return replace(explanation, candidates=(*ordered, *rest), milliseconds=milliseconds)


def _ranks(rows: Sequence[tuple[Any, ...]], *, brought: int, score: int) -> list[int | None]:
    """Each row's place (from 1) among those that the leg brought."""
    ranks: list[int | None] = [None] * len(rows)
    places = [place for place, row in enumerate(rows) if row[brought]]
    places.sort(key=lambda place: (-rows[place][score], rows[place][0]))
    for rank, place in enumerate(places, 1):
        ranks[place] = rank
    return ranks


_AROUND = """
SELECT c.id, substr(v.text, least(c.start, min(n.start)) + 1,
                    greatest(c."end", max(n."end")) - least(c.start, min(n.start)))
FROM knowledge_chunk c
JOIN knowledge_documentversion v ON v.id = c.version_id
JOIN knowledge_chunk n ON n.version_id = c.version_id
    AND n.ordinal BETWEEN c.ordinal - %(neighbours)s AND c.ordinal + %(neighbours)s
WHERE c.id = ANY(%(ids)s)
GROUP BY c.id, v.text
"""
_PARENT = """
SELECT c.id, substr(v.text, c.parent_start + 1, c.parent_end - c.parent_start)
FROM knowledge_chunk c
JOIN knowledge_documentversion v ON v.id = c.version_id
WHERE c.id = ANY(%(ids)s) AND c.parent_start IS NOT NULL
"""


def _with_context(found: Sequence[Found], settings: SearchSettings) -> list[Found]:
    """The passages as they are, with the text around each where the settings ask for it."""
    if not found or not (settings.parent or settings.neighbours):
        return list(found)
    ids = [each.chunk_id for each in found]
    with connection.cursor() as cursor:
        cursor.execute(
            _PARENT if settings.parent else _AROUND,
            {"ids": ids, "neighbours": settings.neighbours},
        )
        around: dict[int, str] = dict(cursor.fetchall())
    return [replace(each, context=around.get(each.chunk_id, each.text)) for each in found]


def _since(started: float) -> float:
    return _milliseconds(time.perf_counter() - started)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _as_dict(found: Found) -> dict[str, Any]:
    values = asdict(found)
    for name in ("version_id", "document_id", "corpus_id"):
        values[name] = str(values[name])
    return values


NEIGHBOURS = 10
"""Passages with which a passage's closeness is compared."""
TYPICAL_LEAD = 0.25
"""Where there is no other document to compare with."""
MOST_SHARE = 1.5
"""A passage that repeats the words weighs more than one that has each once, up to here."""

# A logistic regression of "is this the document that answers?" on the best passages of 330
# answerable and 330 unanswerable MedQuAD questions, whose documents are in no reported figure:
# `ops/bench.py grounding --split fit` fits it anew. In five folds there the area under the curve is
# 0.981; cosine and coverage alone, as before, have 0.959. What the passage is compared with matters
# most: in a corpus of one trade everything is near everything.
_INTERCEPT, _COSINE, _WORDS, _UNKNOWN, _LEAD = -6.9, 4.0, 3.3, -2.2, 4.8


def relevance(query: str, found: Found) -> float:
    """How likely the chunk's document answers the query, from 0 to 1; comparable between queries.

    The shipped encoder knows English. A query in Chinese, like one without a vector, is judged by
    the share of its words that the chunk holds.
    """
    if found.cosine is None or cjk_share(query) > 0.3:
        return found.coverage * (1 - found.unknown_share)
    logit = (
        _INTERCEPT
        + _COSINE * found.cosine
        + _WORDS * found.word_share
        + _UNKNOWN * found.unknown_share
        + _LEAD * found.lead
    )
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
            version=each.version,
            dated=each.dated,
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
