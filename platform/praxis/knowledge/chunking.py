"""Spans of a text that search finds and answers cite, cut along its structure.

A chunk never crosses a heading. Within a section it takes whole paragraphs, list items, records
or code blocks as long as they fit; a longer one is cut between sentences. A numbered clause stays
together with its lettered parts, and a question with its answer. The next chunk of running text
begins with the last sentence of the one before, so that a fact which needs two sentences stands whole
in at least one. Every chunk is exactly `text[start:end]`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from praxis.knowledge.encoder_tokens import encoder_tokens

MAX_TOKENS = 200
"""Of a chunk, in tokens of the encoder. The headings that are embedded with it come on top; where
both together don't fit the encoder, the chunk is shorter."""
LEAST_TOKENS = 50
"""Of a chunk under very long headings; better the end of such a text has no influence."""
FULL_TOKENS = 90
"""Records, list items, clauses and questions are packed up to here only: a short one is found more
surely."""
MAX_OVERLAP_TOKENS = 45
PARENT_TOKENS = 600
"""Three full chunks: enough to see a clause with its exceptions, and five of them fit a prompt."""
LABEL_CHARACTERS = 120
"""Of a question or a clause's first words, for what had to be cut off from them."""
SEPARATOR = " › "

_NUMBER = r"(?:\d{1,3}\.)+(?:\d{1,3}|(?=\s))"
_CLAUSE = re.compile(
    rf"(?:{_NUMBER}\s|§+\s*\d|第[一二三四五六七八九十百零〇\d]+[条款項项]"
    r"|(?:clause|article|art\.|section|sec\.)\s+\d+[a-z]?(?:\.\d+)*\b)",
    re.IGNORECASE,
)
"""How a clause begins: 12.3, 12., § 4, 第三条, Article 7."""
_PART = re.compile(
    r"[(（](?:[a-z]{1,2}|[ivx]{1,5}|\d{1,2}|[一二三四五六七八九十]{1,3})[)）]|[a-z]\)\s"
)
"""How a part of a clause begins: (a), (iv), a), （一）."""
_QUESTION = re.compile(
    r"(?:Q|Question|Frage|问题?|問題?|Pregunta)\s*\d{0,4}\s*[:：.)]\s*\S", re.IGNORECASE
)
_LONGEST_QUESTION = 300
"""Characters of a paragraph that is a question by its mark alone."""
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


