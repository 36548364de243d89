"""A data set from what people corrected: the conversation up to an answer, and the better answer; the
conversation up to a state, and the better state."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from praxis.accounts.models import Membership, Role, Workspace
from praxis.assistants.contract import Assistant, CorrectedState, SaidTurn
from praxis.conversations.models import Feedback, Message, StateCorrection

# Roles of a conversation as training knows them; notes of the system are left out.
_ROLES = {
    Message.Role.USER: "user",
    Message.Role.ASSISTANT: "assistant",
    Message.Role.PERSON: "assistant",
}


def corrected_conversations(
    workspace: Workspace, assistant: Assistant, *, reviewed_only: bool
) -> Iterator[dict[str, Any]]:
    """One training conversation per corrected answer, the oldest correction first.

    Only the corrected answer is learnt (weight 1); the answers before it are context (weight 0).
    Where several people corrected one answer, an accepted correction wins, then the newest.
    """
    reviews = [Feedback.Review.ACCEPTED]
    if not reviewed_only:
        reviews.append(Feedback.Review.OPEN)
    corrections = (
        Feedback.objects.filter(
            message__conversation__workspace=workspace,
            message__conversation__assistant=assistant.slug,
            message__role=Message.Role.ASSISTANT,
            review__in=reviews,
        )
        .exclude(correction="")
        .select_related("message")
        .order_by("updated_at", "pk")
    )
    chosen: dict[UUID, Feedback] = {}
    for feedback in corrections:
        rival = chosen.get(feedback.message_id)
        if (
            rival is None
            or feedback.review == Feedback.Review.ACCEPTED
            or rival.review == Feedback.Review.OPEN
        ):
            chosen[feedback.message_id] = feedback
    conversations = {feedback.message.conversation_id for feedback in chosen.values()}
    messages = {
        message.pk: message
        for message in Message.objects.filter(conversation__in=conversations).only(
            "pk", "parent_id", "role", "text"
        )
    }
    for feedback in chosen.values():
        turns = _path(messages, feedback.message.parent_id)
        yield {
            "messages": [
                {"role": "system", "content": assistant.instructions},
                *turns,
                {"role": "assistant", "content": feedback.correction, "weight": 1},
            ]
        }


def corrected_states(
    workspace: Workspace, assistant: Assistant, *, reviewed_only: bool
) -> Iterator[dict[str, Any]]:
    """One training conversation per field of the state that was put right, the oldest first.

    The assistant's domain writes it (`state_example`). Of several corrections of one field after one
    answer the last counts. `reviewed_only` keeps those that an agent made.
    """
    if assistant.state_example is None:
        return
    corrections = (
        StateCorrection.objects.filter(
            conversation__workspace=workspace,
            conversation__assistant=assistant.slug,
            message__isnull=False,
        )
        .select_related("message")
        .order_by("created_at", "pk")
    )
    if reviewed_only:
        agents = Membership.objects.filter(workspace=workspace).exclude(role=Role.MEMBER)
        corrections = corrections.filter(author__in=agents.values("user"))
    last = {(one.message_id, one.key): one for one in corrections}
    messages = {
        message.pk: message
        for message in Message.objects.filter(
            conversation__in={one.conversation_id for one in last.values()}
        ).only("pk", "parent_id", "role", "text", "state_after", "created_at")
    }
    for one in last.values():
        example = assistant.state_example(
            CorrectedState(
                turns=_turns(messages, one.message_id),
                key=one.key,
                before=one.before,
                after=one.after,
            )
        )
        if example is not None:
            yield {"messages": example}


def _turns(messages: dict[UUID, Message], leaf: UUID | None) -> tuple[SaidTurn, ...]:
    """The person's messages on the branch down to the answer `leaf`, each with its answer's state."""
    branch: list[Message] = []
    while leaf is not None:
        branch.insert(0, messages[leaf])
        leaf = messages[leaf].parent_id
    turns = []
    said: list[str] = []
    for place, message in enumerate(branch):
        if message.role != Message.Role.USER:
            if message.role != Message.Role.SYSTEM:
                said.append(message.text)
            continue
        answers = [later for later in branch[place + 1 :] if later.state_after is not None]
        turns.append(
            SaidTurn(
                agent="\n".join(said),
                user=message.text,
                said_on=message.created_at.date(),
                state=answers[0].state_after or {} if answers else {},
            )
        )
        said = []
    return tuple(turns)


def to_jsonl(conversations: Iterator[dict[str, Any]]) -> bytes:
    return "".join(
        json.dumps(conversation, ensure_ascii=False) + "\n" for conversation in conversations
    ).encode()


def _path(messages: dict[UUID, Message], leaf: UUID | None) -> list[dict[str, Any]]:
    """The branch from the first message down to `leaf`."""
    turns: list[dict[str, Any]] = []
    while leaf is not None:
        message = messages[leaf]
        role = _ROLES.get(Message.Role(message.role))
        if role is not None and message.text.strip():
            turn: dict[str, Any] = {"role": role, "content": message.text}
            if role == "assistant":
                turn["weight"] = 0
            turns.append(turn)
        leaf = message.parent_id
    return turns[::-1]
