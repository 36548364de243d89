"""Questions that the assistant could not answer, put together by meaning into articles to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from django.db.models import Exists, OuterRef

from praxis.accounts.access import Principal
from praxis.analytics.figures import FELL_SHORT, Period, conversations_in
from praxis.assistants.language_model import ServedModel
from praxis.conversations.memory import EMBEDDED_CHARACTERS
from praxis.conversations.models import Feedback, Message, MessageEmbedding

MOST_QUESTIONS = 500
"""The newest that are put together; the cost of it grows with the square of their number."""
FURTHEST = 0.5
"""Mean cosine distance up to which two groups are one matter."""
SHOWN_QUESTIONS = 12
SHOWN_REPLIES = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    message_id: UUID
    conversation_id: UUID
    text: str


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Questions about one matter; `title` is the one in their middle."""

    title: str
    assistant: str
    count: int
    questions: list[Question]
    message_ids: list[UUID]


def unanswered_topics(principal: Principal, period: Period, assistant: str = "") -> list[Topic]:
    """The most asked first. Raises `ModelUnavailable` when vectors are missing and can't be made."""
    topics: list[Topic] = []
    by_assistant: dict[str, list[Message]] = {}
    for message in _unanswered(principal, period, assistant):
        by_assistant.setdefault(message.conversation.assistant, []).append(message)
    for slug, messages in by_assistant.items():
        vectors = _vectors(messages)
        for numbers in together(vectors):
            topics.append(_topic(slug, [messages[number] for number in numbers], vectors[numbers]))
    return sorted(topics, key=lambda topic: (-topic.count, topic.title))


def _unanswered(principal: Principal, period: Period, assistant: str) -> list[Message]:
    answers = Message.objects.filter(parent=OuterRef("pk"), role=Message.Role.ASSISTANT)
    thumb_down = Feedback.objects.filter(message__parent=OuterRef("pk"), thumb="down")
    found = (
        Message.objects.filter(
            conversation__in=conversations_in(principal, period, assistant), role=Message.Role.USER
        )
        .filter(Exists(answers.filter(FELL_SHORT)) | Exists(thumb_down))
        .select_related("conversation")
        .order_by("-created_at", "pk")
    )
    return list(found[:MOST_QUESTIONS])


def _vectors(messages: Sequence[Message]) -> np.ndarray:
    """(questions, width), normalised: those of the archive, and new ones for what it lacks."""
    known = dict(
        MessageEmbedding.objects.filter(message__in=messages).values_list("message_id", "vector")
    )
    missing = [message for message in messages if message.pk not in known]
    if missing:
        texts = [message.text[:EMBEDDED_CHARACTERS] for message in missing]
        made = ServedModel().embed(texts)
        known |= {message.pk: vector for message, vector in zip(missing, made, strict=True)}
    vectors = np.asarray([known[message.pk] for message in messages], dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def together(vectors: np.ndarray) -> list[list[int]]:
    """Row numbers by group: average-linkage clustering cut at `FURTHEST`; no number is chosen."""
    # Half a second to import, and only this page needs it.
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        return [[number] for number in range(len(vectors))]
    labels = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=FURTHEST
    ).fit_predict(vectors)
    groups: dict[int, list[int]] = {}
    for number, label in enumerate(labels):
        groups.setdefault(int(label), []).append(number)
    return list(groups.values())


def _topic(slug: str, messages: list[Message], vectors: np.ndarray) -> Topic:
    nearness = vectors @ vectors.mean(axis=0)
    order = np.argsort(-nearness, kind="stable")
    title = " ".join(messages[int(order[0])].text.split())[:200]
    return Topic(
        title=title,
        assistant=slug,
        count=len(messages),
        questions=[
            Question(
                message_id=messages[number].pk,
                conversation_id=messages[number].conversation_id,
                text=" ".join(messages[number].text.split())[:300],
            )
            for number in map(int, order[:SHOWN_QUESTIONS])
        ],
        message_ids=[message.pk for message in messages],
    )
