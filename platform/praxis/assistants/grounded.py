"""Both chains for a question that the workspace's documents answer; any domain may use them.

The extractive chain quotes the sentences of one passage verbatim. The generative chain lets the
language model say it in its own words, and afterwards checks every sentence against the passages.
Both stand on the same passages, so `[1]` means the same span whichever speaks.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from praxis.assistants.channel import as_data, channel
from praxis.assistants.conflicts import find_conflict
from praxis.assistants.contract import (
    Chain,
    Confidence,
    Event,
    NotInDocuments,
    Passage,
    Proposal,
    Support,
    Token,
    Turn,
)
from praxis.assistants.remembering import with_memory
from praxis.assistants.sentences import content_words, split_sentences
from praxis.assistants.support import check_support

PASSAGES = 4
PROMPT_WORDS = 160
"""Of the passages, in the model's prompt: reading is most of a small model's latency."""
ANSWER_TOKENS = 160
MEMORY_TOKENS = 200
"""Of the conversation before, in the model's prompt."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The best passage and the run of its sentences that is nearest to the question."""

    passage: Passage
    quote: str
    confidence: float


def find_evidence(turn: Turn) -> Evidence | None:
    """Retrieve once per turn and pick the quote; None when nothing was found.

    The confidence is the passage's relevance, which is fitted and calibrated where the features are
    known: in `praxis.knowledge.search`.
    """
    if not turn.passages:
        turn.passages.extend(turn.retrieve(turn.text, PASSAGES))
    best = max(turn.passages, key=lambda passage: passage.score, default=None)
    turn.documents_confidence = best.score if best else 0.0
    if best is None:
        return None
    quote = _nearest_window(turn.text, best.text)
    return Evidence(passage=best, quote=quote, confidence=best.score)


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
            yield from _conflict(turn)
            yield from quote_events(evidence)

        return Proposal(
            confidence=evidence.confidence,
            basis=_(
                "How near the quoted passage is to the question, and how much of it it covers."
            ),
            speak=speak,
        )

    return Chain(name=name, propose=propose, deterministic=True, repeatable=True, documents="quote")


def quote_events(evidence: Evidence) -> Iterator[Event]:
    passage = evidence.passage
    lines = "\n".join(f"> {line}" for line in evidence.quote.splitlines() if line.strip())
    text = _("%(title)s says:") % {"title": passage.title}
    yield Token(text=f"{text}\n\n{lines}\n\n[{passage.number}]")


def generative_chain(instructions: str, name: str = "model") -> Chain:
    """Answers in the model's own words from the passages, then checks each sentence.

    Its proposal is as sure as the quote's, because both stand on the same passages; what the model
    makes of them is known only afterwards, and lowers the confidence then.
    """

    def propose(turn: Turn) -> Proposal | None:
        evidence = find_evidence(turn)
        if evidence is None:
            return None

        def speak() -> Iterator[Event]:
            yield from _conflict(turn)
            pieces: list[str] = []
            messages = with_memory(grounded_messages(instructions, turn), turn, MEMORY_TOKENS)
            spoken = turn.model.stream(messages, max_tokens=ANSWER_TOKENS)
            for piece in without_refusal(spoken):
                pieces.append(piece)
                yield Token(text=piece)
            if not pieces:
                yield NotInDocuments(
                    confidence=round(evidence.confidence, 4),
                    threshold=0.0,
                    num_read=len(turn.passages),
                    told_by="model",
                )
                return
            support = check_support("".join(pieces), turn.passages)
            yield support
            yield _confidence_after(support, evidence.confidence, name)

        return Proposal(
            confidence=evidence.confidence,
            basis=_("How near the passages are to the question."),
            speak=speak,
        )

    return Chain(
        name=name, propose=propose, deterministic=False, repeatable=True, documents="model"
    )


def _conflict(turn: Turn) -> Iterator[Event]:
    if (conflict := find_conflict(turn.text, turn.passages)) is not None:
        yield conflict


_REFUSALS = (
    "the documents do not",
    "the documents don't",
    "the document does not",
    "the document doesn't",
    "the passages do not",
    "the passages don't",
    "the given documents do",
    "the given passages do",
    "the documents say nothing",
    "i do not know",
    "i don't know",
    "文档没有",
    "文档中没有",
    "文件没有",
    "文件中没有",
    "资料中没有",
    "我不知道",
)
"""How a model says that the passages don't answer; the first is what the shipped one learnt."""


def without_refusal(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces as they come; none at all when the answer begins as a refusal.

    The beginning is held back until it can't be one any more, and a refusal ends the decoding.
    """
    held, decided = "", False
    with closing(pieces):  # type: ignore[type-var]  # a generator behind the Iterator
        for piece in pieces:
            if decided:
                yield piece
                continue
            held += piece
            begun = held.strip().lower().replace("’", "'")
            if begun.startswith(_REFUSALS):
                return
            if not any(refusal.startswith(begun) for refusal in _REFUSALS):
                decided = True
                yield held
        if not decided and held.strip():
            yield held


def grounded_messages(instructions: str, turn: Turn) -> list[dict[str, str]]:
    """The prompt: instructions (a stable, cached prefix), labelled passages, the question."""
    budget = PROMPT_WORDS
    lines = []
    for passage in turn.passages:
        window = _nearest_window(turn.text, passage.text, length=5)
        words = as_data(window).split()
        if budget <= 0:
            break
        lines.append(f"[{passage.number}] {as_data(passage.title)}: {' '.join(words[:budget])}")
        budget -= len(words)
    return [
        {"role": "system", "content": instructions},
        {
            "role": "user",
            "content": f"{channel('documents', lines)}\n\nQuestion: {turn.text}\n"
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
