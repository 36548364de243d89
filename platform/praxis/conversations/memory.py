"""The memory of one turn: recent messages, a rolling summary, and the searchable archive.

All three look only at the path from the root to the question, so that another branch of the
conversation is never remembered, and leave out what the person had forgotten.
"""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Left
from pgvector.django import CosineDistance

from praxis.assistants.contract import LanguageModel, Remembered, State
from praxis.assistants.language_model import ServedModel
from praxis.conversations.models import Message, MessageEmbedding

MAX_RECENT = 60
SUMMARY_FIRST = 4
"""Of the older messages, the oldest that a full summary keeps: what a conversation is about is
mostly said at its beginning."""
SENTENCE_CHARACTERS = 160
RECALLED_CHARACTERS = 800
FURTHEST = 0.8
"""Cosine distance beyond which an earlier message has nothing to do with the query."""
FOLLOWED_QUESTIONS = 4
EMBEDDED_AT_ONCE = 64
EMBEDDED_CHARACTERS = 2000

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|(?<=[。！？])|\n")

_PATH = """
    WITH RECURSIVE path AS (
        SELECT id, parent_id, 1 AS depth FROM conversations_message WHERE id = %s
        UNION ALL
        SELECT m.id, m.parent_id, path.depth + 1
        FROM conversations_message m JOIN path ON m.id = path.parent_id
        WHERE path.depth < %s
    )
    SELECT id FROM path ORDER BY depth
"""
WHOLE_PATH = 1_000_000


def path_ids(leaf_id: UUID | None, limit: int = WHOLE_PATH) -> list[UUID]:
    """Ids from the leaf up to the root, the leaf first; one query."""
    if leaf_id is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_PATH, [leaf_id, limit])
        return [row[0] for row in cursor.fetchall()]


def estimate_tokens(text: str) -> int:
    """About four Latin characters to a token; one Chinese character is one."""
    wide = sum(character > "\u2e7f" for character in text)
    return (len(text) - wide) // 4 + wide + 1


class ConversationMemory:
    """Implements `contract.Memory` for the path that ends at the message `leaf_id`."""

    def __init__(self, *, leaf_id: UUID | None, state: State, model: LanguageModel) -> None:
        self._leaf_id = leaf_id
        self._state = state
        self._model = model
        self._recent_ids: set[UUID] = set()

    def recent(self, max_tokens: int) -> list[dict[str, str]]:
        """The newest messages that fit, oldest first."""
        ids = path_ids(self._leaf_id, MAX_RECENT)
        spoken = {
            message_id: (role, text)
            for message_id, role, text in Message.objects.filter(pk__in=ids, remembered=True)
            .exclude(text="")
            .exclude(role=Message.Role.SYSTEM)
            .values_list("pk", "role", "text")
        }
        messages: list[dict[str, str]] = []
        self._recent_ids = set()
        for message_id in (one for one in ids if one in spoken):
            role, text = spoken[message_id]
            max_tokens -= estimate_tokens(text)
            if max_tokens < 0:
                break
            self._recent_ids.add(message_id)
            spoken_by = "user" if role == Message.Role.USER else "assistant"
            messages.append({"role": spoken_by, "content": text})
        return messages[::-1]

    def summary(self, max_tokens: int = 200) -> str:
        """What is known, and how the person's older messages began. Empty when there are none.

        The state comes first. Of the beginnings the first few and as many of the newest as fit are
        kept; the summary rolls on without a model, so it costs nothing and invents nothing.
        """
        lines = [f"{key}: {_short(value)}" for key, value in self._state.items() if value]
        left = max_tokens - sum(map(estimate_tokens, lines))
        older = [f"- {sentence}" for sentence in self._older_beginnings()]
        first, newest = older[:SUMMARY_FIRST], older[SUMMARY_FIRST:]
        kept_first = _fitting(first, left)
        left -= sum(map(estimate_tokens, kept_first))
        kept_newest = _fitting(newest[::-1], left)[::-1] if len(kept_first) == len(first) else []
        gap = ["…"] if len(kept_first) + len(kept_newest) < len(older) else []
        return "\n".join([*_fitting(lines, max_tokens), *kept_first, *gap, *kept_newest])

    def _older_beginnings(self) -> list[str]:
        ids = [one for one in path_ids(self._leaf_id) if one not in self._recent_ids]
        beginnings = dict(
            Message.objects.filter(pk__in=ids, role=Message.Role.USER, remembered=True).values_list(
                "pk", Left("text", EMBEDDED_CHARACTERS)
            )
        )
        return [_first_sentence(beginnings[one]) for one in reversed(ids) if one in beginnings]

    def recall(self, query: str, limit: int = 3, *, also_recent: bool = False) -> list[Remembered]:
        """Earlier messages nearest to the query. Raises `ModelUnavailable`."""
        candidates = set(path_ids(self._leaf_id))
        if not also_recent:
            candidates -= self._recent_ids
        if not candidates or not query.strip():
            return []
        embed_messages(self._leaf_id, self._model)
        [vector] = self._model.embed([query[:EMBEDDED_CHARACTERS]])
        nearest = (
            MessageEmbedding.objects.filter(message__in=candidates, message__remembered=True)
            .annotate(distance=CosineDistance("vector", vector))
            .filter(distance__lt=FURTHEST)
            .order_by("distance", "pk")
            .values_list("message__turn", "message__role", "message__text", "distance")
        )
        return [
            Remembered(
                turn=turn,
                role="user" if role == Message.Role.USER else "assistant",
                text=text[:RECALLED_CHARACTERS],
                closeness=round(1 - distance, 4),
            )
            for turn, role, text, distance in nearest[:limit]
        ]


