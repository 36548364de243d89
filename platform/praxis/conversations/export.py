"""A conversation as a file: the branch that is shown, with its sources and what wrote it."""

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from praxis.assistants.registry import get_assistant
from praxis.conversations.models import Conversation, Message
from praxis.conversations.rendering import visible
from praxis.conversations.serializers import conversation_to_dict


def as_json(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    return conversation_to_dict(conversation, messages)


def as_markdown(conversation: Conversation, messages: Sequence[Message]) -> str:
    assistant = get_assistant(conversation.assistant)
    lines = [
        f"# {_inert(conversation.title or str(assistant.title))}",
        "",
        f"> {assistant.notice}",
        "",
        _("Assistant: %(name)s. Exported branch with %(count)s messages.")
        % {"name": assistant.title, "count": len(messages)},
        "",
    ]
    for message in messages:
        lines += [f"## {_heading(message)}", "", _inert(message.text), ""]
        if message.status != Message.Status.COMPLETE:
            lines += [f"*{message.get_status_display()}*", ""]
        if confidence := message.last_event("confidence"):
            lines += [
                _("Confidence: %(percent)s %% (%(basis)s)")
                % {"percent": round(100 * confidence["value"]), "basis": confidence["basis"]},
                "",
            ]
        for card in message.events_of("card"):
            lines += [f"**{_inert(card['title'])}**", ""]
        for citation in message.citations:
            page = _(", page %(page)s") % {"page": citation["page"]} if citation["page"] else ""
            quote = " ".join(_inert(citation["text"]).split())
            lines.append(f"- [{citation['number']}] {_inert(citation['title'])}{page}: “{quote}”")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _heading(message: Message) -> str:
    when = message.created_at.strftime("%Y-%m-%d %H:%M UTC")
    if message.role == Message.Role.ASSISTANT:
        return _("Assistant (AI-generated), %(when)s") % {"when": when}
    return f"{message.get_role_display()}, {when}"


def _inert(text: str) -> str:
    """Readers of the file must not load what a message names: images and HTML are taken apart."""
    return visible(text).replace("![", "!\\[").replace("<", "&lt;")
