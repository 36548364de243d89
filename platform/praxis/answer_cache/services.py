"""Finding, keeping and forgetting answers.

An answer may be given again only where everything that decided it is the same: the workspace, what
the caller may read and what that holds, the assistant with its instructions, thresholds and state,
the model with its adapter, the language and the program's version. All of it is hashed into the
`scope`, so an entry made under anything else can't even be looked up. PostgreSQL holds the entries;
there is no other copy.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import Workspace
from praxis.answer_cache.models import CachedAnswer, CacheDay
from praxis.answer_cache.wording import NEAR, meaning, normalised
from praxis.assistants.contract import (
    Assistant,
    Claim,
    Confidence,
    Conflict,
    Event,
    ModelUnavailable,
    Passage,
    Retrieved,
    State,
    Support,
    Token,
    Turn,
)
from praxis.assistants.models import AssistantSettings
from praxis.assistants.pipeline import CachedProposal, prompt_version
from praxis.conversations.models import Message
from praxis.knowledge.access import SearchedContent, searched_content
from praxis.knowledge.models import Corpus
from praxis.knowledge.search_settings import settings_for

MOST_ENTRIES = 10_000
"""In a workspace; those that were not used for longest go first."""
REPLAYED = frozenset(("retrieved", "conflict", "token", "support", "confidence"))
"""What an entry consists of. An answer that did anything else (a card, an action, a hand-over) is
never kept."""
TOLD_BY_PLATFORM = frozenset(("state_changed", "done"))
"""Made anew for every turn."""


def scope_of(
    *,
    principal: Principal,
    assistant: Assistant,
    chosen: AssistantSettings,
    model: str,
    language: str,
    state: State,
    content: SearchedContent,
) -> str:
    """The hash of all that decides an answer besides the question.

    `content` is what the search covers for the caller, so those with other rights have other scopes.
    """
    decides = {
        "program": settings.VERSION,
        "workspace": str(principal.workspace.pk),
        "content": asdict(content),
        "assistant": assistant.slug,
        "prompt": prompt_version(assistant),
        "thresholds": [chosen.lower_threshold, chosen.upper_threshold],
        "documents": [chosen.documents, chosen.documents_threshold],
        "model": [settings.LLM_MODEL, model, str(chosen.adapter_id or "")],
        "encoder": settings.EMBEDDING_MODEL,
        "search": settings_for(principal.workspace, content.corpora).to_dict(),
        "language": language,
        "state": state,
    }
    return _sha256(json.dumps(decides, sort_keys=True, default=str))


@dataclass(kw_only=True)
class TurnCache:
    """The cache as one turn sees it; implements `pipeline.AnswerCache`."""

    principal: Principal
    assistant: Assistant
    chosen: AssistantSettings
    _scope: str = ""
    _content: SearchedContent | None = None
    _state: State | None = None
    _hit: CachedAnswer | None = None
    _tier: str = ""

    def find(self, turn: Turn) -> CachedProposal | None:
        """The stored answer to this question, or to one that asks the same in other words."""
        self._content = searched_content(self.principal, self.assistant.slug)
        self._state = turn.state
        self._scope = scope_of(
            principal=self.principal,
            assistant=self.assistant,
            chosen=self.chosen,
            model=turn.model.name,
            language=turn.language,
            state=turn.state,
            content=self._content,
        )
        alive = CachedAnswer.objects.select_related("message").filter(
            scope=self._scope, expires_at__gt=Now()
        )
        self._hit = alive.filter(question_sha256=_sha256(normalised(turn.text))).first()
        self._tier = "exact"
        if self._hit is None and self.chosen.cache_similar:
            self._hit, self._tier = _similar(alive, turn), "similar"
        if self._hit is None:
            return None
        hit = self._hit
        return CachedProposal(
            chain=hit.chain,
            confidence=hit.confidence,
            events=lambda: _replay(hit.events, turn.text),
            receipt={
                "cached": {
                    "entry": str(hit.pk),
                    "message": str(hit.message_id),
                    "tier": self._tier,
                    "made_at": hit.created_at.isoformat(),
                }
            },
            original_receipt=hit.message.receipt,
        )

    def settle(self, answer: Message) -> None:
        """Count the turn, and keep its answer if it may be given again. Call it once stored."""
        if not self._scope or answer.status != Message.Status.COMPLETE:
            return
        if self._hit is not None and "cached" in answer.receipt:
            self._count_hit(self._hit, answer)
        elif self._may_be_kept(answer):
            self._keep(answer)
            _count(self.principal.workspace, self.assistant.slug, missed=1)

    def _may_be_kept(self, answer: Message) -> bool:
        kinds = {event["kind"] for event in answer.events}
        repeatable = {chain.name for chain in self.assistant.chains if chain.repeatable}
        return (
            answer.receipt.get("chain") in repeatable
            and not answer.receipt.get("skipped")
            and answer.events[-1]["outcome"] == "answered"
            and kinds <= REPLAYED | TOLD_BY_PLATFORM
            and (answer.state_after or {}) == (self._state or {})
        )

    def _keep(self, answer: Message) -> None:
        question = answer.parent
        assert question is not None, "an answer has a question"
        assert self._content is not None, "`find` was asked"
        chain = answer.receipt["chain"]
        confidence = next(
            one["confidence"] for one in answer.receipt["candidates"] if one["chain"] == chain
        )
        alike = meaning(question.text)
        with transaction.atomic():
            # The documents may have changed while the answer was written; then it is not kept.
            locked = Corpus.objects.select_for_update(no_key=True)
            list(locked.filter(pk__in=self._content.corpora).order_by("pk").values_list("pk"))
            content = searched_content(self.principal, self.assistant.slug)
            if content != self._content:
                return
            CachedAnswer.objects.update_or_create(
                scope=self._scope,
                question_sha256=_sha256(normalised(question.text)),
                defaults={
                    "workspace": self.principal.workspace,
                    "assistant": self.assistant.slug,
                    "corpora": list(content.corpora),
                    "question": question.text,
                    "meaning_sha256": _sha256(alike) if alike else "",
                    "message": answer,
                    "events": [one for one in answer.events if one["kind"] in REPLAYED],
                    "confidence": confidence,
                    "chain": chain,
                    "took_ms": answer.receipt["total_ms"],
                    "expires_at": timezone.now() + timedelta(hours=self.chosen.cache_hours),
                },
            )
            _evict(self.principal.workspace)

    @transaction.atomic
    def _count_hit(self, hit: CachedAnswer, answer: Message) -> None:
        CachedAnswer.objects.filter(pk=hit.pk).update(hits=F("hits") + 1, used_at=Now())
        saved = max(0.0, hit.took_ms - answer.receipt["total_ms"])
        _count(self.principal.workspace, self.assistant.slug, saved_ms=saved, **{self._tier: 1})


def _similar(alive: QuerySet[CachedAnswer], turn: Turn) -> CachedAnswer | None:
    """The stored question that says the same; the encoder has the last word on it."""
    alike = meaning(turn.text)
    if not alike:
        return None
    found = alive.filter(meaning_sha256=_sha256(alike)).order_by("-hits", "-created_at").first()
    if found is None:
        return None
    try:
        ours, theirs = turn.model.embed([turn.text, found.question])
    except ModelUnavailable:
        return None
    return found if sum(a * b for a, b in zip(ours, theirs, strict=True)) >= NEAR else None


def _replay(events: Sequence[Mapping[str, Any]], query: str) -> Iterator[Event]:
    """The same events again; the query is the caller's, never another person's wording."""
    for event in events:
        values = {key: value for key, value in event.items() if key != "kind"}
        match event["kind"]:
            case "retrieved":
                passages = tuple(Passage(**one) for one in values["citations"])
                yield Retrieved(query=query, citations=passages)
            case "conflict":
                yield Conflict(claims=tuple(Claim(**one) for one in values["claims"]))
            case "token":
                yield Token(**values)
            case "support":
                yield Support(sentences=tuple(values["sentences"]))
            case "confidence":
                yield Confidence(**values)


def _evict(workspace: Workspace) -> None:
    entries = CachedAnswer.objects.filter(workspace=workspace)
    entries.filter(expires_at__lte=Now()).delete()
    surplus = entries.order_by("-used_at", "-pk").values("pk")[MOST_ENTRIES:]
    CachedAnswer.objects.filter(pk__in=list(surplus.values_list("pk", flat=True))).delete()


# Forgetting ---------------------------------------------------------------------------------------


def forget_corpus(corpus_id: UUID) -> None:
    """Delete the answers that searched the corpus; in the transaction that changes it."""
    CachedAnswer.objects.filter(corpora__contains=[corpus_id]).delete()


def forget_answer(message: Message) -> int:
    """Delete the entry that this answer became, or was replayed from."""
    entries = CachedAnswer.objects.filter(message=message)
    if cached := message.receipt.get("cached"):
        entries = entries | CachedAnswer.objects.filter(
            pk=cached["entry"], workspace=message.conversation.workspace_id
        )
    deleted, _by_model = entries.delete()
    return deleted


def purge(workspace: Workspace, assistant: str = "") -> int:
    """Delete the workspace's entries, or those of one assistant; the counts of hits stay."""
    entries = CachedAnswer.objects.filter(workspace=workspace)
    if assistant:
        entries = entries.filter(assistant=assistant)
    deleted, _by_model = entries.delete()
    return deleted


