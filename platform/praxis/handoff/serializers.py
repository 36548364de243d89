"""A handoff as JSON: one shape for the API, webhooks and pages' scripts."""

from typing import Any

from praxis.assistants.registry import get_assistant
from praxis.handoff.models import Handoff


def handoff_to_dict(handoff: Handoff) -> dict[str, Any]:
    return {
        "id": str(handoff.pk),
        "conversation": str(handoff.conversation_id),
        "state": handoff.state,
        "trigger": handoff.trigger,
        "reason": handoff.reason,
        "agent": handoff.agent.get_username() if handoff.agent else None,
        "requested_at": handoff.requested_at.isoformat(),
        "due_at": handoff.due_at.isoformat(),
        "assigned_at": handoff.assigned_at.isoformat() if handoff.assigned_at else None,
        "first_reply_at": handoff.first_reply_at.isoformat() if handoff.first_reply_at else None,
        "ended_at": handoff.ended_at.isoformat() if handoff.ended_at else None,
    }


def handoff_event(handoff: Handoff) -> dict[str, Any]:
    """What a webhook says: without the reason where the assistant's matters are sensitive."""
    found = handoff_to_dict(handoff)
    if get_assistant(handoff.conversation.assistant).high_stakes:
        del found["reason"]
    return {"conversation": found["conversation"], "handoff": found}
