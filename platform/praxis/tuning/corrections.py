"""A data set from what people corrected: the conversation up to an answer, and the better answer."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from praxis.accounts.models import Workspace
from praxis.assistants.contract import Assistant
from praxis.conversations.models import Feedback, Message

# Roles of a conversation as training knows them; notes of the system are left out.
_ROLES = {
    Message.Role.USER: "user",
    Message.Role.ASSISTANT: "assistant",
    Message.Role.PERSON: "assistant",
}


def corrected_conversations(
    workspace: Workspace, assistant: Assistant, *, reviewed_only: bool
) -> Iterator[dict[str, Any]]:
    """One training conversation per corrected answer, the oldest correction first.

    Only the corrected answer is learnt (weight 1); the answers before it are context (weight 0).
    Where several people corrected one answer, an accepted correction wins, then the newest.
    """
    reviews = [Feedback.Review.ACCEPTED]
    if not reviewed_only:
        reviews.append(Feedback.Review.OPEN)
    corrections = (
        Feedback.objects.filter(
            message__conversation__workspace=workspace,
            message__conversation__assistant=assistant.slug,
            message__role=Message.Role.ASSISTANT,
            review__in=reviews,
        )
        .exclude(correction="")
        .select_related("message")
        .order_by("updated_at", "pk")
    )
    chosen: dict[UUID, Feedback] = {}
    for feedback in corrections:
        rival = chosen.get(feedback.message_id)
        if (
            rival is None
            or feedback.review == Feedback.Review.ACCEPTED
            or rival.review == Feedback.Review.OPEN
        ):
            chosen[feedback.message_id] = feedback
    conversations = {feedback.message.conversation_id for feedback in chosen.values()}
    messages = {
        message.pk: message
        for message in Message.objects.filter(conversation__in=conversations).only(
            "pk", "parent_id", "role", "text"
        )
    }
    for feedback in chosen.values():
        turns = _path(messages, feedback.message.parent_id)
        yield {
            "messages": [
                {"role": "system", "content": assistant.instructions},
                *turns,
                {"role": "assistant", "content": feedback.correction, "weight": 1},
            ]
        }


def to_jsonl(conversations: Iterator[dict[str, Any]]) -> bytes:
    return "".join(
        json.dumps(conversation, ensure_ascii=False) + "\n" for conversation in conversations
    ).encode()


def _path(messages: dict[UUID, Message], leaf: UUID | None) -> list[dict[str, Any]]:
    """The branch from the first message down to `leaf`."""
    turns: list[dict[str, Any]] = []
    while leaf is not None:
        message = messages[leaf]
        role = _ROLES.get(Message.Role(message.role))
        if role is not None and message.text.strip():
            turn: dict[str, Any] = {"role": role, "content": message.text}
            if role == "assistant":
                turn["weight"] = 0
            turns.append(turn)
        leaf = message.parent_id
    return turns[::-1]