# Figures ------------------------------------------------------------------------------------------

_COUNT = """
    INSERT INTO answer_cache_cacheday
        (workspace_id, assistant, day, exact, "similar", missed, saved_ms)
    VALUES (%(workspace)s, %(assistant)s, %(day)s, %(exact)s, %(similar)s, %(missed)s, %(saved_ms)s)
    ON CONFLICT (workspace_id, assistant, day) DO UPDATE SET
        exact = answer_cache_cacheday.exact + excluded.exact,
        "similar" = answer_cache_cacheday."similar" + excluded."similar",
        missed = answer_cache_cacheday.missed + excluded.missed,
        saved_ms = answer_cache_cacheday.saved_ms + excluded.saved_ms
"""


def _count(
    workspace: Workspace,
    assistant: str,
    *,
    exact: int = 0,
    similar: int = 0,
    missed: int = 0,
    saved_ms: float = 0.0,
) -> None:
    values: dict[str, Any] = {
        "workspace": workspace.pk,
        "assistant": assistant,
        "day": timezone.localdate(),
        "exact": exact,
        "similar": similar,
        "missed": missed,
        "saved_ms": saved_ms,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, values)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one assistant in the last `DAYS` days."""

    assistant: str
    exact: int
    similar: int
    missed: int
    saved_seconds: float
    entries: int

    @property
    def hit_rate(self) -> float | None:
        """The share of questions answered from the cache, of those that may be; None without any."""
        asked = self.exact + self.similar + self.missed
        return (self.exact + self.similar) / asked if asked else None


DAYS = 30


def figures(workspace: Workspace, assistants: Iterable[str]) -> list[Figures]:
    since = timezone.localdate() - timedelta(days=DAYS - 1)
    counted: dict[str, dict[str, Any]] = {
        row["assistant"]: {**row}
        for row in CacheDay.objects.filter(workspace=workspace, day__gte=since)
        .values("assistant")
        .annotate(
            exact_sum=Sum("exact"),
            similar_sum=Sum("similar"),
            missed_sum=Sum("missed"),
            saved_sum=Sum("saved_ms"),
        )
    }
    alive = CachedAnswer.objects.filter(workspace=workspace, expires_at__gt=Now())
    found = []
    for slug in assistants:
        row = counted.get(slug, {})
        found.append(
            Figures(
                assistant=slug,
                exact=row.get("exact_sum", 0),
                similar=row.get("similar_sum", 0),
                missed=row.get("missed_sum", 0),
                saved_seconds=round(row.get("saved_sum", 0.0) / 1000, 1),
                entries=alive.filter(assistant=slug).count(),
            )
        )
    return found


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
