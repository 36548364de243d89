"""What people and programs do with conversations; pages and the API call the same functions."""

import unicodedata
from functools import partial
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role, User, Workspace
from praxis.answer_cache.services import forget_answer
from praxis.assistants.contract import Assistant, Done, State, StateChanged, Token
from praxis.assistants.models import AssistantSettings
from praxis.assistants.pipeline import difference
from praxis.assistants.registry import all_assistants, get_assistant
from praxis.conversations import turns
from praxis.conversations.access import own_conversations, require_own, require_own_or
from praxis.conversations.live import tell_agents, tell_person
from praxis.conversations.memory import path_ids, state_before
from praxis.conversations.models import (
    Conversation,
    Feedback,
    Message,
    MessageEmbedding,
    StateCorrection,
)
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.serializers import conversation_to_dict, message_event
from praxis.integrations.events import emit
from praxis.integrations.replies import send_reply

LONGEST_MESSAGE = 20_000
LONGEST_TITLE = 120
TITLE_FROM_TEXT = 60
MOST_UNREADABLE = 0.05
"""Share of replacement characters from which a text is taken for a binary file."""


class TooManyTurns(Exception):
    """No turn can start now. The question is stored and `answer` can be asked again."""

    def __init__(self, answer: Message) -> None:
        super().__init__(answer.error)
        self.answer = answer
        self.retry_after = turns.RETRY_AFTER_SECONDS


def clean_text(text: str) -> str:
    """The text as it is stored. Raises `MessageRefused`."""
    cleaned = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not cleaned:
        raise MessageRefused(_("The message is empty. Write something and send it again."))
    if len(cleaned) > LONGEST_MESSAGE:
        raise MessageRefused(
            _(
                "The message has %(length)s characters; at most %(limit)s are allowed. "
                "Shorten it, or add it as a document and ask about it."
            )
            % {"length": f"{len(cleaned):,}", "limit": f"{LONGEST_MESSAGE:,}"}
        )
    unreadable = sum(1 for character in cleaned if unicodedata.category(character) in ("Cc", "Cs"))
    unreadable -= cleaned.count("\n") + cleaned.count("\t")
    if unreadable or cleaned.count("\ufffd") > MOST_UNREADABLE * len(cleaned):
        raise MessageRefused(
            _(
                "The message contains characters that are not text, as in a binary file. "
                "Send plain text; a file can be added to the documents."
            )
        )
    return cleaned


# Beginning and speaking ---------------------------------------------------------------------------


def offered_assistants(workspace: Workspace) -> list[Assistant]:
    """The installed assistants that the workspace hasn't switched off."""
    off = set(
        AssistantSettings.objects.filter(workspace=workspace, enabled=False).values_list(
            "assistant", flat=True
        )
    )
    return [assistant for assistant in all_assistants() if assistant.slug not in off]


@transaction.atomic
def start_conversation(
    *, principal: Principal, assistant: str, channel: str = "page"
) -> Conversation:
    """Raises `NotNow` for an assistant that the workspace doesn't offer."""
    offered = [one.slug for one in offered_assistants(principal.workspace)]
    if assistant not in offered:
        raise NotNow(
            _("The assistant “%(slug)s” is not offered here; there are: %(offered)s.")
            % {"slug": assistant, "offered": ", ".join(offered) or "–"}
        )
    conversation = Conversation.objects.create(
        workspace=principal.workspace,
        assistant=assistant,
        person=principal.user,
        visitor_key="" if principal.user else principal.visitor_key,
        channel=channel,
    )
    emit(
        principal.workspace,
        "conversation.created",
        subject=conversation.pk,
        data=conversation_to_dict(conversation),
    )
    return conversation


def open_conversation(*, principal: Principal, assistant: str) -> Conversation:
    """The person's conversation in which nothing was said yet, or a new one."""
    unused = own_conversations(principal).filter(
        assistant=assistant, head=None, channel="page", owner_kind="assistant"
    )
    return unused.order_by("-created_at", "pk").first() or start_conversation(
        principal=principal, assistant=assistant
    )


