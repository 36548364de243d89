"""The OpenAI-compatible API under /v1/: a model's name there is an assistant's slug.

A turn goes through the same pipeline as on the page. OpenAI's protocol is stateless, so the
conversation to go on with is found by the history that the client sends: the same key, the same
assistant, the same messages. What OpenAI has no field for (citations, confidence, state) stands
under `praxis` in the answer.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Schema
from ninja.errors import AuthenticationError, ValidationError
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed, rerank
from praxis.conversations import services
from praxis.conversations.models import Conversation, Message
from praxis.integrations.answers import finished, follow, released
from praxis.integrations.authentication import KeyAuth
from praxis.integrations.conversations_api import AuthedRequest
from praxis.integrations.models import OpenAIThread

openai_api = NinjaAPI(
    title="Praxis, OpenAI-compatible",
    version="1.0",
    urls_namespace="openai",
    auth=KeyAuth(),
)
LONGEST_HISTORY = 400
IGNORED = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "user")
"""Accepted because every client sends some of them; an assistant decides these itself."""


class OpenAIError(Exception):
    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


class TextPart(Schema):
    type: Literal["text"]
    text: str


class ChatMessage(Schema):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def plain(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatRequest(Schema):
    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=LONGEST_HISTORY)
    stream: bool = False
    n: Literal[1] = 1
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    seed: int | None = None
    user: str | None = None


class EmbeddingRequest(Schema):
    model: str
    input: str | list[str] = Field(description="One text, or at most 256.")
    encoding_format: Literal["float"] = "float"


class RerankRequest(Schema):
    query: str = Field(min_length=1, max_length=8000)
    documents: list[str] = Field(min_length=1, max_length=256)
    model: str = ""
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False


@openai_api.get("/models")
def list_models(request: AuthedRequest) -> dict[str, Any]:
    request.auth.require_scope("chat")
    created = int(request.auth.workspace.created_at.timestamp())
    return {
        "object": "list",
        "data": [
            {"id": one.slug, "object": "model", "created": created, "owned_by": "praxis"}
            for one in services.offered_assistants(request.auth.workspace)
        ],
    }


@openai_api.post("/chat/completions")
async def create_chat_completion(
    request: AuthedRequest, body: ChatRequest
) -> dict[str, Any] | StreamingHttpResponse:
    request.auth.require_scope("chat")
    answer = await released(_post)(request.auth, body)
    if answer.role != Message.Role.ASSISTANT:
        raise OpenAIError(
            409, "A person answers this conversation now; follow it over REST.", code="handed_over"
        )
    if body.stream:
        return _streamed(request, body, answer)
    answer = await finished(request, answer.pk)
    if answer.status == Message.Status.FAILED:
        raise OpenAIError(503, answer.error, code="model_unavailable")
    await released(_remember)(request.auth, body, answer)
    return {
        **_head(body, answer, "chat.completion"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text},
                "finish_reason": "stop",
            }
        ],
        "praxis": _extension(body, answer),
    }


@openai_api.post("/embeddings")
def create_embeddings(request: AuthedRequest, body: EmbeddingRequest) -> dict[str, Any]:
    request.auth.require_scope("chat")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not 1 <= len(texts) <= 256 or not all(texts):
        raise OpenAIError(
            400,
            f"input must be 1 to 256 texts, none of them empty; got {len(texts)}.",
            code="invalid_input",
            param="input",
        )
    vectors = embed(texts)
    return {
        "object": "list",
        "model": body.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ],
    }


@openai_api.post("/rerank")
def create_ranking(request: AuthedRequest, body: RerankRequest) -> dict[str, Any]:
    """In the form of Cohere, Jina and vLLM; OpenAI has none."""
    request.auth.require_scope("chat")
    scores = rerank(body.query, body.documents)
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    return {
        "model": body.model,
        "results": [
            {
                "index": index,
                "relevance_score": scores[index],
                **({"document": {"text": body.documents[index]}} if body.return_documents else {}),
            }
            for index in order[: body.top_n]
        ],
    }


def _post(principal: Principal, body: ChatRequest) -> Message:
    """Find or make the conversation that the history belongs to, and post the last message."""
    *history, last = _spoken(body)
    if last[0] != "user":
        raise OpenAIError(
            400, "The last message must be the user's.", code="invalid_messages", param="messages"
        )
    offered = [one.slug for one in services.offered_assistants(principal.workspace)]
    if body.model not in offered:
        raise OpenAIError(
            404,
            f"The model {body.model!r} does not exist; there are: {', '.join(offered)}.",
            code="model_not_found",
            param="model",
        )
    conversation = _conversation_of(principal, body.model, history)
    return services.post_message(principal=principal, conversation=conversation, text=last[1])


def _conversation_of(
    principal: Principal, assistant: str, history: Sequence[tuple[str, str]]
) -> Conversation:
    if history:
        thread = (
            OpenAIThread.objects.select_related("conversation__workspace")
            .filter(
                api_key_id=principal.api_key_id,
                history_sha256=_digest(assistant, history),
                conversation__owner_kind=Conversation.OwnerKind.ASSISTANT,
            )
            .order_by("-conversation__updated_at")
            .first()
        )
        if thread is not None:
            return thread.conversation
    conversation = services.start_conversation(
        principal=principal, assistant=assistant, channel="openai"
    )
    _copy_history(conversation, history)
    return conversation


@transaction.atomic
def _copy_history(conversation: Conversation, history: Sequence[tuple[str, str]]) -> None:
    """A history from elsewhere becomes the conversation's path, so that the memory knows it."""
    parent: Message | None = None
    turn = 0
    for role, text in history:
        turn += role == "user"
        parent = Message.objects.create(
            conversation=conversation,
            parent=parent,
            turn=turn,
            role=role,
            text=services.clean_text(text),
            state_after={} if role == "assistant" else None,
            finished_at=timezone.now(),
        )
    if parent is not None:
        conversation.head = parent
        conversation.save(update_fields=["head"])


