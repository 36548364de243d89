"""What the chat page shows of a message: its parts in order, ready for the templates."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.template.loader import select_template
from django.utils.dateparse import parse_date
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.contract import PanelField
from praxis.assistants.registry import app_label_of, get_assistant
from praxis.conversations.access import is_own
from praxis.conversations.memory import path_ids
from praxis.conversations.models import Conversation, Feedback, Message
from praxis.conversations.rendering import cited_numbers, render_answer, visible

_CARD_TYPE = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True, kw_only=True)
class ShownCard:
    card: dict[str, Any]
    html: SafeString


@dataclass(frozen=True, kw_only=True)
class ShownMessage:
    message: Message
    plain: str
    html: SafeString
    cited: list[dict[str, Any]]
    """Passages that the text or its support refers to."""
    also_read: list[dict[str, Any]]
    has_doubts: bool
    not_in_documents: dict[str, Any] | None
    conflict: dict[str, Any] | None
    cards: list[ShownCard]
    actions: list[dict[str, Any]]
    proposals: list[dict[str, Any]]
    handoffs: list[dict[str, Any]]
    confidence: dict[str, Any] | None
    receipt: list[tuple[str, str]]
    feedback: Feedback | None
    version: int
    num_versions: int
    previous_version: UUID | None
    next_version: UUID | None
    is_last: bool
    is_own: bool
    may_rate: bool


def present(
    messages: Sequence[Message], principal: Principal, conversation: Conversation
) -> list[ShownMessage]:
    """Three queries for any number of messages."""
    siblings = _siblings(conversation, {message.parent_id for message in messages})
    feedback = {
        given.message_id: given
        for given in Feedback.objects.filter(message__in=messages, author=principal.user)
    }
    own = is_own(principal, conversation)
    return [
        _present(
            message,
            conversation=conversation,
            principal=principal,
            versions=siblings[message.parent_id],
            feedback=feedback.get(message.pk),
            own=own,
        )
        for message in messages
    ]


@dataclass(frozen=True, kw_only=True)
class ShownField:
    field: PanelField
    origin: UUID | None
    """The message that the value came from, on the branch that is shown."""


def panel_fields(conversation: Conversation) -> list[ShownField] | None:
    """None for an assistant that keeps no state. At most two queries, for the origins."""
    panel = get_assistant(conversation.assistant).panel
    if panel is None:
        return None
    fields = panel(conversation.state)
    origins: dict[int, UUID] = {}
    if turns := {field.turn for field in fields if field.turn}:
        said = Message.objects.filter(
            pk__in=path_ids(conversation.head_id), role=Message.Role.USER, turn__in=turns
        )
        origins = dict(said.values_list("turn", "pk"))
    return [
        ShownField(field=field, origin=origins.get(field.turn) if field.turn else None)
        for field in fields
    ]


def _siblings(
    conversation: Conversation, parents: set[UUID | None]
) -> dict[UUID | None, list[UUID]]:
    found: dict[UUID | None, list[UUID]] = defaultdict(list)
    rows = (
        conversation.messages.filter(parent__in=[one for one in parents if one])
        | conversation.messages.filter(parent=None)
    ).order_by("created_at", "pk")
    for message_id, parent_id in rows.values_list("pk", "parent_id"):
        found[parent_id].append(message_id)
    return found


def _present(
    message: Message,
    *,
    conversation: Conversation,
    principal: Principal,
    versions: list[UUID],
    feedback: Feedback | None,
    own: bool,
) -> ShownMessage:
    citations = message.citations
    support = message.last_event("support")
    sentences = support["sentences"] if support else []
    numbers = cited_numbers(message.text) | {
        sentence["citation"] for sentence in sentences if sentence["citation"] is not None
    }
    cited = [one for one in citations if one["number"] in numbers]
    place = versions.index(message.pk)
    is_last = message.pk == conversation.head_id
    proposals = message.events_of("action_proposed")
    return ShownMessage(
        message=message,
        plain=visible(message.text),
        html=render_answer(
            message.text,
            anchor=f"source-{message.pk}",
            citations=[one["number"] for one in cited],
            support=sentences,
        ),
        cited=cited,
        also_read=[one for one in citations if one["number"] not in numbers],
        has_doubts=any(sentence["citation"] is None for sentence in sentences),
        not_in_documents=_missing(message.last_event("not_in_documents")),
        conflict=_dated(message.last_event("conflict")),
        cards=[_draw(event, message, principal) for event in message.events_of("card")],
        actions=message.events_of("action_result"),
        proposals=proposals,
        handoffs=message.events_of("handoff"),
        confidence=_in_percent(message.last_event("confidence")),
        receipt=receipt_lines(message.receipt),
        feedback=feedback,
        version=place + 1,
        num_versions=len(versions),
        previous_version=versions[place - 1] if place else None,
        next_version=versions[place + 1] if place + 1 < len(versions) else None,
        is_last=is_last,
        is_own=own,
        may_rate=own or principal.may(Role.AGENT),
    )


def _draw(card: dict[str, Any], message: Message, principal: Principal) -> ShownCard:
    """The domain's template for the card's type; without one, the data as a list."""
    conversation = message.conversation
    names = ["conversations/cards/_any.html"]
    if _CARD_TYPE.fullmatch(card["type"]):
        names.insert(0, f"{app_label_of(conversation.assistant)}/cards/{card['type']}.html")
    html = select_template(names).render(
        {
            "card": card,
            "message": message,
            "conversation": conversation,
            "workspace": principal.workspace,
            "principal": principal,
        }
    )
    return ShownCard(card=card, html=SafeString(html))


def _missing(event: dict[str, Any] | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "num_read": event["num_read"],
        "percent": round(100 * event["confidence"]),
        "threshold_percent": round(100 * event["threshold"]),
        "told_by": event.get("told_by", "threshold"),
    }


def _dated(conflict: dict[str, Any] | None) -> dict[str, Any] | None:
    """With each claim's day as a date, so that the page writes it in the reader's language."""
    if conflict is None:
        return None
    return {
        "claims": [
            {
                **claim,
                "quote": visible(claim["quote"]),
                "added_on": parse_date(claim["dated"]) if claim["dated"] else None,
            }
            for claim in conflict["claims"]
        ]
    }


def _in_percent(confidence: dict[str, Any] | None) -> dict[str, Any] | None:
    if confidence is None:
        return None
    low, high = confidence["low"], confidence["high"]
    known = low is not None and high is not None
    return {
        "value": confidence["value"],
        "percent": round(100 * confidence["value"]),
        "low": round(100 * low) if known else None,
        "high": round(100 * high) if known else None,
        "chain": confidence["chain"],
        "basis": confidence["basis"],
    }


def receipt_lines(receipt: dict[str, Any]) -> list[tuple[str, str]]:
    """The receipt for a person: a label and a value per line; unknown keys keep their name."""
    labels = {
        "model": _("Model"),
        "base_model": _("Base model"),
        "adapter": _("Adapter"),
        "prompt_version": _("Prompt version"),
        "chain": _("Chain"),
        "reason": _("Why this chain"),
        "candidates": _("Considered"),
        "skipped": _("Skipped"),
        "thresholds": _("Thresholds"),
        "passages": _("Passages"),
        "cached": _("Given again from the answer cache"),
        "first_token_ms": _("First word after"),
        "total_ms": _("Finished after"),
        "answer_sha256": _("Hash of the answer"),
        "assistant": _("Assistant"),
        "platform": _("Version"),
    }
    ordered = [key for key in labels if key in receipt] + [
        key for key in receipt if key not in labels
    ]
    return [
        (labels.get(key, key), _in_words(key, receipt[key]))
        for key in ordered
        if receipt[key] not in (None, "", [], {})
    ]


def _in_words(key: str, value: Any) -> str:
    if key.endswith("_ms"):
        return _("%(milliseconds)s ms") % {"milliseconds": value}
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(name, one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(_in_words(key, one) for one in value)
    return visible(str(value))
