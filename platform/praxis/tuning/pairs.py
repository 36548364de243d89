"""Questions with the passages that answer them, from what a workspace knows of itself.

Three sources, the surest first: the workbench's golden set; what people thought of answers (a
thumb up vouches for the passages that carried the answer, a correction for those that carry the
correction); and the documents, whose headings ask and whose first sentences stand for a question.
Hard negatives are what the present index finds for the question and what does not answer it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from django.db.models import F, QuerySet
from django.utils.translation import gettext_noop

from modeling.retrieval.finetune_recipe import Pair, write_pairs
from praxis.accounts.access import Principal
from praxis.assistants.sentences import content_words, split_sentences
from praxis.assistants.support import check_support
from praxis.conversations.citations import citations_of
from praxis.conversations.models import Feedback, Message
from praxis.jobs.running import Retry
from praxis.knowledge.access import access_keys
from praxis.knowledge.ingestion import embedded_text
from praxis.knowledge.models import Chunk
from praxis.knowledge.search import Found, as_passages, search
from praxis.workbench.models import GoldenQuestion
from praxis.workbench.scoring import meets

GOLDEN, FEEDBACK, DOCUMENTS = "golden", "feedback", "documents"
HELD_OUT_OF = 5
"""One question of so many is held out, and so is every pair of one document of so many."""
MOST_PAIRS = 20_000
MOST_PASSAGES = 3_000
"""Among which the held-out questions look for their answers."""
SEARCHED = 30
NEGATIVES = 2
SAFELY_FARTHER = 0.95
"""A passage nearly as close to the question as the right one may be right as well (Moreira et al.
2024, "NV-Retriever", where 0.95 was best); only what is farther counts as wrong."""
_FEWEST_WORDS = 4
_SHORTEST_REST = 80


@dataclass(frozen=True, kw_only=True)
class Mined:
    """A question and the chunks that answer it."""

    query: str
    chunks: tuple[int, ...]
    origin: str
    held_out: bool
    positive: str = ""
    """What is learnt as its answer, where that is less than a whole chunk."""
    wrong: tuple[int, ...] = ()
    """Chunks that an answer stood on which was corrected."""


def mine(
    *,
    principal: Principal,
    folder: Path,
    from_documents: int,
    check: Callable[[], None],
    progress: Callable[[int, int], None],
) -> dict[str, dict[str, int]]:
    """Write `pairs.jsonl` and `passages.jsonl` into the folder; how many pairs there are by origin.

    Only from documents that the principal finds by searching. `check` may raise at any time; nothing
    is half written. `from_documents` is at most how many pairs the documents give.
    """
    readable = _readable(principal)
    mined = [*_from_golden(principal, readable), *_from_feedback(principal, readable)]
    mined += list(_from_documents(readable, from_documents))
    mined = list(_once(mined))[:MOST_PAIRS]
    texts = _texts(readable, {chunk for one in mined for chunk in (*one.chunks, *one.wrong)})
    pairs: list[Pair] = []
    for number, one in enumerate(mined):
        check()
        if number % 20 == 0:
            progress(number, len(mined))
        pairs += _pairs_of(one, texts, principal)
    passages = _passages(readable, {chunk for one in mined for chunk in one.chunks})
    with (folder / "passages.jsonl").open("w", encoding="utf-8") as file:
        for key, text in passages:
            file.write(json.dumps({"id": key, "text": text}, ensure_ascii=False) + "\n")
    part = folder / "pairs.part"
    write_pairs(part, pairs)
    part.rename(folder / "pairs.jsonl")
    counted: dict[str, Counter[str]] = {"learnt": Counter(), "held_out": Counter()}
    for pair in pairs:
        counted["held_out" if pair.held_out else "learnt"][pair.origin] += 1
    return {name: dict(counts) for name, counts in counted.items()}


def _readable(principal: Principal) -> QuerySet[Chunk]:
    """What search would show to the principal: current versions, by the access lists."""
    chunks = Chunk.objects.filter(
        workspace=principal.workspace, version__document__current_version=F("version")
    )
    keys = access_keys(principal)
    return chunks.filter(access=[]) | chunks.filter(access__overlap=keys)


def _held_out(text: str) -> bool:
    """The same question falls on the same side wherever it comes from and whenever it is mined."""
    digest = hashlib.sha256(" ".join(text.lower().split()).encode()).digest()
    return digest[0] % HELD_OUT_OF == 0


def _once(mined: Iterable[Mined]) -> Iterator[Mined]:
    """Each question once; the surest source comes first and stays, with the chunks of all."""
    by_query: dict[str, Mined] = {}
    for one in mined:
        key = " ".join(one.query.lower().split())
        known = by_query.get(key)
        if known is None:
            by_query[key] = one
        elif not known.positive:
            chunks = tuple(dict.fromkeys((*known.chunks, *one.chunks)))
            wrong = tuple(each for each in (*known.wrong, *one.wrong) if each not in chunks)
            by_query[key] = replace(known, chunks=chunks, wrong=wrong)
    return iter(by_query.values())


# Sources ------------------------------------------------------------------------------------------


def _from_golden(principal: Principal, readable: QuerySet[Chunk]) -> Iterator[Mined]:
    questions = (
        GoldenQuestion.objects.filter(workspace=principal.workspace, expected__isnull=False)
        .distinct()
        .prefetch_related("expected")
        .order_by("created_at", "pk")
    )
    for question in questions:
        expected = list(question.expected.all())
        quoted = [each for each in expected if each.quote]
        of_documents = readable.filter(
            version__document__in={each.document_id for each in quoted}
        ).select_related("version")
        chunks = [
            chunk.pk
            for chunk in of_documents
            if any(meets(_AsRanked(chunk), each) for each in quoted)
        ]
        # Where a whole document is expected, its nearest passages stand for it.
        whole = {each.document_id for each in expected if not each.quote}
        nearest: dict[UUID, int] = {}
        if whole:
            for found in _search(principal, question.text):
                if found.document_id in whole:
                    nearest.setdefault(found.document_id, found.chunk_id)
        chunks += nearest.values()
        if chunks:
            yield Mined(
                query=question.text,
                chunks=tuple(dict.fromkeys(chunks)),
                origin=GOLDEN,
                held_out=_held_out(question.text),
            )


class _AsRanked:
    """A chunk as `workbench.scoring` looks at a passage."""

    def __init__(self, chunk: Chunk) -> None:
        self.document_id, self.text = chunk.version.document_id, chunk.text


def _from_feedback(principal: Principal, readable: QuerySet[Chunk]) -> Iterator[Mined]:
    feedback = (
        Feedback.objects.filter(
            message__conversation__workspace=principal.workspace,
            message__role=Message.Role.ASSISTANT,
            message__parent__isnull=False,
        )
        .exclude(review=Feedback.Review.REJECTED)
        .select_related("message__parent")
        .order_by("updated_at", "pk")
    )
    for one in feedback:
        question = one.message.parent
        cited = citations_of(one.message.events)
        if question is None or not question.text.strip():
            continue
        query = _asked(one.message.events) or question.text
        carried = [int(each["chunk_id"]) for each in cited if each["sentences"]]
        if one.correction:
            wrong = carried
            carried = _carrying(principal, question.text, one.correction)
            wrong = [each for each in wrong if each not in carried]
        elif one.thumb == Feedback.Thumb.UP:
            wrong = []
        else:
            continue
        present = set(readable.filter(pk__in=[*carried, *wrong]).values_list("pk", flat=True))
        if chunks := tuple(each for each in carried if each in present):
            yield Mined(
                query=query,
                chunks=chunks,
                origin=FEEDBACK,
                held_out=_held_out(query),
                wrong=tuple(each for each in wrong if each in present),
            )


def _asked(events: Sequence[dict[str, object]]) -> str:
    """What was searched for: a follow-up stands alone there."""
    return next((str(each["query"]) for each in events if each["kind"] == "retrieved"), "")


def _carrying(principal: Principal, question: str, correction: str) -> list[int]:
    """Chunks that hold what the correction says, by the check that answers go through."""
    found = _search(principal, f"{question} {correction}")[:8]
    passages = as_passages(principal.workspace, question, found)
    support = check_support(correction, passages)
    numbers = {each.citation for each in support.sentences if each.citation is not None}
    return [int(passage.chunk_id) for passage in passages if passage.number in numbers]


def _from_documents(readable: QuerySet[Chunk], at_most: int) -> Iterator[Mined]:
    """A heading asks for what stands under it, a first sentence for what follows it.

    Chunks are taken in the order of a hash, so that each document gives its share.
    """
    ids = list(readable.values_list("pk", flat=True))
    ids.sort(key=lambda key: hashlib.sha256(str(key).encode()).digest())
    taken = 0
    for start in range(0, len(ids), 500):
        rows = readable.filter(pk__in=ids[start : start + 500]).select_related("version__document")
        for chunk in rows.defer("embedding", "search", "terms", "version__text"):
            if taken >= at_most:
                return
            if made := _asked_by(chunk):
                taken += 1
                yield made


def _asked_by(chunk: Chunk) -> Mined | None:
    document = chunk.version.document
    held_out = _held_out(str(document.pk))
    sentences = split_sentences(chunk.searched_text)
    heading = chunk.heading.rpartition(" › ")[2].strip()
    # Without its headings, or the question would stand in the answer word for word.
    if len(content_words(heading)) >= 2 and len(chunk.searched_text) >= _SHORTEST_REST:
        query = heading
        if not set(content_words(document.title)) & set(content_words(heading)):
            query = f"{document.title}: {heading}"
        return Mined(
            query=query,
            chunks=(chunk.pk,),
            origin=DOCUMENTS,
            held_out=held_out,
            positive=chunk.searched_text,
        )
    first = sentences[0].text if sentences else ""
    rest = chunk.searched_text[sentences[0].end :].strip() if sentences else ""
    if len(content_words(first)) < _FEWEST_WORDS or len(rest) < _SHORTEST_REST:
        return None
    return Mined(
        query=first[:300], chunks=(chunk.pk,), origin=DOCUMENTS, held_out=held_out, positive=rest
    )


# Pairs --------------------------------------------------------------------------------------------


def _pairs_of(one: Mined, texts: dict[int, str], principal: Principal) -> Iterator[Pair]:
    positives = [texts[chunk] for chunk in one.chunks if chunk in texts]
    if not positives:
        return
    if one.held_out:
        yield Pair(
            query=one.query,
            positive=one.positive or positives[0],
            origin=one.origin,
            answers=one.chunks,
            held_out=True,
        )
        return
    negatives = [texts[chunk] for chunk in one.wrong if chunk in texts]
    negatives += _hard_negatives(one, principal)
    for positive in [one.positive] if one.positive else positives:
        yield Pair(
            query=one.query,
            positive=positive,
            negatives=tuple(negatives[:NEGATIVES]),
            origin=one.origin,
            answers=one.chunks,
        )


def _hard_negatives(one: Mined, principal: Principal) -> list[str]:
    """What the present index finds, but safely farther from the question than the answer is."""
    found = _search(principal, one.query)
    right = [each for each in found if each.chunk_id in one.chunks]
    cosines = [each.cosine for each in right if each.cosine is not None]
    # Neighbouring chunks of the right ones often answer too.
    documents = {each.document_id for each in right}
    limit = SAFELY_FARTHER * max(cosines, default=1.0)
    return [
        _as_embedded(each)
        for each in found
        if each.document_id not in documents and (each.cosine or 0.0) < limit
    ][:NEGATIVES]


def _search(principal: Principal, query: str) -> list[Found]:
    result = search(principal=principal, query=query, limit=SEARCHED)
    if result.explanation.words_only:
        raise Retry(
            gettext_noop("The embedding server does not answer; nothing can be mined without it.")
        )
    return list(result.found)


def _as_embedded(found: Found) -> str:
    place = " › ".join(each for each in (found.title, found.heading) if each)
    return f"{place}\n{found.text}"


def _texts(readable: QuerySet[Chunk], ids: Iterable[int]) -> dict[int, str]:
    """As they are embedded."""
    rows = readable.filter(pk__in=list(ids)).select_related("version__document")
    return {
        chunk.pk: embedded_text(chunk.version.document, chunk.heading, chunk.searched_text)
        for chunk in rows.defer("embedding", "search", "terms", "version__text", "version__blocks")
    }


def _passages(readable: QuerySet[Chunk], right: set[int]) -> list[tuple[int, str]]:
    """The right passages and, up to a number, others by chance."""
    others = list(readable.exclude(pk__in=right).values_list("pk", flat=True))
    others.sort(key=lambda key: hashlib.sha256(f"{key}/passage".encode()).digest())
    room = max(0, MOST_PASSAGES - len(right))
    return sorted(_texts(readable, [*right, *others[:room]]).items())
