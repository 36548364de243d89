"""One turn: rules that come first, state, both chains, arbiter, answer, receipt.

The pipeline is a plain generator. Closing it between two events (stop, a lost right) closes the
chosen chain's generator, and with it the model's stream.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext as _

from praxis.assistants.contract import (
    Assistant,
    Chain,
    Confidence,
    Done,
    Event,
    Handoff,
    ModelUnavailable,
    NotInDocuments,
    Passage,
    Proposal,
    Retrieved,
    State,
    StateChanged,
    Token,
    Turn,
)


@dataclass(frozen=True, kw_only=True)
class CachedProposal:
    """An earlier answer to the same question, as one of the proposals."""

    chain: str
    confidence: float
    events: Callable[[], Iterator[Event]]
    receipt: dict[str, Any]
    """What the receipt says of the replay."""
    original_receipt: dict[str, Any]


class AnswerCache(Protocol):
    def find(self, turn: Turn) -> CachedProposal | None:
        """Asked at most once, after `track`, when the first repeatable chain would propose."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    chain: Chain
    proposal: Proposal
    cached: CachedProposal | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Who speaks first, who speaks if the model fails before a word is out, and why."""

    chosen: Candidate | None
    reserve: Candidate | None
    reason: str


def arbitrate(
    candidates: Iterable[Candidate],
    *,
    lower: float,
    upper: float,
    documents: str = "quote",
    documents_lower: float = 0.0,
) -> Decision:
    """The two-chain rule: sure rules speak; else the surest chain; below `lower` nobody does.

    Rules win a tie, because what they say can be traced to the rule. Of two chains that answer from
    the same documents the one of the kind `documents` is weighed, `quote` or `model`; the confidence
    of both rests on the same passages, so it can't tell which wording is the better one. Below
    `documents_lower` neither is: the documents don't answer.
    """
    candidates = [
        item
        for item in candidates
        if not item.chain.documents or item.proposal.confidence >= documents_lower
    ]
    kinds = {item.chain.documents for item in candidates}
    weighed = {"", documents} if documents in kinds else {"", *kinds}
    ranked = sorted(
        (item for item in candidates if item.chain.documents in weighed),
        key=lambda item: (item.proposal.confidence, item.chain.deterministic),
        reverse=True,
    )
    rules = [item for item in ranked if item.chain.deterministic]
    if rules and rules[0].proposal.confidence >= upper:
        return Decision(chosen=rules[0], reserve=None, reason="rules_above_upper_threshold")
    if ranked and ranked[0].proposal.confidence >= lower:
        able = (
            item
            for item in candidates
            if item.chain.deterministic
            and item is not ranked[0]
            and item.proposal.confidence >= lower
        )
        return Decision(
            chosen=ranked[0],
            reserve=max(able, key=lambda item: item.proposal.confidence, default=None),
            reason="highest_confidence",
        )
    return Decision(
        chosen=None,
        reserve=None,
        reason="all_below_lower_threshold" if ranked else "no_chain_had_an_answer",
    )


def difference(before: State, after: State) -> State:
    """What changed, as a JSON merge patch (RFC 7396): new values by key, None for a key that is gone;
    of an object that was there before, only what changed in it.
    """
    changes: State = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        old = before.get(key)
        if old == value:
            continue
        nested = isinstance(old, dict) and isinstance(value, dict)
        changes[key] = difference(old, value) if nested else value  # type: ignore[arg-type]
    return changes


def together(first: State, second: State) -> State:
    """One merge patch that does what the two do one after the other."""
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = together(old, value) if nested else value  # type: ignore[arg-type]
    return merged


def prompt_version(assistant: Assistant) -> str:
    return hashlib.sha256(assistant.instructions.encode()).hexdigest()[:12]


def run_turn(
    assistant: Assistant,
    turn: Turn,
    *,
    lower: float,
    upper: float,
    documents: str = "quote",
    documents_lower: float = 0.0,
    cache: AnswerCache | None = None,
) -> Iterator[Event]:
    """Yield the events of one turn; `Done`, with the receipt, is always the last.

    `documents`, `documents_lower`: see `arbitrate`. A failing model server ends the turn with outcome
    "failed" and a sentence for the person. Any other exception is a bug and propagates.
    """
    with translation.override(turn.language):
        yield from _Run(assistant, turn, lower, upper, documents, documents_lower, cache).events()


class _Run:
    """The bookkeeping of one turn while its events pass by."""

    def __init__(
        self,
        assistant: Assistant,
        turn: Turn,
        lower: float,
        upper: float,
        documents: str,
        documents_lower: float,
        cache: AnswerCache | None,
    ) -> None:
        self.assistant, self.turn, self.lower, self.upper = assistant, turn, lower, upper
        self.documents, self.documents_lower = documents, documents_lower
        self.cache = cache
        self.cached: CachedProposal | None = None
        self.started = time.monotonic()
        self.first_token_ms: float | None = None
        self.text: list[str] = []
        self.handed_over = False
        self.not_in_documents = False
        self.confidence: Confidence | None = None
        self.retrieved_told = False
        self.chain = ""
        self.reason = ""
        self.candidates: list[Candidate] = []
        self.skipped: dict[str, str] = {}

    def events(self) -> Iterator[Event]:
        try:
            yield from self._answer()
        except ModelUnavailable as error:
            yield Done(outcome="failed", error=str(error), receipt=self._receipt())

    def _answer(self) -> Iterator[Event]:
        turn, assistant = self.turn, self.assistant
        if assistant.guard is not None and (warning := assistant.guard(turn)) is not None:
            self.chain, self.reason = "guard", "rule_that_comes_first"
            yield from self._relay(warning)
            yield self._done("answered")
            return
        if assistant.track is not None:
            state = assistant.track(turn)
            if changes := difference(turn.state, state):
                turn.state = state
                yield StateChanged(changes=changes, state=state)
        self._collect()
        decision = arbitrate(
            self.candidates,
            lower=self.lower,
            upper=self.upper,
            documents=self.documents,
            documents_lower=self.documents_lower,
        )
        self.reason = decision.reason
        if decision.chosen is None:
            if self.skipped and not self.candidates:
                raise ModelUnavailable(next(iter(self.skipped.values())))
            self.chain = "abstain"
            if turn.documents_confidence is not None:
                yield from self._relay([self._not_in_documents(turn.documents_confidence)])
            yield from self._relay(assistant.abstain(turn))
            yield self._done("abstained")
            return
        try:
            yield from self._speak(decision.chosen)
        except ModelUnavailable as error:
            if self.text or decision.reserve is None:
                raise
            self.skipped[decision.chosen.chain.name] = str(error)
            self.reason = "model_unavailable"
            yield from self._speak(decision.reserve)
        if self.not_in_documents:
            self.reason = "model_found_no_answer"
            yield from self._relay(assistant.abstain(turn))
            yield self._done("abstained")
            return
        yield self._done("answered")

    def _not_in_documents(self, confidence: float) -> NotInDocuments:
        return NotInDocuments(
            confidence=round(confidence, 4),
            threshold=max(self.lower, self.documents_lower),
            num_read=len(self.turn.passages),
        )

    def _collect(self) -> None:
        """Ask the chains in order; one that needs the model server while it is down is skipped."""
        cached: CachedProposal | None = None
        for chain in self.assistant.chains:
            if chain.repeatable and self.cache is not None:
                cached = self.cache.find(self.turn)
                self.cache = None
            if chain.repeatable and cached is not None:
                # It was picked among the repeatable chains when it was made.
                if chain.name == cached.chain:
                    self.candidates.append(_as_candidate(chain, cached))
                continue
            try:
                proposal = chain.propose(self.turn)
            except ModelUnavailable as error:
                self.skipped[chain.name] = str(error)
                continue
            if proposal is None:
                continue
            self.candidates.append(Candidate(chain=chain, proposal=proposal))
            sure = chain.deterministic and proposal.confidence >= self.upper
            if sure and chain.documents in ("", self.documents):
                return  # nothing can overrule it, so the slower chains are not asked

    def _speak(self, candidate: Candidate) -> Iterator[Event]:
        self.chain, self.cached = candidate.chain.name, candidate.cached
        self.retrieved_told = candidate.cached is not None or self.retrieved_told
        yield from self._relay(candidate.proposal.speak())
        if self.confidence is None and not self.not_in_documents:
            proposal = candidate.proposal
            self.confidence = Confidence(
                value=proposal.confidence,
                chain=self.chain,
                basis=proposal.basis,
                low=proposal.low,
                high=proposal.high,
            )
            yield self.confidence

    def _relay(self, spoken: Iterable[Event]) -> Iterator[Event]:
        if self.turn.passages and not self.retrieved_told:
            self.retrieved_told = True
            yield Retrieved(query=self.turn.text, citations=tuple(self.turn.passages))
        with closing(_as_generator(spoken)) as events:
            for event in events:
                if isinstance(event, Token):
                    if self.first_token_ms is None:
                        self.first_token_ms = self._elapsed_ms()
                    self.text.append(event.text)
                elif isinstance(event, Confidence):
                    self.confidence = event
                elif isinstance(event, Handoff):
                    self.handed_over = True
                elif isinstance(event, NotInDocuments):
                    self.not_in_documents = True
                elif isinstance(event, StateChanged):
                    self.turn.state = event.state
                yield event

    def _done(self, outcome: str) -> Done:
        return Done(outcome="handed_over" if self.handed_over else outcome, receipt=self._receipt())

    def _elapsed_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 1)

    def _receipt(self) -> dict[str, Any]:
        """What is needed to explain the answer and to replay it."""
        receipt = {
            "platform": settings.VERSION,
            "assistant": self.assistant.slug,
            "model": self.turn.model.name,
            "base_model": settings.LLM_MODEL,
            "prompt_version": prompt_version(self.assistant),
            "chain": self.chain,
            "reason": self.reason,
            "candidates": [
                {"chain": item.chain.name, "confidence": round(item.proposal.confidence, 4)}
                for item in self.candidates
            ],
            "skipped": self.skipped,
            "thresholds": {
                "lower": self.lower,
                "upper": self.upper,
                "documents": self.documents_lower,
            },
            "passages": [_span(passage) for passage in self.turn.passages],
            "first_token_ms": self.first_token_ms,
            "total_ms": self._elapsed_ms(),
            "answer_sha256": hashlib.sha256("".join(self.text).encode()).hexdigest(),
        }
        if self.cached is not None:
            receipt["passages"] = self.cached.original_receipt.get("passages", [])
            receipt |= self.cached.receipt
        return receipt


def _as_candidate(chain: Chain, cached: CachedProposal) -> Candidate:
    proposal = Proposal(
        confidence=cached.confidence,
        basis=_("How sure the assistant was when it answered this question before."),
        speak=cached.events,
    )
    return Candidate(chain=chain, proposal=proposal, cached=cached)


def _span(passage: Passage) -> dict[str, Any]:
    return {
        "number": passage.number,
        "document": passage.document_id,
        "version": passage.version_id,
        "chunk": passage.chunk_id,
        "start": passage.start,
        "end": passage.end,
        "score": round(passage.score, 4),
    }


def _as_generator(events: Iterable[Event]) -> Any:
    """The iterator as something that can be closed, also when a domain returned `iter([...])`."""
    return events if hasattr(events, "close") else (event for event in events)
