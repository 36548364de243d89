"""Spans of a text that search finds and answers cite, cut along its structure.

A chunk never crosses a heading. Within a section it takes whole paragraphs, list items, records
or code blocks as long as they fit; a longer one is cut between sentences. The next chunk of running
text begins with the last sentence of the one before, so that a fact which needs two sentences
stands whole in at least one. Every chunk is exactly `text[start:end]`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TOKENS = 200
"""Of a chunk, as `estimate_tokens` counts. The encoder reads 256 of its own; the headings that are
embedded with the chunk take the rest."""
FULL_TOKENS = 90
"""Records and list items are packed up to here only: a short record is found more surely."""
MAX_OVERLAP_TOKENS = 45
PARENT_TOKENS = 600
"""Three full chunks: enough to see a clause with its exceptions, and five of them fit a prompt."""
SEPARATOR = " › "

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s)|[。！？；]+[”’」』）]*|\n")
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Art|Sec|Fig|vs|etc|e\.g|i\.e|cf|al|approx|Inc|Ltd|Co|Corp))\.$"
)


@dataclass(frozen=True)
class Span:
    """A chunk before it has a row. `heading`: the headings above it, outermost first."""

    ordinal: int
    start: int
    end: int
    page: int | None
    heading: str
    parent_start: int
    parent_end: int
    """The section around it, or as much of a long one as `PARENT_TOKENS` holds: what to read when
    the chunk alone is too little."""


@dataclass(frozen=True)
class _Piece:
    """A block, or as much of a long one as fits, that is never cut again."""

    kind: str
    start: int
    end: int
    tokens: int


def estimate_tokens(text: str) -> int:
    """About what a WordPiece encoder counts: CJK signs and punctuation are one each, and longer
    words are more than one."""
    return sum(1 + (len(word) - 1) // 7 for word in _WORD.findall(text))


def split(text: str, blocks: Sequence[Sequence[Any]], page_starts: Sequence[int]) -> list[Span]:
    """The chunks of a text, always the same for the same arguments.

    `blocks`: `[kind, start, end, level]` as `parsing.assembly` makes them. A text of headings only
    has its headings for chunks.
    """
    return Splitter().split(text, 0, blocks, page_starts)


class Splitter:
    """Cuts a text that comes in parts. `path` (the open headings, as `[level, title]`) and
    `num_chunks` are what the next part has to know of those before it."""

    def __init__(self, *, path: Sequence[Sequence[Any]] = (), num_chunks: int = 0) -> None:
        self.path: list[tuple[int, str]] = [(level, title) for level, title in path]
        self.num_chunks = num_chunks

    def split(
        self,
        text: str,
        offset: int,
        blocks: Sequence[Sequence[Any]],
        page_starts: Sequence[int],
    ) -> list[Span]:
        """`text` begins at `offset` of the whole, from which blocks, pages and spans count."""
        inside = [[kind, start - offset, end - offset, level] for kind, start, end, level in blocks]
        cuts = [
            (heading, cut, parent)
            for heading, pieces in _sections(text, inside, self.path)
            for cut, parent in _with_parents(text, list(_pack(text, pieces)))
        ]
        if not cuts and not self.num_chunks:
            cuts = [("", (start, end), (start, end)) for _, start, end, _ in inside]
        first = self.num_chunks
        self.num_chunks += len(cuts)
        return [
            Span(
                ordinal=ordinal,
                start=offset + start,
                end=offset + end,
                page=bisect_right(page_starts, offset + start) or None,
                heading=heading,
                parent_start=offset + parent_start,
                parent_end=offset + parent_end,
            )
            for ordinal, (heading, (start, end), (parent_start, parent_end)) in enumerate(
                cuts, first
            )
        ]


def _sections(
    text: str, blocks: Sequence[Sequence[Any]], path: list[tuple[int, str]]
) -> Iterator[tuple[str, list[_Piece]]]:
    """`path` is changed in place to the headings that are open at the end."""
    pieces: list[_Piece] = []
    for kind, start, end, level in blocks:
        if kind != "heading":
            pieces += _pieces(text, kind, start, end)
            continue
        if pieces:
            yield SEPARATOR.join(title for _, title in path), pieces
            pieces = []
        path[:] = [(above, title) for above, title in path if above < level]
        path.append((level, text[start:end]))
    if pieces:
        yield SEPARATOR.join(title for _, title in path), pieces


def _pieces(text: str, kind: str, start: int, end: int) -> list[_Piece]:
    """The block itself if it fits, else its sentences (and parts of sentences that don't fit)."""
    tokens = estimate_tokens(text[start:end])
    if tokens <= MAX_TOKENS:
        return [_Piece(kind, start, end, tokens)]
    return [
        _Piece("sentence", part_start, part_end, estimate_tokens(text[part_start:part_end]))
        for sentence_start, sentence_end in sentences(text, start, end)
        for part_start, part_end in _fitting(text, sentence_start, sentence_end)
    ]


def sentences(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Offsets of the sentences in `text[start:end]`, without the white space between them."""
    found: list[tuple[int, int]] = []
    begin = start
    for match in _SENTENCE_END.finditer(text, start, end):
        if match[0][0] == "." and _ABBREVIATION.search(
            text[max(begin, match.start() - 8) : match.end()]
        ):
            continue
        _append_stripped(found, text, begin, match.end())
        begin = match.end()
    _append_stripped(found, text, begin, end)
    return found


def _append_stripped(found: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    if stripped := piece.strip():
        begin = start + piece.index(stripped[0])
        found.append((begin, begin + len(stripped)))


def _fitting(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span, cut between words (or signs, where a word alone is too long) until each part fits."""
    used, begin, last = 0, start, start
    for match in _WORD.finditer(text, start, end):
        for position in range(match.start(), match.end(), 7 * MAX_TOKENS):
            stop = min(position + 7 * MAX_TOKENS, match.end())
            tokens = 1 + (stop - position - 1) // 7
            if used + tokens > MAX_TOKENS and last > begin:
                yield begin, last
                begin, used = position, 0
            used, last = used + tokens, stop
    if last > begin:
        yield begin, end


def _pack(text: str, pieces: list[_Piece]) -> Iterator[tuple[int, int]]:
    """Start and end of each chunk of one section."""
    open_pieces: list[_Piece] = []
    overlap: int | None = None
    """Where the open chunk begins when it repeats the last sentence of the one before."""
    overlap_tokens = 0
    for piece in pieces:
        used = overlap_tokens + sum(each.tokens for each in open_pieces)
        limit = FULL_TOKENS if piece.kind in ("row", "item") else MAX_TOKENS
        if open_pieces and used + piece.tokens > limit:
            yield overlap if overlap is not None else open_pieces[0].start, open_pieces[-1].end
            overlap, overlap_tokens = _overlap(text, open_pieces[-1], piece)
            open_pieces = []
        open_pieces.append(piece)
    yield overlap if overlap is not None else open_pieces[0].start, open_pieces[-1].end


def _with_parents(
    text: str, cuts: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Each cut of a section with the neighbouring cuts that make its parent; the parents don't
    overlap but for the sentence that their chunks share."""
    family: list[tuple[int, int]] = []
    used = 0
    for cut in cuts:
        tokens = estimate_tokens(text[slice(*cut)])
        if family and used + tokens > PARENT_TOKENS:
            yield from _of_one_family(family)
            family, used = [], 0
        family.append(cut)
        used += tokens
    yield from _of_one_family(family)


def _of_one_family(
    family: list[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for cut in family:
        yield cut, (family[0][0], family[-1][1])


def _overlap(text: str, before: _Piece, after: _Piece) -> tuple[int | None, int]:
    """Start and tokens of the sentence to repeat; none between records, items and code."""
    running = ("paragraph", "sentence")
    if before.kind not in running or after.kind not in running:
        return None, 0
    start, end = sentences(text, before.start, before.end)[-1]
    tokens = estimate_tokens(text[start:end])
    if tokens > MAX_OVERLAP_TOKENS or tokens + after.tokens > MAX_TOKENS:
        return None, 0
    return start, tokens
