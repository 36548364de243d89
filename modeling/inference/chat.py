"""POST /v1/chat/completions: one request, checked, carried to the engine and back."""

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from modeling.inference.engine_http import EngineAnswer, EngineLost, engine_request
from modeling.inference.errors import ApiError, engine_unavailable, invalid_request
from modeling.inference.metrics import Metrics
from modeling.inference.requests import ChatRequest
from modeling.inference.supervisor import Supervisor

logger = logging.getLogger(__name__)

# A caller that takes no bytes for so long gives up its slot.
SEND_TIMEOUT_SECONDS = 60
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_END_OF_STREAM = b"data: [DONE]"
_TIMINGS = re.compile(rb'"timings":(\{[^{}]*\})')
_CALLER_LEFT = 499


class ChatResponse(Response):
    """Answers one chat request; stops the engine's work as soon as the caller has gone."""

    def __init__(
        self, body: ChatRequest, supervisor: Supervisor, metrics: Metrics, arrived_at: float
    ) -> None:
        super().__init__()
        self._request = body
        self._supervisor = supervisor
        self._metrics = metrics
        self._arrived_at = arrived_at
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answering = asyncio.create_task(self._answer_or_explain(send))
        leaving = asyncio.create_task(_caller_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            status = await answering if answering.done() else _CALLER_LEFT
        finally:
            for task in (answering, leaving):
                task.cancel()
            # Leaving the engine's stream happens in the task; wait until it has.
            await asyncio.gather(answering, leaving, return_exceptions=True)
        self._metrics.requests.labels("chat", self._label(), str(status)).inc()

    def _label(self) -> str:
        """The model as a metric label; a name somebody made up must not become one."""
        model = self._request.model
        return model if model in self._supervisor.served_names else "unknown"

    async def _answer_or_explain(self, send: Send) -> int:
        try:
            await self._answer(send)
        except ApiError as exc:
            await self._explain(exc, send)
            return exc.status
        except EngineLost as exc:
            logger.warning("engine lost: %s", exc)
            error = engine_unavailable("The engine ended while it was answering; send it again")
            await self._explain(error, send)
            return error.status
        except (TimeoutError, OSError):
            # The caller's connection is gone or takes no more bytes.
            return _CALLER_LEFT
        return 200

    async def _answer(self, send: Send) -> None:
        request = self._request
        body = request.for_engine()
        prompt = json.dumps(body["messages"], ensure_ascii=False)
        async with self._supervisor.lease(
            model=request.model, salt=request.cache_salt, prompt=prompt
        ) as lease:
            body["model"] = self._supervisor.settings.model_name
            body["id_slot"] = lease.claim.slot_id
            body["cache_prompt"] = lease.claim.reuse_prefix
            body["lora"] = lease.engine.adapter_scales(request.model)
            async with engine_request(
                lease.engine.socket_path, "POST", "/v1/chat/completions", body
            ) as upstream:
                if upstream.status != 200:
                    raise _translated(upstream.status, await upstream.read())
                if request.stream:
                    await self._relay_stream(upstream, send)
                else:
                    await self._relay_whole(upstream, send)

    async def _relay_stream(self, upstream: EngineAnswer, send: Send) -> None:
        finished = False
        async for events in _whole_events(upstream):
            if not self._started:
                self._started = True
                self._metrics.time_to_first_token.labels(self._request.model).observe(
                    time.monotonic() - self._arrived_at
                )
                await _send(
                    send,
                    {"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS},
                )
            if b'"timings":' in events:
                self._count_tokens(events)
            finished = finished or _END_OF_STREAM in events
            await _send(
                send,
                {"type": "http.response.body", "body": self._named(events), "more_body": True},
            )
        if not finished:
            raise engine_unavailable("The engine's answer broke off; send the request again")
        await _send(send, {"type": "http.response.body", "body": b"", "more_body": False})

    async def _relay_whole(self, upstream: EngineAnswer, send: Send) -> None:
        content = await upstream.read()
        self._count_tokens(content)
        self._started = True
        headers = [(b"content-type", b"application/json")]
        await _send(send, {"type": "http.response.start", "status": 200, "headers": headers})
        await _send(
            send,
            {"type": "http.response.body", "body": self._named(content), "more_body": False},
        )

    def _named(self, content: bytes) -> bytes:
        """Put the adapter's name where the engine wrote the base's.

        The bytes searched for can't be part of generated text, whose quotes are escaped in JSON.
        """
        base = self._supervisor.settings.model_name
        if self._request.model == base:
            return content
        return content.replace(
            b'"model":' + json.dumps(base).encode(),
            b'"model":' + json.dumps(self._request.model).encode(),
        )

    def _count_tokens(self, content: bytes) -> None:
        match = _TIMINGS.search(content)
        if match is None:
            return
        timings = json.loads(match[1])
        model = self._request.model
        self._metrics.prompt_tokens.labels(model).inc(timings["prompt_n"] + timings["cache_n"])
        self._metrics.generated_tokens.labels(model).inc(timings["predicted_n"])

    async def _explain(self, error: ApiError, send: Send) -> None:
        if self._started:
            event = b"data: " + json.dumps(error.body()).encode() + b"\n\n"
            await _send(send, {"type": "http.response.body", "body": event, "more_body": False})
            return
        response = error.response()
        await _send(
            send,
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            },
        )
        await _send(send, {"type": "http.response.body", "body": response.body})


async def _whole_events(upstream: EngineAnswer) -> AsyncIterator[bytes]:
    """Server-sent events as they come, never cut inside one."""
    pending = b""
    async for chunk in upstream.chunks():
        pending += chunk
        end = pending.rfind(b"\n\n") + 2
        if end > 1:
            yield pending[:end]
            pending = pending[end:]


async def _send(send: Send, message: Message) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
        await send(message)


async def _caller_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _translated(status: int, content: bytes) -> ApiError:
    """llama.cpp's error as OpenAI would word it."""
    try:
        error: dict[str, Any] = json.loads(content)["error"]
        message, kind = str(error["message"]), error.get("type")
    except (ValueError, KeyError, TypeError):
        return ApiError(502, "engine_error", f"The engine answered {status} without a reason")
    if kind == "exceed_context_size_error":
        return invalid_request(
            f"The prompt has {error.get('n_prompt_tokens')} tokens; this model takes at most "
            f"{error.get('n_ctx')}, answer included. Shorten the messages",
            param="messages",
            code="context_length_exceeded",
        )
    if status == 503:
        return engine_unavailable(message)
    if 400 <= status < 500:
        return invalid_request(message, status=status)
    return ApiError(500, "engine_error", message, code="engine_error")