def post_message(
    *, principal: Principal, conversation: Conversation, text: str, parent: Message | None = None
) -> Message:
    """Store what the person says and open the answer, whose turn runs on its own.

    Returns the opened answer; while a person owns the conversation the assistant is silent and the
    stored question is returned. `parent` is where to go on, else the branch that is shown. Raises
    `MessageRefused`, `NotNow`, or `TooManyTurns` (then the question is stored).
    """
    require_own(principal, conversation)
    text = clean_text(text)
    with transaction.atomic():
        conversation = _lock_for_speaking(conversation)
        if parent is None:
            parent = conversation.head
        on_shown_branch = (parent.pk if parent else None) == conversation.head_id
        state = conversation.state if on_shown_branch else state_before(parent)
        said = _ask(principal, conversation, text, parent, state)
    return _started(said)


def edit(*, principal: Principal, message: Message, text: str) -> Message:
    """Say it differently: a sibling of the person's message, with an answer of its own."""
    require_own(principal, message.conversation)
    if message.role != Message.Role.USER:
        raise NotNow(_("Only one's own messages can be edited."))
    text = clean_text(text)
    with transaction.atomic():
        conversation = _lock_for_speaking(message.conversation)
        _refuse_while_a_person_answers(conversation)
        said = _ask(principal, conversation, text, message.parent, state_before(message.parent))
    return _started(said)


def regenerate(*, principal: Principal, message: Message) -> Message:
    """Answer a question once more; `message` is the question or an answer to it.

    The new answer is a sibling of the old one. An answer that failed without a word is replaced.
    """
    require_own(principal, message.conversation)
    with transaction.atomic():
        conversation = _lock_for_speaking(message.conversation)
        question = message.parent if message.role == Message.Role.ASSISTANT else message
        if question is None or question.role != Message.Role.USER:
            raise NotNow(_("There is no question here that the assistant could answer."))
        _refuse_while_a_person_answers(conversation)
        answer = _open_answer(principal, conversation, question, state_before(question.parent))
        _show(conversation, answer)
        if message.status == Message.Status.FAILED and not message.text:
            message.delete()
    return _started(answer)


def stop(*, principal: Principal, message: Message) -> None:
    require_own_or(principal, message.conversation, Role.AGENT)
    turns.stop(message.pk)


def _lock_for_speaking(conversation: Conversation) -> Conversation:
    locked = Conversation.objects.locked(conversation.pk)
    if locked.owner_kind == Conversation.OwnerKind.CLOSED:
        raise NotNow(_("This conversation is closed. Start a new one."))
    streaming = locked.messages.filter(status=Message.Status.STREAMING)
    if any(turns.streams.settle(message).status == "streaming" for message in streaming):
        raise NotNow(_("The assistant is still answering. Wait, or stop it, then send again."))
    return locked


def _refuse_while_a_person_answers(conversation: Conversation) -> None:
    """Another branch would hide what the person said from the agent, or the agent's answer."""
    if conversation.owner_kind in (Conversation.OwnerKind.WAITING, Conversation.OwnerKind.PERSON):
        raise NotNow(_("A person answers this conversation now. Write a new message."))


def _ask(
    principal: Principal,
    conversation: Conversation,
    text: str,
    parent: Message | None,
    state: State,
) -> Message:
    question = Message.objects.create(
        conversation=conversation,
        parent=parent,
        turn=(parent.turn if parent else 0) + 1,
        role=Message.Role.USER,
        text=text,
        author=principal.user,
        finished_at=timezone.now(),
    )
    if not conversation.title:
        conversation.title = _title_from(text)
    said = question
    if conversation.assistant_answers:
        said = _open_answer(principal, conversation, question, state)
    else:
        tell_agents(conversation.workspace_id, conversation.pk, "message")
    _show(conversation, said, state)
    return said


