"""The agents' inbox over REST: list, take, assign, reply, note, suggest, return, close."""

from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.access import get_conversation
from praxis.conversations.models import Conversation
from praxis.conversations.serializers import conversation_to_dict, message_to_dict
from praxis.handoff import inbox, services
from praxis.handoff.access import conversation_for_agent, get_agent
from praxis.handoff.models import Note
from praxis.handoff.serializers import handoff_to_dict
from praxis.handoff.suggestions import suggest
from praxis.handoff.transitions import open_handoff

router = Router(tags=["handoff"])
INBOX = "/inbox/{uuid:conversation_id}"


class AuthedRequest(HttpRequest):
    auth: Principal


class Shown(Schema):
    show: Literal["waiting", "mine", "all", "closed"] = "waiting"


class Text(Schema):
    text: str


class Assignment(Schema):
    agent: str = Field(description="The user name of an agent of the workspace.")


class Reason(Schema):
    reason: str = Field("", max_length=500)


class Rating(Schema):
    score: int = Field(ge=1, le=5)
    comment: str = Field("", max_length=2000)


def note_to_dict(note: Note) -> dict[str, Any]:
    return {
        "id": note.pk,
        "author": note.author.get_username() if note.author else None,
        "text": note.text,
        "created_at": note.created_at.isoformat(),
    }


def _enter(request: AuthedRequest, scope: str, conversation_id: UUID) -> Conversation:
    request.auth.require_scope(scope)
    return conversation_for_agent(request.auth, conversation_id)


def _as_it_is_now(conversation: Conversation) -> dict[str, Any]:
    conversation.refresh_from_db()
    handoff = open_handoff(conversation)
    return {
        **conversation_to_dict(conversation),
        "owner": conversation.owner.get_username() if conversation.owner else None,
        "handoff": handoff_to_dict(handoff) if handoff else None,
    }


@router.get("/inbox", summary="The queue: waiting, mine, all open, or closed")
def list_inbox(request: AuthedRequest, shown: Query[Shown]) -> dict[str, Any]:
    request.auth.require_scope("handoff:read")
    request.auth.require(Role.AGENT)
    return {
        **inbox.counts(request.auth),
        "items": [
            {
                **conversation_to_dict(row.conversation),
                "owner": row.conversation.owner.get_username() if row.conversation.owner else None,
                "handoff": handoff_to_dict(row.handoff) if row.handoff else None,
                "urgency": row.urgency,
                "person_speaks_last": row.person_speaks_last,
            }
            for row in inbox.queue(request.auth, shown.show)
        ],
    }


@router.get(INBOX, summary="One conversation with notes and changes of hands, for its agents")
def read_inbox(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    conversation = _enter(request, "handoff:read", conversation_id)
    messages = inbox.shown_messages(conversation)
    return {
        **_as_it_is_now(conversation),
        "messages": [message_to_dict(message) for message in messages],
        "notes": [
            note_to_dict(note)
            for note in conversation.notes.select_related("author").order_by("created_at", "pk")
        ],
        "transitions": [
            {
                "from": one.from_state,
                "to": one.to_state,
                "actor": one.actor.get_username() if one.actor else None,
                "agent": one.agent.get_username() if one.agent else None,
                "at": one.at.isoformat(),
            }
            for one in conversation.transitions.select_related("actor", "agent").order_by(
                "at", "pk"
            )
        ],
    }


@router.post(f"{INBOX}/take", summary="Take over: the assistant is silent from now on")
def take(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    conversation = _enter(request, "handoff:write", conversation_id)
    services.take(principal=request.auth, conversation=conversation)
    return _as_it_is_now(conversation)


@router.post(f"{INBOX}/assign", summary="Let another agent answer")
def assign(request: AuthedRequest, conversation_id: UUID, body: Assignment) -> dict[str, Any]:
    conversation = _enter(request, "handoff:write", conversation_id)
    agent = get_agent(request.auth, body.agent)
    services.assign(principal=request.auth, conversation=conversation, agent=agent)
    return _as_it_is_now(conversation)


@router.post(f"{INBOX}/put-back", summary="Back into the queue, for another agent")
def put_back(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    conversation = _enter(request, "handoff:write", conversation_id)
    services.put_back(principal=request.auth, conversation=conversation)
    return _as_it_is_now(conversation)


@router.post(f"{INBOX}/return", summary="Return it to the assistant")
def give_back(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    """The assistant answers the person's last message if nobody did."""
    conversation = _enter(request, "handoff:write", conversation_id)
    services.give_back(principal=request.auth, conversation=conversation)
    return _as_it_is_now(conversation)


@router.post(f"{INBOX}/close", summary="Close it")
def close(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    conversation = _enter(request, "handoff:write", conversation_id)
    services.close(principal=request.auth, conversation=conversation)
    return _as_it_is_now(conversation)


@router.post(
    f"{INBOX}/replies", response={201: dict[str, Any]}, summary="Answer the person as an agent"
)
def reply(request: AuthedRequest, conversation_id: UUID, body: Text) -> Status:
    conversation = _enter(request, "handoff:write", conversation_id)
    message = services.reply(principal=request.auth, conversation=conversation, text=body.text)
    return Status(201, message_to_dict(message))


@router.post(
    f"{INBOX}/notes", response={201: dict[str, Any]}, summary="A note that only agents read"
)
def add_note(request: AuthedRequest, conversation_id: UUID, body: Text) -> Status:
    conversation = _enter(request, "handoff:write", conversation_id)
    note = services.add_note(principal=request.auth, conversation=conversation, text=body.text)
    return Status(201, note_to_dict(note))


@router.post(f"{INBOX}/suggestion", summary="What the assistant would answer; nothing is sent")
def suggest_reply(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    """`text` is null where the documents hold no answer that is sure enough."""
    conversation = _enter(request, "handoff:read", conversation_id)
    found = suggest(principal=request.auth, conversation=conversation)
    return {
        "text": found.text if found else None,
        "citations": found.citations if found else [],
        "confidence": found.confidence if found else None,
    }


# Of the person whose conversation it is -----------------------------------------------------------


@router.post("/conversations/{uuid:conversation_id}/handoff", summary="Ask for a person")
def ask_for_person(request: AuthedRequest, conversation_id: UUID, body: Reason) -> dict[str, Any]:
    request.auth.require_scope("chat")
    conversation = get_conversation(request.auth, conversation_id)
    services.ask_for_person(principal=request.auth, conversation=conversation, reason=body.reason)
    return _as_it_is_now(conversation)


@router.post("/conversations/{uuid:conversation_id}/close", summary="End one's own conversation")
def end(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    request.auth.require_scope("chat")
    conversation = get_conversation(request.auth, conversation_id)
    services.close(principal=request.auth, conversation=conversation)
    return _as_it_is_now(conversation)


@router.put("/conversations/{uuid:conversation_id}/rating", summary="Rate a closed conversation")
def rate(request: AuthedRequest, conversation_id: UUID, body: Rating) -> dict[str, Any]:
    request.auth.require_scope("chat")
    conversation = get_conversation(request.auth, conversation_id)
    survey = services.rate(
        principal=request.auth, conversation=conversation, score=body.score, comment=body.comment
    )
    return {"score": survey.score, "comment": survey.comment}