def earlier_questions(leaf_id: UUID | None) -> list[str]:
    """What the person said before, oldest first, as far back as a follow-up may lean on."""
    said = dict(
        Message.objects.filter(
            pk__in=path_ids(leaf_id, 2 * FOLLOWED_QUESTIONS),
            role=Message.Role.USER,
            remembered=True,
        ).values_list("turn", Left("text", EMBEDDED_CHARACTERS))
    )
    return [said[turn] for turn in sorted(said)]


def remembered_messages(leaf_id: UUID | None, *, containing: str = "") -> QuerySet[Message]:
    """What is remembered of a path, the newest turn first; `containing`: whole turns with it."""
    found = Message.objects.filter(pk__in=path_ids(leaf_id), remembered=True).exclude(text="")
    if containing:
        found = found.filter(turn__in=found.filter(text__icontains=containing).values("turn"))
    return found.order_by("-turn", "created_at", "pk")


def summary_of(
    leaf_id: UUID | None, *, recent_tokens: int = 200, max_tokens: int = 400
) -> list[str]:
    """The summary as a person sees it: without the state, which the page shows as fields."""
    memory = ConversationMemory(leaf_id=leaf_id, state={}, model=ServedModel())
    memory.recent(recent_tokens)
    return [line.removeprefix("- ") for line in memory.summary(max_tokens).splitlines()]


def embed_messages(leaf_id: UUID | None, model: LanguageModel) -> None:
    """Write the missing vectors of the path, the newest first. Raises `ModelUnavailable`."""
    missing = list(
        Message.objects.filter(pk__in=path_ids(leaf_id), embedding=None, remembered=True)
        .exclude(text="")
        .order_by("-created_at", "pk")
        .values_list("pk", "text")[:EMBEDDED_AT_ONCE]
    )
    if not missing:
        return
    vectors = model.embed([text[:EMBEDDED_CHARACTERS] for _, text in missing])
    MessageEmbedding.objects.bulk_create(
        (
            MessageEmbedding(message_id=message_id, vector=vector)
            for (message_id, _), vector in zip(missing, vectors, strict=True)
        ),
        ignore_conflicts=True,
    )


def state_before(parent: Message | None) -> State:
    """The state on the branch that ends at `parent`: that of its newest finished answer."""
    if parent is None:
        return {}
    if parent.state_after is not None:
        return dict(parent.state_after)
    ids: Sequence[UUID] = path_ids(parent.pk)
    states: dict[UUID, Any] = dict(
        Message.objects.filter(pk__in=ids, state_after__isnull=False).values_list(
            "pk", "state_after"
        )
    )
    return next((dict(states[one]) for one in ids if one in states), {})


def _fitting(lines: Sequence[str], max_tokens: int) -> list[str]:
    """The first lines that fit together."""
    kept: list[str] = []
    for line in lines:
        max_tokens -= estimate_tokens(line)
        if max_tokens < 0:
            break
        kept.append(line)
    return kept


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0][:SENTENCE_CHARACTERS]


def _short(value: object) -> str:
    return str(value)[:SENTENCE_CHARACTERS]
