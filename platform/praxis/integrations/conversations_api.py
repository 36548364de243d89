"""Assistants, conversations, messages, feedback and state over REST."""

from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.assistants.contract import Assistant
from praxis.assistants.pipeline import difference
from praxis.conversations import services
from praxis.conversations.access import conversations_of, get_conversation, get_message
from praxis.conversations.memory import remembered_messages, summary_of
from praxis.conversations.models import Conversation, Message
from praxis.conversations.serializers import conversation_to_dict, message_to_dict
from praxis.conversations.stream_views import event_stream
from praxis.integrations.answers import finished, follow, released
from praxis.integrations.idempotency import abandon, begin, finish, once

router = Router(tags=["conversations"])


class AuthedRequest(HttpRequest):
    auth: Principal


class NewConversation(Schema):
    assistant: str = Field(description="The slug of an assistant, as GET /assistants lists them.")


class NewMessage(Schema):
    text: str
    stream: bool = Field(
        False, description="Answer with server-sent events instead of the finished message."
    )


class ProactiveMessage(Schema):
    text: str


class NewFeedback(Schema):
    thumb: Literal["up", "down"]
    correction: str = ""


class StateField(Schema):
    key: str
    value: str


class Page(Schema):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=100_000)


def assistant_to_dict(assistant: Assistant) -> dict[str, Any]:
    return {
        "slug": assistant.slug,
        "title": str(assistant.title),
        "tagline": str(assistant.tagline),
        "notice": str(assistant.notice),
        "suggestions": [str(suggestion) for suggestion in assistant.suggestions],
        "high_stakes": assistant.high_stakes,
    }


@router.get("/assistants", summary="Assistants that the workspace offers")
def list_assistants(request: AuthedRequest) -> list[dict[str, Any]]:
    request.auth.require_scope("conversations:read")
    return [assistant_to_dict(one) for one in services.offered_assistants(request.auth.workspace)]


@router.get("/conversations", summary="Conversations, the newest first")
def list_conversations(request: AuthedRequest, page: Query[Page]) -> dict[str, Any]:
    request.auth.require_scope("conversations:read")
    found = conversations_of(request.auth).select_related("workspace").order_by("-updated_at", "pk")
    rows = found[page.offset : page.offset + page.limit]
    return {"count": found.count(), "items": [conversation_to_dict(row) for row in rows]}


@router.post("/conversations", response={201: dict[str, Any]}, summary="Begin a conversation")
def create_conversation(request: AuthedRequest, body: NewConversation) -> Any:
    request.auth.require_scope("conversations:write")

    def begun() -> Status[Any]:
        conversation = services.start_conversation(
            principal=request.auth, assistant=body.assistant, channel="api"
        )
        return Status(201, conversation_to_dict(conversation))

    return once(request, request.auth, begun)


@router.get("/conversations/{uuid:conversation_id}", summary="One conversation with its messages")
def read_conversation(request: AuthedRequest, conversation_id: UUID) -> dict[str, Any]:
    request.auth.require_scope("conversations:read")
    conversation = get_conversation(request.auth, conversation_id)
    return conversation_to_dict(conversation, services.shown_messages(conversation))


@router.delete("/conversations/{uuid:conversation_id}", response={204: None})
def delete_conversation(request: AuthedRequest, conversation_id: UUID) -> Status:
    request.auth.require_scope("conversations:write")
    services.delete(
        principal=request.auth, conversation=get_conversation(request.auth, conversation_id)
    )
    return Status(204, None)


@router.post(
    "/conversations/{uuid:conversation_id}/messages",
    response={200: dict[str, Any]},
    summary="Say something and get the answer",
)
async def create_message(
    request: AuthedRequest, conversation_id: UUID, body: NewMessage
) -> dict[str, Any] | StreamingHttpResponse | Status:
    """Waits for the whole answer, or streams its events with `"stream": true`.

    With an `Idempotency-Key` a repeated request gets the first one's answer. Returns the person's
    own message while a person, not the assistant, answers the conversation.
    """
    request.auth.require_scope("chat")
    # Each `released` costs a change of thread and back.
    keyed = "Idempotency-Key" in request.headers
    repeated = await released(begin)(request, request.auth) if keyed else None
    if repeated is not None and repeated.status is not None:
        return Status(repeated.status, repeated.response)
    try:
        answer = await released(_post)(request.auth, conversation_id, body.text)
    except Exception:
        if repeated is not None:
            await released(abandon)(repeated)
        raise
    if body.stream and answer.role == Message.Role.ASSISTANT:
        if repeated is not None:
            await released(finish)(repeated, 200, {"id": str(answer.pk)})
        return event_stream(follow(request, answer.pk))
    if answer.role == Message.Role.ASSISTANT:
        answer = await finished(request, answer.pk)
    found = message_to_dict(answer)
    if repeated is not None:
        await released(finish)(repeated, 200, found)
    return found


