"""Both chains for a question that the workspace's documents answer; any domain may use them.

The extractive chain quotes the sentences of one passage verbatim. The generative chain lets the
language model say it in its own words, and afterwards checks every sentence against the passages.
Both stand on the same passages, so `[1]` means the same span whichever speaks.
"""

import math
from collections.abc import Iterator
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
from praxis.assistants.sentences import content_words, split_sentences
from praxis.assistants.support import check_support

PASSAGES = 4
PROMPT_WORDS = 160
"""Of the passages, in the model's prompt: reading is most of a small model's latency."""
ANSWER_TOKENS = 160


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
            retrieval_score=passage.score,
            covered=coverage(turn.text, f"{passage.title} {passage.heading} {quote}"),
        )
        if best is None or confidence > best.confidence:
            best = Evidence(passage=passage, quote=quote, confidence=confidence)
    turn.documents_confidence = best.confidence if best else 0.0
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

    return Chain(name=name, propose=propose, deterministic=True, repeatable=True)


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

    return Chain(name=name, propose=propose, deterministic=False, repeatable=True)


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


def _confidence_after(support: Support, prior: float, chain: str) -> Confidence:
    supported = sum(sentence.citation is not None for sentence in support.sentences)
    total = len(support.sentences)
    basis = ngettext(
        "%(supported)d of %(total)d sentence is carried by the cited passages.",
        "%(supported)d of %(total)d sentences are carried by the cited passages.",
        total,
    ) % {"supported": supported, "total": total}
    return Confidence(
        value=round(prior * (supported / total if total else 0.0), 4), chain=chain, basis=basis
    )
