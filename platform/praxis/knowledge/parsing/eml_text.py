"""Mails (.eml): subject, who wrote to whom and when, and the body. Runs in the child process."""

from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from .blocks import Block, Page, Refused, clean_line, strip_invisible
from .html_text import blocks_of_html
from .plain_text import blocks_of_text, in_parts

_HEADERS = ("From", "To", "Cc", "Date")


def read(data: bytes) -> Iterator[Page]:
    message = message_from_bytes(data, policy=default)
    if not isinstance(message, EmailMessage) or not (message["From"] or message["Subject"]):
        raise Refused("other_content", suffix=".eml", found="text")
    notes: list[tuple[str, dict[str, Any]]] = []
    blocks = (
        [Block("heading", subject, 1)] if (subject := clean_line(message["Subject"] or "")) else []
    )
    lines = [
        f"{name}: {value}" for name in _HEADERS if (value := clean_line(str(message[name] or "")))
    ]
    if lines:
        blocks.append(Block("row", "; ".join(lines)))
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        try:
            text = body.get_content()
        except (LookupError, ValueError, KeyError):  # an encoding that nobody knows
            raise Refused("binary") from None
        if removed := strip_invisible(text)[1]:
            notes.append(("invisible_characters", {"characters": removed}))
        if body.get_content_subtype() == "html":
            found, hidden = blocks_of_html(text)
            blocks += found
            if hidden:
                notes.append(("hidden_text", {"characters": hidden}))
        else:
            blocks += blocks_of_text(text)
    names = [
        clean_line(part.get_filename() or part.get_content_type())
        for part in message.iter_attachments()
    ]
    if names:
        notes.append(("attachments", {"names": ", ".join(names[:20])}))
    yield from in_parts(iter(blocks), notes)
