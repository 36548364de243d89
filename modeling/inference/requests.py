"""What callers may send. Anything else is refused with the field named."""

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request

from modeling.inference.errors import ApiError, invalid_request

MAX_BODY_BYTES = 8 * 1024 * 1024
DEFAULT_MAX_TOKENS = 1024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class TextPart(_Strict):
    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def for_engine(self) -> dict[str, Any]:
        message = self.model_dump(exclude_none=True)
        if isinstance(self.content, list):
            message["content"] = "".join(part.text for part in self.content)
        if self.role == "developer":
            message["role"] = "system"
        return message


class JsonSchema(_Strict):
    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _schema_comes_with_its_type(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema must be given exactly when type is 'json_schema'")
        return self

    def for_engine(self) -> dict[str, Any]:
        if self.json_schema is None:
            return {"type": self.type}
        return {"type": self.type, "json_schema": {"schema": self.json_schema.schema_}}


class StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool | None = None


Penalty = Annotated[float, Field(ge=-2, le=2)]


class ChatRequest(_Strict):
    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: int | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    n: Literal[1] | None = None
    response_format: ResponseFormat | None = None
    grammar: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    cache_salt: str = ""
    """As in vLLM: only requests with the same salt share a cached prefix."""

    # Known to OpenAI's clients, without meaning here.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @model_validator(mode="after")
    def _one_grammar(self) -> "ChatRequest":
        if self.grammar is not None and self.response_format is not None:
            raise ValueError("grammar and response_format can't be given together")
        return self

    def for_engine(self) -> dict[str, Any]:
        """The fields the engine understands, checked; slot and adapter are added by the caller."""
        body = self.model_dump(exclude_none=True, include=_ENGINE_FIELDS)
        body["messages"] = [message.for_engine() for message in self.messages]
        body["max_tokens"] = self.max_completion_tokens or self.max_tokens or DEFAULT_MAX_TOKENS
        if self.response_format is not None:
            body["response_format"] = self.response_format.for_engine()
        if self.stream and self.stream_options is not None:
            body["stream_options"] = {"include_usage": self.stream_options.include_usage}
        return body


_ENGINE_FIELDS = {
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "stop",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "grammar",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
}


class EmbeddingRequest(_Strict):
    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


class RerankDocument(_Strict):
    text: str


class RerankRequest(_Strict):
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str | RerankDocument], Field(min_length=1, max_length=1000)]
    model: str | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        return [each if isinstance(each, str) else each.text for each in self.documents]


class RoutingRequest(_Strict):
    model: str | None = None
    prompt: Annotated[str, Field(min_length=1)] | None = None
    """Read as it is."""
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    """Read as the model reads a chat."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "RoutingRequest":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give prompt or messages, exactly one of them")
        return self


class RoutingLoadRequest(_Strict):
    model: str | None = None
    texts: Annotated[
        dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1, max_length=16)
    ]
    """Texts by the name of the group that they stand for, such as a domain."""


class TokenizeRequest(_Strict):
    text: str
    model: str | None = None


class LoadLoraRequest(_Strict):
    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadLoraRequest(_Strict):
    lora_name: str
    lora_int_id: int | None = None


Body = TypeVar("Body", bound=BaseModel)


async def parse(request: Request, kind: type[Body]) -> Body:
    """Read and check the JSON body; raises ApiError 400, 413 or 415 that names the field."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise invalid_request(
            f"Content-Type must be application/json, got {media_type!r}", status=415
        )
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_BODY_BYTES:
            raise invalid_request(
                f"The body must be at most {MAX_BODY_BYTES} bytes; send less", status=413
            )
    try:
        value = json.loads(received)
    except (ValueError, RecursionError) as exc:
        raise invalid_request(f"The body is not valid JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise invalid_request(
            f"The body must be a JSON object, got {type(value).__name__}; send the fields in {{}}"
        )
    try:
        return kind.model_validate(value)
    except ValidationError as exc:
        raise _naming_the_field(exc) from exc


def _naming_the_field(exc: ValidationError) -> ApiError:
    problem = exc.errors(include_url=False, include_context=False, include_input=False)[0]
    location = problem["loc"]
    field = ".".join(str(part) for part in location) or None
    text = f"{field}: {problem['msg']}" if field else str(problem["msg"])
    return invalid_request(text, param=str(location[0]) if location else None)
