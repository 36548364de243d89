"""BM25 inside PostgreSQL: how rare the words of a question are, and which chunks to score by them.

A chunk's row holds what each of its words contributes (`Chunk.terms`, a sparse vector over hashed
words); a question becomes a sparse vector of weights, and the inner product of the two is the BM25
score. It is cheap, but not so cheap that every chunk with a common word could be scored: the
candidates are those that hold one of the question's rarest words, as many words as together stand
in at most `MAX_SCORED` chunks.
"""

import math
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from praxis.knowledge.models import TERM_DIMENSIONS, TermCount

MAX_SCORED = 6_000
COMPACT_FROM = 64
"""Rows of one word; each written batch of chunks adds one for each of its words."""


@dataclass(frozen=True)
class QueryTerm:
    """A word of a question as the index has it (stemmed, without stop words)."""

    lexeme: str
    term: int
    num_chunks: int
    """Of the workspace that hold it; 0 for a word that stands nowhere."""
    weight: float
    """How often it stands in the question × how rare it is."""


@dataclass(frozen=True)
class WeighedQuery:
    """`terms` from the rarest to the most common; those that stand nowhere are left out."""

    terms: tuple[QueryTerm, ...]
    num_unknown: int
    num_chunks: int
    """Of the workspace."""

    @property
    def vector(self) -> str | None:
        """In the text form of pgvector's `sparsevec`; None without a known word."""
        if not self.terms:
            return None
        weights: dict[int, float] = {}
        for each in self.terms:
            weights[each.term] = weights.get(each.term, 0.0) + each.weight
        return (
            "{" + ",".join(f"{term}:{weight:.6g}" for term, weight in weights.items()) + "}"
            f"/{TERM_DIMENSIONS}"
        )

    @property
    def lexemes(self) -> list[str]:
        return [each.lexeme for each in self.terms]

    @property
    def selective_query(self) -> str | None:
        """The `tsquery` that finds the candidates; None without a known word."""
        quoted = (
            "'" + each.lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
            for each in self.selective
        )
        return " | ".join(quoted) or None

    @property
    def selective(self) -> tuple[QueryTerm, ...]:
        """The words by which candidates are looked up: at least the rarest."""
        chosen: list[QueryTerm] = []
        num_chunks = 0
        for each in self.terms:
            num_chunks += each.num_chunks
            if chosen and num_chunks > MAX_SCORED:
                break
            chosen.append(each)
        return tuple(chosen)


def weigh(cursor: CursorWrapper, workspace_id: UUID, words: str) -> WeighedQuery:
    """The words of a question (made by `fulltext.searchable`) with their rarity in the workspace."""
    cursor.execute(
        """
        SELECT word.lexeme, knowledge_term(word.lexeme), cardinality(word.positions),
               coalesce((SELECT sum(num_chunks) FROM knowledge_termcount
                         WHERE workspace_id = %(workspace)s
                         AND term = knowledge_term(word.lexeme)), 0)
        FROM unnest(to_tsvector('english', %(words)s)) word
        UNION ALL
        SELECT '', 0, 1, coalesce(sum(num_chunks), 0) FROM knowledge_termcount
        WHERE workspace_id = %(workspace)s AND term = 0
        """,
        {"workspace": workspace_id, "words": words},
    )
    rows = cursor.fetchall()
    total = next(int(count) for _, term, _, count in rows if term == 0)
    known = [
        QueryTerm(lexeme, term, int(count), times * inverse_frequency(int(count), total))
        for lexeme, term, times, count in rows
        if term and count > 0
    ]
    known.sort(key=lambda each: (each.num_chunks, each.lexeme))
    return WeighedQuery(tuple(known), len(rows) - 1 - len(known), total)


def inverse_frequency(num_chunks: int, total: int) -> float:
    """Of BM25, in the form that is never negative."""
    return math.log(1 + max(total - num_chunks + 0.5, 0) / (num_chunks + 0.5))


def compact(workspace_id: UUID) -> None:
    """Add the rows of each word up to one; searches and writers need not wait meanwhile."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            WITH gone AS (
                DELETE FROM knowledge_termcount WHERE workspace_id = %(workspace)s
                RETURNING term, num_chunks
            )
            INSERT INTO knowledge_termcount (workspace_id, term, num_chunks)
            SELECT %(workspace)s, term, sum(num_chunks) FROM gone
            GROUP BY term HAVING sum(num_chunks) <> 0
            """,
            {"workspace": workspace_id},
        )


def compact_where_due() -> None:
    """Every workspace whose chunks were written in many batches since the last time."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT workspace_id FROM {TermCount._meta.db_table} WHERE term = 0"  # noqa: S608
            " GROUP BY workspace_id HAVING count(*) >= %s",
            [COMPACT_FROM],
        )
        due = [workspace_id for (workspace_id,) in cursor.fetchall()]
    for workspace_id in due:
        compact(workspace_id)
