"""Both chains for a question that the workspace's documents answer; any domain may use them.

The extractive chain quotes the sentences of one passage verbatim. The generative chain lets the
language model say it in its own words, and afterwards checks every sentence against the passages.
Both stand on the same passages, so `[1]` means the same span whichever speaks.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from praxis.assistants.contract import (
    Chain,
    Confidence,
    Event,
    Passage,
    Proposal,
    Support,
    Token,
    Turn,
)

PASSAGES = 4
PROMPT_WORDS = 160
"""Of the passages, in the model's prompt: reading is most of a small model's latency."""
ANSWER_TOKENS = 160

_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？]+[\"'”’)\]]*|\n|$)", re.UNICODE)
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_]+", re.UNICODE)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STOP_WORDS = frozenset(
    """a about after all also am an and any are as at be been before being but by can could did do
    does doing for from had has have having he her here him his how i if in into is it its just me
    more most my no nor not of on once only or other our out over own please same she should so
    some such than that the their them then there these they this those through to too under until
    up very was we were what when where which while who whom why will with would you your tell
    know want need get 的 了 是 我 你 他 她 它 们 在 吗 呢 吧 和 与 或 就 都 也 要 有 什 么 怎 请 问""".split()
)


def content_words(text: str) -> list[str]:
    """Lower-cased words that carry meaning, crudely stemmed; Chinese by character."""
    words = (word.lower() for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def _stem(word: str) -> str:
    for ending in ("ing", "edly", "ed", "ies", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


@dataclass(frozen=True, kw_only=True)
class Sentence:
    text: str
    start: int
    end: int
    """Offsets in the text it was cut from."""


def split_sentences(text: str) -> list[Sentence]:
    found = []
    for match in _SENTENCE.finditer(text):
        stripped = match.group().strip()
        if stripped:
            start = match.start() + match.group().index(stripped)
            found.append(Sentence(text=stripped, start=start, end=start + len(stripped)))
    return found


def coverage(question: str, text: str) -> float:
    """The share of the question's content words that occur in the text, from 0 to 1."""
    asked = set(content_words(question))
    return len(asked & set(content_words(text))) / len(asked) if asked else 0.0


def answer_confidence(*, retrieval_score: float, covered: float) -> float:
    """How likely it is that the best passage answers the question, from 0 to 1.

    A logistic function of the retrieval score and of the share of the question's content words in
    the quoted window. The coefficients were set by hand; `ops/bench.py grounding` prints what a fit
    on its development questions would give, and how well the present ones are calibrated.
    """
    return 1 / (
        1 + math.exp(-(INTERCEPT + SCORE_WEIGHT * retrieval_score + COVER_WEIGHT * covered))
    )