def _post(principal: Principal, conversation_id: UUID, text: str) -> Message:
    conversation = get_conversation(principal, conversation_id)
    return services.post_message(principal=principal, conversation=conversation, text=text)


@router.post(
    "/conversations/{uuid:conversation_id}/assistant-messages",
    response={201: dict[str, Any]},
    summary="Say something as the assistant, unasked",
)
def create_assistant_message(
    request: AuthedRequest, conversation_id: UUID, body: ProactiveMessage
) -> Any:
    """Only while the assistant has the word: 409 when a person is asked for or answers."""
    request.auth.require_scope("conversations:write")

    def said() -> Status[Any]:
        message = services.say_unasked(
            principal=request.auth,
            conversation=get_conversation(request.auth, conversation_id),
            text=body.text,
        )
        return Status(201, message_to_dict(message))

    return once(request, request.auth, said)


@router.get("/messages/{uuid:message_id}", summary="One message")
def read_message(request: AuthedRequest, message_id: UUID) -> dict[str, Any]:
    request.auth.require_scope("conversations:read")
    return message_to_dict(get_message(request.auth, message_id))


@router.get("/messages/{uuid:message_id}/events", summary="The events of an answer, as they come")
async def read_message_events(request: AuthedRequest, message_id: UUID) -> StreamingHttpResponse:
    """Server-sent events; resumes after `Last-Event-ID`."""
    request.auth.require_scope("conversations:read")
    await released(get_message)(request.auth, message_id)
    return event_stream(follow(request, message_id, request.headers.get("Last-Event-ID", "")))


@router.post("/messages/{uuid:message_id}/stop", response={202: None}, summary="Stop an answer")
def stop_message(request: AuthedRequest, message_id: UUID) -> Status:
    request.auth.require_scope("chat")
    services.stop(principal=request.auth, message=get_message(request.auth, message_id))
    return Status(202, None)


@router.post(
    "/messages/{uuid:message_id}/feedback",
    response={201: dict[str, Any]},
    summary="A thumb, and what should have been said",
)
def create_feedback(request: AuthedRequest, message_id: UUID, body: NewFeedback) -> Status:
    request.auth.require_scope("conversations:write")
    feedback = services.give_feedback(
        principal=request.auth,
        message=get_message(request.auth, message_id),
        thumb=body.thumb,
        correction=body.correction,
    )
    return Status(
        201, {"message": str(message_id), "thumb": feedback.thumb, "review": feedback.review}
    )


@router.get(
    "/conversations/{uuid:conversation_id}/memory", summary="What is remembered of a conversation"
)
def read_memory(
    request: AuthedRequest, conversation_id: UUID, page: Query[Page], q: str = ""
) -> dict[str, Any]:
    """The summary of the older messages, and the archive, the newest first; `q` searches in it."""
    request.auth.require_scope("conversations:read")
    conversation = get_conversation(request.auth, conversation_id)
    archive = remembered_messages(conversation.head_id, containing=q)
    return {
        "state": conversation.state,
        "summary": summary_of(conversation.head_id),
        "count": archive.count(),
        "items": [
            {"id": str(one.pk), "turn": one.turn, "role": one.role, "text": one.text}
            for one in archive[page.offset : page.offset + page.limit]
        ],
    }


@router.delete(
    "/conversations/{uuid:conversation_id}/memory",
    response={200: dict[str, Any]},
    summary="Forget turns of a conversation",
)
def forget_memory(
    request: AuthedRequest, conversation_id: UUID, turn: int | None = None, q: str = ""
) -> dict[str, Any]:
    """`turn`: that one; `q`: those in which it stands; neither: all, and the understood state.
    The transcript keeps the messages."""
    request.auth.require_scope("conversations:write")
    count = services.forget(
        principal=request.auth,
        conversation=get_conversation(request.auth, conversation_id),
        turn=turn,
        containing=q,
    )
    return {"forgotten": count}


@router.patch("/conversations/{uuid:conversation_id}/state", summary="Correct the understood state")
def correct_state(
    request: AuthedRequest, conversation_id: UUID, body: StateField
) -> dict[str, Any]:
    request.auth.require_scope("conversations:write")
    conversation: Conversation = get_conversation(request.auth, conversation_id)
    try:
        corrected = services.correct_state(
            principal=request.auth, conversation=conversation, key=body.key, value=body.value
        )
    except services.MessageRefused:
        raise
    except ValueError as error:
        raise services.MessageRefused(str(error)) from error
    changes = difference(conversation.state, corrected.state)
    return {**conversation_to_dict(corrected), "state_changes": changes}