def _open_answer(
    principal: Principal, conversation: Conversation, question: Message, state: State
) -> Message:
    answer = Message.objects.create(
        conversation=conversation,
        parent=question,
        turn=question.turn,
        role=Message.Role.ASSISTANT,
        status=Message.Status.STREAMING,
    )
    transaction.on_commit(partial(_start_turn, principal, question, answer, state))
    return answer


def _start_turn(principal: Principal, question: Message, answer: Message, state: State) -> None:
    if turns.start(principal=principal, question=question, answer=answer, state=state):
        return
    answer.status = Message.Status.FAILED
    answer.finished_at = timezone.now()
    error = _(
        "Too many answers are being written at the moment. Your message is kept: "
        "try again in a few seconds."
    )
    answer.events = [{"kind": "done", "outcome": "failed", "receipt": {}, "error": error}]
    answer.save(update_fields=["status", "finished_at", "events"])


def _started(said: Message) -> Message:
    """Raises `TooManyTurns` if the turn found no place after the commit."""
    if said.status == Message.Status.FAILED:
        raise TooManyTurns(said)
    return said


def _show(conversation: Conversation, head: Message | None, state: State | None = None) -> None:
    conversation.head = head
    conversation.state = state_before(head) if state is None else state
    conversation.save(update_fields=["head", "state", "title", "updated_at"])


def _title_from(text: str) -> str:
    line = text.splitlines()[0].strip()
    return line if len(line) <= TITLE_FROM_TEXT else line[: TITLE_FROM_TEXT - 1].rstrip() + "…"


# The tree -----------------------------------------------------------------------------------------


def shown_messages(conversation: Conversation) -> list[Message]:
    """The branch that is shown, from the first message to the head."""
    ids = path_ids(conversation.head_id)
    by_id = {
        message.pk: message
        for message in Message.objects.filter(pk__in=ids).select_related("author")
    }
    for message in by_id.values():
        message.conversation = conversation
    return [by_id[one] for one in reversed(ids) if one in by_id]


def show_version(*, principal: Principal, message: Message) -> None:
    """Show the branch through `message`, down to the newest message on it."""
    require_own_or(principal, message.conversation, Role.AGENT)
    with transaction.atomic():
        conversation = Conversation.objects.locked(message.conversation_id)
        _refuse_while_a_person_answers(conversation)
        head = Message.objects.get(pk=_newest_below(message.pk))
        _show(conversation, head)


def _newest_below(message_id: UUID) -> UUID:
    """The newest message of the subtree; nothing can have been said after it, so it is a leaf."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE below AS (
                SELECT id, created_at FROM conversations_message WHERE id = %s
                UNION ALL
                SELECT m.id, m.created_at
                FROM conversations_message m JOIN below ON m.parent_id = below.id
            )
            SELECT id FROM below ORDER BY created_at DESC, id LIMIT 1
            """,
            [message_id],
        )
        found: UUID = cursor.fetchone()[0]
        return found


# Corrections --------------------------------------------------------------------------------------


def correct_state(
    *, principal: Principal, conversation: Conversation, key: str, value: str
) -> Conversation:
    """Put right what the assistant has understood. Raises `ValueError` with the domain's sentence."""
    require_own_or(principal, conversation, Role.AGENT)
    assistant = get_assistant(conversation.assistant)
    if assistant.correct is None:
        raise NotNow(_("What this assistant understood can't be edited."))
    with transaction.atomic():
        conversation = Conversation.objects.locked(conversation.pk)
        head = conversation.head
        if head and head.status == Message.Status.STREAMING:
            raise NotNow(_("The assistant is still answering. Wait, or stop it, then edit."))
        before = dict(conversation.state)
        after = assistant.correct(dict(before), key, clean_value(value))
        changes = difference(before, after)
        if not changes:
            return conversation
        answer = _newest_answer(conversation)
        StateCorrection.objects.create(
            conversation=conversation,
            message=answer,
            key=key,
            before=before,
            after=after,
            author=principal.user,
        )
        if answer is not None:
            event = StateChanged(changes=changes, state=after).to_dict()
            done = [one for one in answer.events if one["kind"] == "done"]
            spoken = [one for one in answer.events if one["kind"] != "done"]
            answer.events, answer.state_after = [*spoken, event, *done], after
            answer.save(update_fields=["events", "state_after"])
        conversation.state = after
        conversation.save(update_fields=["state", "updated_at"])
        emit(
            conversation.workspace,
            "state.changed",
            subject=conversation.pk,
            data=message_event(answer) if answer else {"conversation": str(conversation.pk)},
        )
    return conversation


