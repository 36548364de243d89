"""What agents and the person do around a handoff; pages and the API call the same functions."""

from functools import partial

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role, User
from praxis.conversations import services as conversations
from praxis.conversations.access import (
    is_own,
    principal_of_person,
    require_own,
    require_own_or,
)
from praxis.conversations.live import tell_agents, tell_person
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.handoff import transitions
from praxis.handoff.models import Handoff, InboxSettings, Note, Survey
from praxis.handoff.tasks import mail_assigned

LONGEST_COMMENT = 2000


def settings_of(principal: Principal) -> InboxSettings:
    """The workspace's settings; an unsaved row with the defaults if it has none."""
    found = InboxSettings.objects.filter(workspace=principal.workspace).first()
    return found or InboxSettings(workspace=principal.workspace)


# Along the edges ----------------------------------------------------------------------------------


def ask_for_person(*, principal: Principal, conversation: Conversation, reason: str = "") -> None:
    """The person doesn't want to talk to the assistant. Raises `NotNow`."""
    require_own(principal, conversation)
    with transaction.atomic():
        conversation = Conversation.objects.locked(conversation.pk)
        if conversation.head is None:
            raise NotNow(_("Write first what it is about, then ask for a person."))
        transitions.request(
            conversation,
            trigger=Handoff.Trigger.PERSON,
            reason=" ".join(reason.split()),
            actor=principal.user,
        )
        record(principal, "handoff.request", conversation)
    conversations.stop_answers(conversation)


def take(*, principal: Principal, conversation: Conversation) -> Handoff:
    """From now on this agent answers and the assistant is silent. Raises `NotNow`."""
    return assign(principal=principal, conversation=conversation, agent=_self(principal))


def assign(*, principal: Principal, conversation: Conversation, agent: User) -> Handoff:
    """Let `agent` answer. An agent takes what nobody has and passes on what is theirs; an
    administrator assigns anything. Raises `NotNow`.
    """
    principal.require(Role.AGENT)
    with transaction.atomic():
        conversation = Conversation.objects.locked(conversation.pk)
        owner = conversation.owner
        if owner == agent:
            raise NotNow(_("%(name)s answers this conversation already.") % {"name": agent})
        if owner not in (None, principal.user) and not principal.may(Role.ADMIN):
            raise NotNow(_("%(name)s has taken over already.") % {"name": owner})
        handoff = transitions.assign(conversation, agent=agent, actor=principal.user)
        record(principal, "handoff.assign", conversation, to=agent.get_username())
        if agent != principal.user:
            transaction.on_commit(partial(mail_assigned.delay, str(handoff.pk)), robust=True)
    conversations.stop_answers(conversation)
    return handoff


def put_back(*, principal: Principal, conversation: Conversation) -> None:
    """Back into the queue, for another agent. Raises `NotNow`."""
    with transaction.atomic():
        conversation = _locked_for_its_agent(principal, conversation)
        transitions.release(conversation, actor=principal.user)
        record(principal, "handoff.put_back", conversation)


def give_back(*, principal: Principal, conversation: Conversation) -> None:
    """The assistant goes on; what the person said last and nobody answered, it answers now.

    Raises `NotNow`.
    """
    with transaction.atomic():
        conversation = _locked_for_its_agent(principal, conversation)
        transitions.give_back(conversation, actor=principal.user)
        record(principal, "handoff.return", conversation)
        person = principal_of_person(conversation)
        if person is not None:
            conversations.answer_what_waits(conversation, person)


def close(*, principal: Principal, conversation: Conversation) -> None:
    """The matter is settled, for the agent or for the person. Raises `NotNow`."""
    require_own_or(principal, conversation, Role.AGENT)
    with transaction.atomic():
        conversation = (
            Conversation.objects.locked(conversation.pk)
            if is_own(principal, conversation)
            else _locked_for_its_agent(principal, conversation)
        )
        transitions.close(conversation, actor=principal.user)
        record(principal, "handoff.close", conversation)
    conversations.stop_answers(conversation)


def _locked_for_its_agent(principal: Principal, conversation: Conversation) -> Conversation:
    """Locked; only its own agent, or an administrator, decides about a conversation taken over."""
    principal.require(Role.AGENT)
    conversation = Conversation.objects.locked(conversation.pk)
    if conversation.owner not in (None, principal.user) and not principal.may(Role.ADMIN):
        raise NotNow(_("%(name)s answers this conversation.") % {"name": conversation.owner})
    return conversation


def _self(principal: Principal) -> User:
    if principal.user is None:
        raise PermissionDenied
    return principal.user


# Speaking -----------------------------------------------------------------------------------------


def reply(*, principal: Principal, conversation: Conversation, text: str) -> Message:
    """An agent's own words to the person. Raises `MessageRefused`, `NotNow`."""
    principal.require(Role.AGENT)
    agent = _self(principal)
    text = conversations.clean_text(text)
    with transaction.atomic():
        conversation = Conversation.objects.locked(conversation.pk)
        handoff = transitions.open_handoff(conversation)
        if conversation.owner != agent or handoff is None:
            raise NotNow(_("Take the conversation over first, then write."))
        message = conversations.add_words_of(agent, conversation, text)
        if handoff.first_reply_at is None:
            handoff.first_reply_at = message.created_at
            handoff.save(update_fields=["first_reply_at"])
    return message


def add_note(*, principal: Principal, conversation: Conversation, text: str) -> Note:
    """A word to the other agents. Raises `MessageRefused`."""
    principal.require(Role.AGENT)
    with transaction.atomic():
        note = Note.objects.create(
            conversation=conversation,
            author=_self(principal),
            text=conversations.clean_text(text),
        )
        tell_agents(conversation.workspace_id, conversation.pk, "note")
    return note


def say_typing(*, principal: Principal, conversation: Conversation) -> None:
    """Show the other side that someone writes; only while a person answers or is waited for."""
    if conversation.owner_kind not in (
        Conversation.OwnerKind.WAITING,
        Conversation.OwnerKind.PERSON,
    ):
        return
    if is_own(principal, conversation):
        tell_agents(conversation.workspace_id, conversation.pk, "typing")
    elif conversation.owner == principal.user:
        tell_person(conversation.pk, "typing")


# Afterwards ---------------------------------------------------------------------------------------


def rate(
    *, principal: Principal, conversation: Conversation, score: int, comment: str = ""
) -> Survey:
    """What the person thought of it; may be changed. Raises `MessageRefused`, `NotNow`."""
    require_own(principal, conversation)
    if conversation.owner_kind != Conversation.OwnerKind.CLOSED:
        raise NotNow(_("Only a closed conversation is rated."))
    if not 1 <= score <= 5:
        raise MessageRefused(
            _("The rating must be a number from 1 to 5, got %(given)s.") % {"given": score}
        )
    comment = conversations.clean_value(comment)
    if len(comment) > LONGEST_COMMENT:
        raise MessageRefused(
            _("The comment has %(length)s characters; at most %(limit)s are allowed.")
            % {"length": len(comment), "limit": LONGEST_COMMENT}
        )
    survey, _created = Survey.objects.update_or_create(
        conversation=conversation, defaults={"score": score, "comment": comment}
    )
    return survey
