"""What the inbox shows: the queue, and one conversation with all that an agent needs to know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Prefetch, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.access import conversations_of
from praxis.conversations.memory import SENTENCE_CHARACTERS
from praxis.conversations.models import Conversation, ConversationQuerySet, Message
from praxis.conversations.presentation import ShownMessage, present
from praxis.conversations.services import shown_messages
from praxis.conversations.streams import settle
from praxis.handoff.access import agents_of
from praxis.handoff.models import Handoff, Note, Transition
from praxis.handoff.presence import present_users

SHOWS = ("waiting", "mine", "all", "closed")
LISTED = 100
SHOWN_MESSAGES = 100
"""Newest messages of a conversation in the inbox."""
SUMMARY_QUESTIONS = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    conversation: Conversation
    handoff: Handoff | None
    urgency: str
    """See `Handoff.urgency`; empty while no person was asked for."""
    person_speaks_last: bool


def queue(principal: Principal, show: str) -> list[Row]:
    """The conversations under a tab, the most urgent first; two queries."""
    found = _under(principal, show).select_related("person", "head", "owner")
    found = found.prefetch_related(
        Prefetch(
            "handoffs",
            Handoff.objects.filter(state__in=["waiting", "person"]).select_related("agent"),
            to_attr="open_handoffs",
        )
    )
    now = timezone.now()
    return [_row(conversation, now) for conversation in found[:LISTED]]


def counts(principal: Principal) -> dict[str, int]:
    """How many wait for a person, and how many this agent answers."""
    return {
        "waiting": _under(principal, "waiting").count(),
        "mine": _under(principal, "mine").count(),
    }


def _under(principal: Principal, show: str) -> ConversationQuerySet:
    found = conversations_of(principal).exclude(head=None)
    match show:
        case "waiting":
            # The longest waiting first.
            asked = Max("handoffs__requested_at", filter=Q(handoffs__state="waiting"))
            return found.filter(owner_kind="waiting").annotate(asked_at=asked).order_by("asked_at")
        case "mine":
            return found.filter(owner_kind="person", owner=principal.user).order_by("-updated_at")
        case "closed":
            return found.filter(owner_kind="closed").order_by("-updated_at", "pk")
        case _:
            return found.exclude(owner_kind="closed").order_by("-updated_at", "pk")


def _row(conversation: Conversation, now: datetime) -> Row:
    handoffs: list[Handoff] = conversation.open_handoffs  # type: ignore[attr-defined]  # prefetched
    handoff = handoffs[0] if handoffs else None
    head = conversation.head
    return Row(
        conversation=conversation,
        handoff=handoff,
        urgency=handoff.urgency(now) if handoff else "",
        person_speaks_last=head is not None and head.role == Message.Role.USER,
    )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the conversation as agents see it: a message, a note, or a change of hands."""

    at: datetime
    shown: ShownMessage | None = None
    note: Note | None = None
    change: str = ""


def timeline(principal: Principal, conversation: Conversation) -> list[Entry]:
    """Messages of the shown branch with the agents' notes and the changes of hands between them."""
    messages = [settle(one) for one in shown_messages(conversation)[-SHOWN_MESSAGES:]]
    for message in messages:
        message.conversation = conversation
    entries = [
        Entry(at=shown.message.created_at, shown=shown)
        for shown in present(messages, principal, conversation)
    ]
    since = messages[0].created_at if messages else conversation.created_at
    notes = conversation.notes.filter(created_at__gte=since).select_related("author")
    changes = conversation.transitions.filter(at__gte=since).select_related("actor", "agent")
    entries += [Entry(at=note.created_at, note=note) for note in notes]
    entries += [Entry(at=change.at, change=_in_words(change)) for change in changes]
    return sorted(entries, key=lambda entry: entry.at)


def _in_words(change: Transition) -> str:
    actor = change.actor or _("The assistant")
    match change.to_state:
        case "waiting" if change.from_state == "person":
            return _("%(name)s put it back into the queue.") % {"name": actor}
        case "waiting":
            return _("%(name)s asked for a person.") % {"name": actor}
        case "person" if change.actor == change.agent:
            return _("%(name)s took over.") % {"name": change.agent or _("A person")}
        case "person":
            return _("%(name)s gave it to %(agent)s.") % {
                "name": actor,
                "agent": change.agent or _("a person"),
            }
        case "returned":
            return _("%(name)s returned it to the assistant.") % {"name": actor}
        case _:
            return _("%(name)s closed it.") % {"name": change.actor or _("The visitor")}


@dataclass(frozen=True, kw_only=True)
class Colleague:
    user: User
    is_present: bool


def colleagues(principal: Principal) -> list[Colleague]:
    """The workspace's agents, those whose inbox is open first."""
    present_ids = present_users(principal.workspace.pk)
    found = [
        Colleague(user=user, is_present=user.pk in present_ids) for user in agents_of(principal)
    ]
    return sorted(found, key=lambda one: (not one.is_present, one.user.get_username()))


def summary(conversation: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """What an agent reads first: what the person asked, what came of it, how long it goes on."""
    asked = [one for one in messages if one.role == Message.Role.USER]
    answers = [one for one in messages if one.role == Message.Role.ASSISTANT]
    questions = [" ".join(one.text.split()) for one in asked]
    if len(questions) > SUMMARY_QUESTIONS:
        questions = [questions[0], "…", *questions[-(SUMMARY_QUESTIONS - 2) :]]
    return {
        "questions": [_shortened(question) for question in questions],
        "num_questions": len(asked),
        "num_unanswered": sum(1 for one in answers if _outcome(one) in ("abstained", "failed")),
        "began_at": messages[0].created_at if messages else None,
    }


def _shortened(text: str) -> str:
    return text if len(text) <= SENTENCE_CHARACTERS else text[: SENTENCE_CHARACTERS - 1] + "…"


def _outcome(message: Message) -> str:
    done = message.last_event("done")
    return str(done["outcome"]) if done else ""