class Tokens(Protocol):
    """What is asked of the encoder's tokenizer; see `modeling.retrieval.tokens.EncoderTokens`."""

    @property
    def room(self) -> int: ...

    def starts(self, texts: Sequence[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class _Piece:
    """What is never cut again: a block, a clause or question with what belongs to it (`whole`), or as
    much of a long one as fits (`sentence`)."""

    kind: str
    start: int
    end: int
    tokens: int
    label: str = ""
    """Of a part of a clause or an answer: what it is a part of."""
    opens: bool = False
    """The first part of what is too long to stay whole."""


class _Counted:
    """A text whose tokens are counted once, so that every span of it is counted at once."""

    def __init__(self, text: str, blocks: Iterable[tuple[int, int]], tokens: Tokens) -> None:
        self.text = text
        places = list(blocks)
        found = tokens.starts([text[start:end] for start, end in places])
        self._starts = [
            start + place
            for (start, _), inside in zip(places, found, strict=True)
            for place in inside
        ]

    def num_tokens(self, start: int, end: int) -> int:
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def place_after(self, start: int, num_tokens: int) -> int:
        """Where the token begins that is the first too many; the text's end if there is none."""
        index = bisect_left(self._starts, start) + num_tokens
        return self._starts[index] if index < len(self._starts) else len(self.text)


def split(text: str, blocks: Sequence[Sequence[Any]], page_starts: Sequence[int]) -> list[Span]:
    """The chunks of a text, always the same for the same arguments.

    `blocks`: `[kind, start, end, level]` as `parsing.assembly` makes them. A text of headings only
    has its headings for chunks.
    """
    return Splitter().split(text, 0, blocks, page_starts)


class Splitter:
    """Cuts a text that comes in parts. `path` (the open headings, as `[level, title]`) and
    `num_chunks` are what the next part has to know of those before it; `title` is the document's,
    which is embedded with each chunk."""

    def __init__(
        self,
        *,
        title: str = "",
        path: Sequence[Sequence[Any]] = (),
        num_chunks: int = 0,
        tokens: Tokens | None = None,
    ) -> None:
        self.path: list[tuple[int, str]] = [(level, title) for level, title in path]
        self.num_chunks = num_chunks
        self._title = title
        self._tokens = tokens or encoder_tokens()

    def split(
        self,
        text: str,
        offset: int,
        blocks: Sequence[Sequence[Any]],
        page_starts: Sequence[int],
    ) -> list[Span]:
        """`text` begins at `offset` of the whole, from which blocks, pages and spans count."""
        inside = [[kind, start - offset, end - offset, level] for kind, start, end, level in blocks]
        counted = _Counted(text, ((start, end) for _, start, end, _ in inside), self._tokens)
        cuts: list[tuple[str, tuple[int, int], tuple[int, int]]] = []
        for heading, section in _sections(text, inside, self.path):
            room = self._room(heading)
            packed = list(_pack(counted, _grouped(counted, section, room), room))
            for (start, end, label), parent in _with_parents(counted, packed):
                place = SEPARATOR.join(each for each in (heading, label) if each)
                cuts.append((place, (start, end), parent))
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

    def _room(self, heading: str) -> int:
        """Tokens that a chunk under this heading may have."""
        place = SEPARATOR.join(each for each in (self._title, heading) if each)
        (taken,) = map(len, self._tokens.starts([place]))
        return max(min(MAX_TOKENS, self._tokens.room - taken), LEAST_TOKENS)


def _sections(
    text: str, blocks: Sequence[Sequence[Any]], path: list[tuple[int, str]]
) -> Iterator[tuple[str, list[Sequence[Any]]]]:
    """Blocks under their headings. `path` is changed in place to the headings that are open at the
    end."""
    section: list[Sequence[Any]] = []
    for block in blocks:
        kind, start, end, level = block
        if kind != "heading":
            section.append(block)
            continue
        if section:
            yield SEPARATOR.join(title for _, title in path), section
            section = []
        path[:] = [(above, title) for above, title in path if above < level]
        path.append((level, text[start:end]))
    if section:
        yield SEPARATOR.join(title for _, title in path), section


def _grouped(text: _Counted, section: list[Sequence[Any]], room: int) -> Iterator[_Piece]:
    """The pieces of a section, none of more than `room` tokens."""
    for group in _groups(text.text, section):
        start, end = group[0][1], group[-1][2]
        tokens = text.num_tokens(start, end)
        if len(group) > 1 and tokens <= room:
            yield _Piece("whole", start, end, tokens)
            continue
        label, left = "", room
        if len(group) > 1:
            label = _label(text.text[start : group[0][2]])
            left -= text.num_tokens(start, min(group[0][2], start + LABEL_CHARACTERS))
        for block in group:
            for piece in _pieces(text, block, left):
                first = piece.start == start
                yield replace(piece, label="" if first else label, opens=first and bool(label))


def _groups(text: str, section: list[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Blocks that belong together: a clause with its parts, a question with its answer; any other
    block alone."""
    group: list[Sequence[Any]] = []
    for block in section:
        if group and not _belongs(text, block, group):
            yield group
            group = []
        group.append(block)
    if group:
        yield group


def _belongs(text: str, block: Sequence[Any], group: list[Sequence[Any]]) -> bool:
    kind, start, end, _ = block
    written = text[start:end]
    first_kind, first_start, first_end, _ = group[0]
    opened = _opens(first_kind, text[first_start:first_end])
    if not opened or _opens(kind, written) or kind in ("row", "code"):
        return False
    match opened:
        case "clause":
            return kind == "item" or bool(_PART.match(written))
        case "marked question":
            return True
        case _:
            # Without a mark only the next paragraph, or list, is surely the answer.
            return len(group) == 1 or (kind == "item" and group[-1][0] == "item")


def _opens(kind: str, written: str) -> str:
    """What a block begins that others may belong to: `clause`, `marked question`, `question`."""
    if kind in ("row", "code"):
        return ""
    if _QUESTION.match(written):
        return "marked question"
    if kind == "paragraph" and len(written) <= _LONGEST_QUESTION and written[-1] in "?？":
        return "question"
    return "clause" if _CLAUSE.match(written) else ""


def _label(written: str) -> str:
    line = " ".join(written.split())
    if len(line) <= LABEL_CHARACTERS:
        return line
    return line[:LABEL_CHARACTERS].rsplit(" ", 1)[0] + " …"


def _pieces(text: _Counted, block: Sequence[Any], room: int) -> list[_Piece]:
    """The block itself if it fits, else its sentences (and parts of sentences that don't fit)."""
    kind, start, end, _ = block
    tokens = text.num_tokens(start, end)
    if tokens <= room:
        return [_Piece(kind, start, end, tokens)]
    return [
        _Piece("sentence", part_start, part_end, text.num_tokens(part_start, part_end))
        for sentence_start, sentence_end in sentences(text.text, start, end)
        for part_start, part_end in _fitting(text, sentence_start, sentence_end, room)
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


def _fitting(text: _Counted, start: int, end: int, room: int) -> Iterator[tuple[int, int]]:
    """The span, cut between words (or signs, where a word alone is too long) until each part fits."""
    while start < end:
        stop = min(text.place_after(start, room), end)
        if stop < end:
            gap = max(text.text.rfind(" ", start, stop), text.text.rfind("\n", start, stop))
            if gap > start + (stop - start) // 2:
                stop = gap
        yield start, stop
        start = stop
        while start < end and text.text[start].isspace():
            start += 1


def _pack(text: _Counted, pieces: Iterable[_Piece], room: int) -> Iterator[tuple[int, int, str]]:
    """Start, end and label of each chunk of one section."""
    open_pieces: list[_Piece] = []
    overlap: int | None = None
    """Where the open chunk begins when it repeats the last sentence of the one before."""
    overlap_tokens = 0

    def closed() -> tuple[int, int, str]:
        start = overlap if overlap is not None else open_pieces[0].start
        return start, open_pieces[-1].end, open_pieces[0].label

    for piece in pieces:
        used = overlap_tokens + sum(each.tokens for each in open_pieces)
        limit = FULL_TOKENS if piece.kind in ("row", "item", "whole") else room
        if open_pieces and (
            piece.opens
            or used + piece.tokens > limit
            # What a chunk is said to be a part of must hold for all of it.
            or open_pieces[0].label not in ("", piece.label)
        ):
            yield closed()
            overlap, overlap_tokens = _overlap(text, open_pieces[-1], piece, room)
            open_pieces = []
        open_pieces.append(piece)
    if open_pieces:
        yield closed()


def _with_parents(
    text: _Counted, cuts: list[tuple[int, int, str]]
) -> Iterator[tuple[tuple[int, int, str], tuple[int, int]]]:
    """Each cut of a section with the neighbouring cuts that make its parent; the parents don't
    overlap but for the sentence that their chunks share."""
    family: list[tuple[int, int, str]] = []
    used = 0
    for cut in cuts:
        tokens = text.num_tokens(*cut[:2])
        if family and used + tokens > PARENT_TOKENS:
            yield from _of_one_family(family)
            family, used = [], 0
        family.append(cut)
        used += tokens
    yield from _of_one_family(family)


def _of_one_family(
    family: list[tuple[int, int, str]],
) -> Iterator[tuple[tuple[int, int, str], tuple[int, int]]]:
    for cut in family:
        yield cut, (family[0][0], family[-1][1])


def _overlap(text: _Counted, before: _Piece, after: _Piece, room: int) -> tuple[int | None, int]:
    """Start and tokens of the sentence to repeat; none between records, items, clauses and code."""
    running = ("paragraph", "sentence")
    if before.kind not in running or after.kind not in running:
        return None, 0
    if after.opens or before.label not in ("", after.label):
        return None, 0
    start, end = sentences(text.text, before.start, before.end)[-1]
    tokens = text.num_tokens(start, end)
    if tokens > MAX_OVERLAP_TOKENS or tokens + after.tokens > room:
        return None, 0
    return start, tokens
