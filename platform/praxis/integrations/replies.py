"""What goes back to a channel: the assistant's answers, agents' words, programs' messages."""

from typing import Any

from django.utils.translation import gettext as _

from praxis.conversations.models import Message
from praxis.integrations.events import send_to
from praxis.integrations.models import InboundMessage

REPLY = "channel.reply"
CAME_BY_HOOK = "hook-"
"""How `Conversation.channel` begins where the conversation came by an inbound webhook."""


def reply_to_dict(message: Message) -> dict[str, Any]:
    """A message for the person as their channel gets it; the text also where matters are sensitive."""
    return {
        "message": str(message.pk),
        "role": message.role,
        "ai_generated": message.role == Message.Role.ASSISTANT,
        "text": message.text,
        "status": message.status,
        "error": _why_cut_off(message),
        "proposals": [one["summary"] for one in message.events_of("action_proposed")],
        "citations": message.citations,
    }


def _why_cut_off(message: Message) -> str:
    """For a program that shows the person nothing but sentences."""
    if message.status == Message.Status.INTERRUPTED:
        return _("The answer was interrupted. Your message is kept.")
    return message.error


def send_reply(message: Message) -> None:
    """To the channel that the conversation came from, if it takes replies; in the caller's transaction."""
    if not message.conversation.channel.startswith(CAME_BY_HOOK):
        return
    newest = (
        InboundMessage.objects.select_related("channel__endpoint", "channel__workspace")
        .filter(said__conversation=message.conversation_id)
        .order_by("-at", "-pk")
        .first()
    )
    if newest is None or not newest.channel.enabled:
        return
    endpoint = newest.channel.endpoint
    if endpoint is None or not endpoint.enabled:
        return
    data = {
        "channel": newest.channel.name,
        "sender": newest.sender,
        "thread": newest.thread,
        "conversation": str(message.conversation_id),
        "owner": message.conversation.owner_kind,
        "reply": reply_to_dict(message),
    }
    send_to([endpoint], newest.channel.workspace, REPLY, subject=message.conversation_id, data=data)
