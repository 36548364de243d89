"""Conversations and messages as JSON: one shape for the API, webhooks and exports."""

from collections.abc import Iterable
from typing import Any

from praxis.assistants.pipeline import together
from praxis.assistants.registry import get_assistant
from praxis.conversations.models import Conversation, Message


def message_to_dict(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.pk),
        "conversation": str(message.conversation_id),
        "parent": str(message.parent_id) if message.parent_id else None,
        "role": message.role,
        "ai_generated": message.role == Message.Role.ASSISTANT,
        "text": message.text,
        "status": message.status,
        "error": message.error,
        "events": message.events,
        "citations": message.citations,
        "not_in_documents": _without_kind(message.last_event("not_in_documents")),
        "conflict": _without_kind(message.last_event("conflict")),
        "confidence": _without_kind(message.last_event("confidence")),
        "state_changes": state_changes(message),
        "state_after": message.state_after,
        "receipt": message.receipt,
        "created_at": message.created_at.isoformat(),
        "finished_at": message.finished_at.isoformat() if message.finished_at else None,
    }


def state_changes(message: Message) -> dict[str, Any]:
    """What the turn, and corrections after it, changed in the state: one JSON merge patch."""
    changes: dict[str, Any] = {}
    for event in message.events_of("state_changed"):
        changes = together(changes, event["changes"])
    return changes


def _without_kind(event: dict[str, Any] | None) -> dict[str, Any] | None:
    return event and {key: value for key, value in event.items() if key != "kind"}


def conversation_to_dict(
    conversation: Conversation, messages: Iterable[Message] | None = None
) -> dict[str, Any]:
    """With `messages` the whole branch is included, as in an export."""
    assistant = get_assistant(conversation.assistant)
    found: dict[str, Any] = {
        "id": str(conversation.pk),
        "workspace": conversation.workspace.slug,
        "assistant": conversation.assistant,
        "notice": str(assistant.notice),
        "title": conversation.title,
        "channel": conversation.channel,
        "owner_kind": conversation.owner_kind,
        "state": conversation.state,
        "head": str(conversation.head_id) if conversation.head_id else None,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
    }
    if messages is not None:
        found["messages"] = [message_to_dict(message) for message in messages]
    return found


def message_event(message: Message) -> dict[str, Any]:
    """What a webhook says of an answer: ids only where the assistant's matters are sensitive."""
    ids = {"conversation": str(message.conversation_id), "message": str(message.pk)}
    if get_assistant(message.conversation.assistant).high_stakes:
        return ids
    return {**ids, **message_to_dict(message)}