def forget(
    *,
    principal: Principal,
    conversation: Conversation,
    turn: int | None = None,
    containing: str = "",
) -> int:
    """Take turns of the shown branch out of the memory; returns how many messages that were.

    `turn`: the person's message of that number and the answer to it. `containing`: every turn in
    which the text stands. With neither: all of them, and what was understood from them. The
    transcript keeps its messages.
    """
    require_own_or(principal, conversation, Role.ADMIN)
    with transaction.atomic():
        conversation = Conversation.objects.locked(conversation.pk)
        found = Message.objects.filter(pk__in=path_ids(conversation.head_id), remembered=True)
        if turn is not None:
            found = found.filter(turn=turn)
        elif containing:
            turns_with = found.filter(text__icontains=containing).values("turn")
            found = found.filter(turn__in=turns_with)
        ids = list(found.values_list("pk", flat=True))
        MessageEmbedding.objects.filter(message__in=ids).delete()
        Message.objects.filter(pk__in=ids).update(remembered=False)
        if turn is None and not containing and conversation.state:
            conversation.state = {}
            conversation.save(update_fields=["state", "updated_at"])
            conversation.messages.filter(shown_in=conversation, state_after__isnull=False).update(
                state_after={}
            )
        record(principal, "conversation.forget", conversation, messages=len(ids))
    return len(ids)


def clean_value(value: str) -> str:
    """A panel field's value; an empty one is the domain's to judge."""
    return clean_text(value) if value.strip() else ""


def _newest_answer(conversation: Conversation) -> Message | None:
    ids = path_ids(conversation.head_id)
    return (
        Message.objects.filter(pk__in=ids, role=Message.Role.ASSISTANT)
        .order_by("-turn", "-created_at", "pk")
        .first()
    )


def give_feedback(
    *, principal: Principal, message: Message, thumb: str, correction: str = ""
) -> Feedback:
    """Store or change one's thumb on an answer. Raises `MessageRefused`, `NotNow`."""
    require_own_or(principal, message.conversation, Role.AGENT)
    if message.role != Message.Role.ASSISTANT or message.status == Message.Status.STREAMING:
        raise NotNow(_("Only a finished answer of the assistant can be rated."))
    if thumb not in Feedback.Thumb.values:
        raise MessageRefused(
            _("The rating must be one of %(allowed)s, got “%(given)s”.")
            % {"allowed": ", ".join(Feedback.Thumb.values), "given": thumb}
        )
    with transaction.atomic():
        if thumb == Feedback.Thumb.DOWN or correction.strip():
            forget_answer(message)
        feedback, _created = Feedback.objects.update_or_create(
            message=message,
            author=principal.user,
            defaults={
                "thumb": thumb,
                "correction": clean_value(correction),
                "review": Feedback.Review.OPEN,
            },
        )
        emit(
            principal.workspace,
            "feedback.created",
            subject=feedback.pk,
            data={**message_event(message), "thumb": thumb},
        )
    return feedback