INTERCEPT, SCORE_WEIGHT, COVER_WEIGHT = -4.2, 4.6, 2.6


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The best passage and the run of its sentences that is nearest to the question."""

    passage: Passage
    quote: str
    confidence: float


def find_evidence(turn: Turn) -> Evidence | None:
    """Retrieve once per turn and pick the quote; None when nothing was found."""
    if not turn.passages:
        turn.passages.extend(turn.retrieve(turn.text, PASSAGES))
    best: Evidence | None = None
    for passage in turn.passages:
        quote = _nearest_window(turn.text, passage.text)
        confidence = answer_confidence(
            retrieval_score=passage.score, covered=coverage(turn.text, f"{passage.title} {quote}")
        )
        if best is None or confidence > best.confidence:
            best = Evidence(passage=passage, quote=quote, confidence=confidence)
    return best


def _nearest_window(question: str, text: str, length: int = 3) -> str:
    """Up to `length` neighbouring sentences, verbatim, that cover most of the question."""
    sentences = split_sentences(text)
    if len(sentences) <= length:
        return text.strip()
    asked = set(content_words(question))
    scores = [len(asked & set(content_words(sentence.text))) for sentence in sentences]
    starts = range(len(sentences) - length + 1)
    # The first sentence of a window counts most: an answer begins with what was asked.
    first = max(starts, key=lambda i: (2 * scores[i] + sum(scores[i + 1 : i + length]), -i))
    return text[sentences[first].start : sentences[first + length - 1].end]


def extractive_chain(name: str = "quote") -> Chain:
    """Answers with a verbatim quote and its citation."""

    def propose(turn: Turn) -> Proposal | None:
        evidence = find_evidence(turn)
        if evidence is None:
            return None

        def speak() -> Iterator[Event]:
            yield from quote_events(evidence)

        return Proposal(
            confidence=evidence.confidence,
            basis=_(
                "How near the quoted passage is to the question, and how much of it it covers."
            ),
            speak=speak,
        )

    return Chain(name=name, propose=propose, deterministic=True)


def quote_events(evidence: Evidence) -> Iterator[Event]:
    passage = evidence.passage
    lines = "\n".join(f"> {line}" for line in evidence.quote.splitlines() if line.strip())
    text = _("%(title)s says:") % {"title": passage.title}
    yield Token(text=f"{text}\n\n{lines}\n\n[{passage.number}]")


def generative_chain(instructions: str, name: str = "model", discount: float = 0.9) -> Chain:
    """Answers in the model's own words from the passages, then checks each sentence.

    `discount` scales the evidence's confidence: a small model's paraphrase is less sure than the
    quote that it stands on.
    """

    def propose(turn: Turn) -> Proposal | None:
        evidence = find_evidence(turn)
        if evidence is None:
            return None

        def speak() -> Iterator[Event]:
            pieces: list[str] = []
            messages = grounded_messages(instructions, turn)
            for piece in turn.model.stream(messages, max_tokens=ANSWER_TOKENS):
                pieces.append(piece)
                yield Token(text=piece)
            support = check_support("".join(pieces), turn.passages)
            yield support
            yield _confidence_after(support, evidence.confidence * discount, name)

        return Proposal(
            confidence=evidence.confidence * discount,
            basis=_("How near the passages are to the question."),
            speak=speak,
        )

    return Chain(name=name, propose=propose, deterministic=False)


def grounded_messages(instructions: str, turn: Turn) -> list[dict[str, str]]:
    """The prompt: instructions (a stable, cached prefix), labelled passages, the question."""
    budget = PROMPT_WORDS
    parts = []
    for passage in turn.passages:
        window = _nearest_window(turn.text, passage.text, length=5)
        words = window.split()
        if budget <= 0:
            break
        parts.append(f"[{passage.number}] {passage.title}: {' '.join(words[:budget])}")
        budget -= len(words)
    sources = "\n".join(parts)
    return [
        {"role": "system", "content": instructions},
        {
            "role": "user",
            # The passages are data in a labelled channel; what they say is never an instruction.
            "content": f"<documents>\n{sources}\n</documents>\n\nQuestion: {turn.text}\n"
            "Answer in at most three sentences, only from the documents.",
        },
    ]


def check_support(answer: str, passages: Sequence[Passage]) -> Support:
    """Which passage carries each sentence: most of its content words and all of its numbers."""
    vocabularies = [
        (passage.number, set(content_words(f"{passage.title} {passage.text}")), passage.text)
        for passage in passages
    ]
    sentences = []
    for sentence in split_sentences(answer):
        words = set(content_words(re.sub(r"\[\d+\]", "", sentence.text)))
        if not words:
            continue
        numbers = _NUMBER.findall(re.sub(r"\[\d+\]", "", sentence.text))
        best_number, best_share = None, 0.0
        for number, vocabulary, text in vocabularies:
            share = len(words & vocabulary) / len(words)
            if share > best_share and all(figure in text for figure in numbers):
                best_number, best_share = number, share
        sentences.append(
            {
                "start": sentence.start,
                "end": sentence.end,
                "citation": best_number if best_share >= SUPPORT_SHARE else None,
            }
        )
    return Support(sentences=tuple(sentences))


SUPPORT_SHARE = 0.7


def _confidence_after(support: Support, prior: float, chain: str) -> Confidence:
    supported = sum(1 for item in support.sentences if item["citation"] is not None)
    total = len(support.sentences)
    basis = ngettext(
        "%(supported)d of %(total)d sentence is carried by the cited passages.",
        "%(supported)d of %(total)d sentences are carried by the cited passages.",
        total,
    ) % {"supported": supported, "total": total}
    return Confidence(
        value=round(prior * (supported / total if total else 0.0), 4), chain=chain, basis=basis
    )