def _spoken(body: ChatRequest) -> list[tuple[str, str]]:
    """What people and the assistant said. An assistant has its own instructions."""
    spoken: list[tuple[str, str]] = [
        (message.role, message.plain.strip())
        for message in body.messages
        if message.role in ("user", "assistant")
    ]
    if not spoken:
        raise OpenAIError(
            400, "There is no user message.", code="invalid_messages", param="messages"
        )
    return spoken


def _digest(assistant: str, spoken: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps([assistant, *spoken]).encode()).hexdigest()


def _remember(principal: Principal, body: ChatRequest, answer: Message) -> None:
    """So that the next request, which sends this answer along, goes on here."""
    assert principal.api_key_id is not None, "this API is entered with a key only"
    spoken = [*_spoken(body), ("assistant", answer.text.strip())]
    OpenAIThread.objects.update_or_create(
        conversation_id=answer.conversation_id,
        defaults={
            "api_key_id": principal.api_key_id,
            "history_sha256": _digest(body.model, spoken),
        },
    )


def _head(body: ChatRequest, answer: Message, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.pk}",
        "object": kind,
        "created": int(answer.created_at.timestamp()),
        "model": body.model,
    }


def _extension(body: ChatRequest, answer: Message) -> dict[str, Any]:
    confidence = answer.last_event("confidence")
    ignored = [name for name in IGNORED if getattr(body, name) is not None]
    if any(message.role in ("system", "developer") for message in body.messages):
        ignored.append("system messages")
    return {
        "conversation": str(answer.conversation_id),
        "message": str(answer.pk),
        "outcome": (answer.last_event("done") or {}).get("outcome"),
        "ai_generated": True,
        "citations": answer.citations,
        "support": answer.last_event("support"),
        "not_in_documents": answer.last_event("not_in_documents"),
        "conflict": answer.last_event("conflict"),
        "confidence": confidence,
        "state": answer.state_after,
        "cards": answer.events_of("card"),
        "receipt": answer.receipt,
        "ignored": ignored,
    }


def _streamed(request: AuthedRequest, body: ChatRequest, answer: Message) -> StreamingHttpResponse:
    head = _head(body, answer, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return f"data: {json.dumps({**head, 'choices': [choice], **more})}\n\n"

    async def lines() -> AsyncIterator[str]:
        yield chunk({"role": "assistant", "content": ""})
        async for item in follow(request, answer.pk):
            if item is None:
                yield ": ping\n\n"
                continue
            _event_id, event = item
            if event["kind"] == "token":
                yield chunk({"content": event["text"]})
            elif event["kind"] == "done" and event["outcome"] == "failed":
                error = {"message": event["error"], "type": "server_error", "param": None}
                yield f"data: {json.dumps({'error': {**error, 'code': 'model_unavailable'}})}\n\n"
                return
        stored = await finished(request, answer.pk)
        await released(_remember)(request.auth, body, stored)
        yield chunk({}, "stop", praxis=_extension(body, stored))
        yield "data: [DONE]\n\n"

    response = StreamingHttpResponse(lines(), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


# Errors in OpenAI's shape, so that its clients raise their own exceptions -------------------------


def _error(
    request: HttpRequest, status: int, message: str, code: str, param: str | None = None
) -> HttpResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code}
    return openai_api.create_response(request, {"error": error}, status=status)


@openai_api.exception_handler(OpenAIError)
def _openai_error(request: HttpRequest, error: OpenAIError) -> HttpResponse:
    return _error(request, error.status, str(error), error.code, error.param)


@openai_api.exception_handler(AuthenticationError)
def _unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    message = "The API key is missing, wrong, expired or revoked."
    return _error(request, 401, message, "invalid_api_key")


@openai_api.exception_handler(PermissionDenied)
def _forbidden(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return _error(request, 403, str(error) or "The key may not do this.", "forbidden")


@openai_api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    param = ".".join(str(part) for part in first["loc"][2:])
    return _error(request, 400, f"{param}: {first['msg']}", "invalid_value", param)


@openai_api.exception_handler(services.MessageRefused)
def _refused(request: HttpRequest, error: services.MessageRefused) -> HttpResponse:
    return _error(request, 400, str(error), "invalid_message", "messages")


@openai_api.exception_handler(services.NotNow)
def _not_now(request: HttpRequest, error: services.NotNow) -> HttpResponse:
    return _error(request, 409, str(error), "conflict")


@openai_api.exception_handler(services.TooManyTurns)
def _too_many(request: HttpRequest, error: services.TooManyTurns) -> HttpResponse:
    response = _error(request, 429, str(error), "rate_limit_exceeded")
    response.headers["Retry-After"] = str(error.retry_after)
    return response


@openai_api.exception_handler(ModelUnavailable)
def _no_model(request: HttpRequest, error: ModelUnavailable) -> HttpResponse:
    return _error(request, 503, str(error), "model_unavailable")