def say_unasked(*, principal: Principal, conversation: Conversation, text: str) -> Message:
    """A program's words in the assistant's name, such as that a parcel has left.

    Raises `MessageRefused`, and `NotNow` unless the assistant has the word.
    """
    principal.require(Role.AGENT)
    text = clean_text(text)
    with transaction.atomic():
        conversation = _lock_for_speaking(conversation)
        _refuse_while_a_person_answers(conversation)
        parent, now = conversation.head, timezone.now()
        receipt = {"assistant": conversation.assistant, "chain": "proactive"}
        done = Done(outcome="answered", receipt=receipt)
        message = Message.objects.create(
            conversation=conversation,
            parent=parent,
            turn=parent.turn if parent else 0,
            role=Message.Role.ASSISTANT,
            text=text,
            events=[Token(text=text).to_dict(), done.to_dict()],
            state_after=conversation.state,
            receipt=receipt,
            finished_at=now,
        )
        if not conversation.title:
            conversation.title = _title_from(text)
        _show(conversation, message, conversation.state)
        record(principal, "conversation.proactive_message", message)
        emit(
            conversation.workspace,
            "message.completed",
            subject=message.pk,
            data=message_event(message),
        )
        send_reply(message)
        tell_person(conversation.pk, "message")
    return message


# Persons beside the assistant (see `praxis.handoff`) ------------------------------------------------


def add_words_of(agent: User, conversation: Conversation, text: str) -> Message:
    """Append an agent's own words to a conversation that the caller has locked."""
    parent = conversation.head
    message = Message.objects.create(
        conversation=conversation,
        parent=parent,
        turn=parent.turn if parent else 0,
        role=Message.Role.PERSON,
        text=text,
        author=agent,
        finished_at=timezone.now(),
    )
    _show(conversation, message, conversation.state)
    emit(
        conversation.workspace,
        "message.completed",
        subject=message.pk,
        data=message_event(message),
    )
    send_reply(message)
    tell_person(conversation.pk, "message")
    tell_agents(conversation.workspace_id, conversation.pk, "message")
    return message


def answer_what_waits(conversation: Conversation, principal: Principal) -> None:
    """Let the assistant answer what the person said last, if nobody did.

    `principal` is the person whose conversation it is; the caller has locked the conversation.
    """
    head = conversation.head
    if head is None or head.role != Message.Role.USER or not conversation.assistant_answers:
        return
    answer = _open_answer(principal, conversation, head, conversation.state)
    _show(conversation, answer, conversation.state)


def stop_answers(conversation: Conversation) -> None:
    """Stop what the assistant is saying; call it after the commit of what took its word."""
    for message_id in conversation.messages.filter(status=Message.Status.STREAMING).values_list(
        "pk", flat=True
    ):
        turns.stop(message_id)


# Housekeeping -------------------------------------------------------------------------------------


def rename(*, principal: Principal, conversation: Conversation, title: str) -> None:
    require_own_or(principal, conversation, Role.ADMIN)
    title = " ".join(clean_text(title).split())
    if len(title) > LONGEST_TITLE:
        raise MessageRefused(
            _("The name has %(length)s characters; at most %(limit)s are allowed.")
            % {"length": len(title), "limit": LONGEST_TITLE}
        )
    Conversation.objects.filter(pk=conversation.pk).update(title=title)


def delete(*, principal: Principal, conversation: Conversation) -> None:
    """Remove the conversation with all its branches, vectors and feedback."""
    require_own_or(principal, conversation, Role.ADMIN)
    stop_answers(conversation)
    with transaction.atomic():
        # First the conversation, as whoever stores an answer does, or the two could wait for each
        # other. A turn that has just ended may be writing its vectors: they are waited for, so that
        # they are among what is deleted, and none is written afterwards.
        if not Conversation.objects.select_for_update().filter(pk=conversation.pk).exists():
            return  # somebody else deleted it at the same time
        list(conversation.messages.select_for_update().order_by("pk").values_list("pk"))
        record(principal, "conversation.delete", conversation, assistant=conversation.assistant)
        conversation.delete()
