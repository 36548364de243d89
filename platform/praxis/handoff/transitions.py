"""The state machine bot → waiting → person → returned → closed. Nothing else changes an owner.

Every function takes a conversation that the caller has locked (`Conversation.objects.locked`), so
that of two who act at once the second sees what the first did. In the caller's transaction it
changes the conversation's owner, the handoff and the log, and emits the webhook; pages hear of it
after the commit.
"""

from datetime import timedelta
from functools import partial

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from praxis.accounts.models import User
from praxis.conversations.live import tell_agents, tell_person
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import NotNow
from praxis.handoff.models import LONGEST_REASON, Handoff, InboxSettings, Transition
from praxis.handoff.serializers import handoff_event
from praxis.handoff.tasks import mail_agents
from praxis.integrations.events import emit

BOT = "bot"
OwnerKind = Conversation.OwnerKind
State = Handoff.State


def open_handoff(conversation: Conversation) -> Handoff | None:
    return (
        Handoff.objects.select_related("agent", "workspace")
        .filter(conversation=conversation, state__in=[State.WAITING, State.PERSON])
        .first()
    )


def request(
    conversation: Conversation,
    *,
    trigger: Handoff.Trigger,
    reason: str = "",
    message: Message | None = None,
    actor: User | None = None,
) -> Handoff:
    """bot → waiting. Raises `NotNow` unless the assistant answers."""
    if not conversation.assistant_answers:
        raise NotNow(_("A person was asked for already, or the conversation is closed."))
    handoff = _opened(conversation, State.WAITING, trigger, reason, message)
    _move(conversation, handoff, State.WAITING, before=_before(conversation), actor=actor)
    # Without a broker the mail is lost and the handoff is not: the inbox shows it.
    transaction.on_commit(partial(mail_agents.delay, str(handoff.pk)), robust=True)
    return handoff


def assign(conversation: Conversation, *, agent: User, actor: User | None) -> Handoff:
    """Any open state → person. Who is allowed to do that is the caller's to decide."""
    _refuse_closed(conversation)
    handoff = open_handoff(conversation)
    before: str = handoff.state if handoff else _before(conversation)
    if handoff is None:
        handoff = _opened(conversation, State.PERSON, Handoff.Trigger.AGENT, "", None)
    if handoff.assigned_at is None:
        handoff.assigned_at = timezone.now()
        handoff.state_at_take_over = conversation.state
    handoff.agent = agent
    _move(conversation, handoff, State.PERSON, before=before, actor=actor)
    return handoff


def release(conversation: Conversation, *, actor: User | None) -> Handoff:
    """person → waiting: back into the queue for another agent."""
    handoff = open_handoff(conversation)
    if handoff is None or handoff.state != State.PERSON:
        raise NotNow(_("No person answers this conversation."))
    handoff.agent = None
    _move(conversation, handoff, State.WAITING, before=State.PERSON, actor=actor)
    return handoff


def give_back(conversation: Conversation, *, actor: User | None) -> Handoff:
    """waiting or person → returned: the assistant answers again."""
    handoff = open_handoff(conversation)
    if handoff is None:
        raise NotNow(_("The assistant answers this conversation already, or it is closed."))
    before = handoff.state
    handoff.ended_at = timezone.now()
    _move(conversation, handoff, State.RETURNED, before=before, actor=actor)
    return handoff


def close(conversation: Conversation, *, actor: User | None) -> Handoff | None:
    """Any open state → closed; the handoff that was open, if one was."""
    _refuse_closed(conversation)
    handoff = open_handoff(conversation)
    before: str = handoff.state if handoff else _before(conversation)
    if handoff is not None:
        handoff.ended_at = timezone.now()
    _move(conversation, handoff, State.CLOSED, before=before, actor=actor)
    return handoff


def _refuse_closed(conversation: Conversation) -> None:
    if conversation.owner_kind == OwnerKind.CLOSED:
        raise NotNow(_("This conversation is closed."))


def _before(conversation: Conversation) -> str:
    """What the conversation without an open handoff comes from: the bot, or a return to it."""
    last = (
        Transition.objects.filter(conversation=conversation)
        .order_by("-at", "-pk")
        .values_list("to_state", flat=True)
        .first()
    )
    return last or BOT


def _opened(
    conversation: Conversation,
    state: Handoff.State,
    trigger: Handoff.Trigger,
    reason: str,
    message: Message | None,
) -> Handoff:
    """A handoff that `_move` will save."""
    now = timezone.now()
    allowed = InboxSettings.objects.filter(workspace=conversation.workspace).first()
    minutes = (allowed or InboxSettings()).first_response_minutes
    return Handoff(
        workspace=conversation.workspace,
        conversation=conversation,
        state=state,
        trigger=trigger,
        reason=reason[:LONGEST_REASON],
        message=message,
        requested_at=now,
        due_at=now + timedelta(minutes=minutes),
    )


OWNER_OF = {
    State.WAITING: OwnerKind.WAITING,
    State.PERSON: OwnerKind.PERSON,
    State.RETURNED: OwnerKind.ASSISTANT,
    State.CLOSED: OwnerKind.CLOSED,
}
EVENT_OF = {
    State.WAITING: "handoff.requested",
    State.PERSON: "handoff.assigned",
    State.RETURNED: "handoff.returned",
    State.CLOSED: "handoff.closed",
}


def _move(
    conversation: Conversation,
    handoff: Handoff | None,
    to: Handoff.State,
    *,
    before: str,
    actor: User | None,
) -> None:
    assert connection.in_atomic_block, "the conversation must be locked"
    if handoff is not None:
        handoff.state = to
        # The caller's object, so that the event says what is stored here.
        handoff.conversation = conversation
        handoff.save()
    conversation.owner_kind = OWNER_OF[to]
    conversation.owner = handoff.agent if handoff and to == State.PERSON else None
    conversation.save(update_fields=["owner_kind", "owner", "updated_at"])
    Transition.objects.create(
        conversation=conversation,
        handoff=handoff,
        from_state=before,
        to_state=to,
        actor=actor,
        agent=conversation.owner,
    )
    data = handoff_event(handoff) if handoff else {"conversation": str(conversation.pk)}
    emit(conversation.workspace, EVENT_OF[to], subject=conversation.pk, data=data)
    tell_person(conversation.pk, "owner", owner=conversation.owner_kind)
    tell_agents(conversation.workspace_id, conversation.pk, "owner", owner=conversation.owner_kind)
