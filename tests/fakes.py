"""A model server for tests: real HTTP, the OpenAI contract, deterministic answers, no model.

    model_server.enqueue("The parcel left on Monday.")        # the next chat answer
    model_server.enqueue(lambda request: request["model"])    # computed from the request body
    model_server.slow(0.2)      # seconds before each token
    model_server.down()         # connections are dropped until `up()`
    model_server.fail(503, "overloaded")                      # the next request only
    model_server.requests       # what was asked: Request(method, path, headers, body)

Without a queued answer the chat echoes the last user message, or the smallest JSON that a requested
schema allows. Embeddings are hashed bags of words: texts that share words are near each other.
"""

import base64
import hashlib
import json
import math
import re
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

EMBEDDING_WIDTH = 384
TOKEN = re.compile(r"\s*\S+|\s+")
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")

Answer = str | Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Request:
    """One request as the server received it."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ModelServer:
    """The fake; enter it as a context manager to start and stop it."""

    chat_model: str = "fake-chat"
    embedding_model: str = "fake-embedding"
    api_key: str = "fake-model-server-key"
    requests: list[Request] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    """Loaded LoRA adapters: name to path."""
    routed_experts: bool | None = None
    """Whether the chat model says that it is a mixture; None: it says nothing, as vLLM."""
    encoders: set[str] = field(default_factory=set)
    """Served names of tuned encoders, whose vectors are others than those of `embedding_model`."""
    width: int = EMBEDDING_WIDTH
    """Numbers of a vector by `embedding_model`; with another one it is another encoder."""
    num_disconnects: int = 0
    """How many clients left in the middle of a stream."""
    _answers: deque[Answer] = field(default_factory=deque)
    _failures: deque[tuple[int, str]] = field(default_factory=deque)
    _state: str = "up"
    _seconds_per_token: float = 0.0

    def __enter__(self) -> Self:
        self._http = _Listener(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="fake-model-server",
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._seconds_per_token = 0.0
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def enqueue(self, *answers: Answer) -> None:
        self._answers.extend(answers)

    def fail(self, status: int, message: str = "The fake was told to fail.") -> None:
        self._failures.append((status, message))

    def slow(self, seconds_per_token: float) -> None:
        self._state, self._seconds_per_token = "up", seconds_per_token

    def down(self) -> None:
        self._state = "down"

    def up(self) -> None:
        self._state, self._seconds_per_token = "up", 0.0

    def reset(self) -> None:
        self.up()
        self.num_disconnects = 0
        self.embedding_model = type(self).embedding_model
        self.width = EMBEDDING_WIDTH
        self.routed_experts = None
        for collection in (
            self.requests,
            self.adapters,
            self.encoders,
            self._answers,
            self._failures,
        ):
            collection.clear()

    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chat requests, in order."""
        return [asked.body for asked in self.requests if asked.path == "/v1/chat/completions"]

    def answer(self, body: dict[str, Any]) -> str:
        if self._answers:
            answer = self._answers.popleft()
            return answer if isinstance(answer, str) else answer(body)
        wanted = body.get("response_format") or {}
        if wanted.get("type") == "json_schema":
            return json.dumps(_smallest(wanted["json_schema"]["schema"]))
        if wanted.get("type") == "json_object":
            return "{}"
        return f"You said: {_text_of(body['messages'][-1])}"


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: ModelServer) -> None:
        self.owner = owner
        super().__init__(address, _Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is part of the tests, not an error of the run."""


class _Refused(Exception):
    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Exchange(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer("GET", {})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._answer("POST", json.loads(self.rfile.read(length) or b"{}"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests read `ModelServer.requests`."""

    def _answer(self, method: str, body: dict[str, Any]) -> None:
        fake = self.server.owner
        if fake._state == "down":
            self.close_connection = True
            return
        fake.requests.append(Request(method, self.path, dict(self.headers.items()), body))
        try:
            if self.path == "/health":
                self._send(200, {"status": "ok"})
                return
            if fake._failures:
                status, message = fake._failures.popleft()
                raise _Refused(status, message, "told_to_fail")
            if self.headers.get("Authorization") != f"Bearer {fake.api_key}":
                raise _Refused(401, "Wrong or missing API key.", "invalid_api_key")
            route = {
                "GET /v1/models": self._models,
                "POST /v1/routing": self._routing,
                "POST /v1/routing/load": self._routing_load,
                "POST /v1/chat/completions": self._chat,
                "POST /v1/embeddings": self._embeddings,
                "POST /v1/rerank": self._rerank,
                "POST /v1/load_lora_adapter": self._load,
                "POST /v1/unload_lora_adapter": self._unload,
            }.get(f"{method} {self.path}")
            if route is None:
                raise _Refused(404, f"Unknown path {self.path}.", "not_found")
            route(body)
        except _Refused as refusal:
            self._send(
                refusal.status,
                {
                    "error": {
                        "message": str(refusal),
                        "type": "invalid_request_error" if refusal.status < 500 else "server_error",
                        "param": None,
                        "code": refusal.code,
                    }
                },
            )

    def _send(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _models(self, body: dict[str, Any]) -> None:
        fake = self.server.owner
        self._send(
            200,
            {
                "object": "list",
                "data": [
                    {"id": name, "object": "model", "created": 0, "owned_by": "test"}
                    | (
                        {"routed_experts": fake.routed_experts}
                        if fake.routed_experts is not None and name == fake.chat_model
                        else {}
                    )
                    for name in (fake.chat_model, fake.embedding_model, *fake.adapters)
                ],
            },
        )

    def _known_model(self, body: dict[str, Any], *known: str) -> str:
        name = str(body.get("model"))
        if name not in known:
            raise _Refused(
                404,
                f"The model {name!r} does not exist; known: {', '.join(known)}.",
                "model_not_found",
            )
        return name

    def _chat(self, body: dict[str, Any]) -> None:
        fake = self.server.owner
        model = self._known_model(body, fake.chat_model, *fake.adapters)
        if not body.get("messages"):
            raise _Refused(400, "messages must hold at least one message.", "invalid_value")
        text = fake.answer(body)
        tokens = TOKEN.findall(text)
        finish = "stop"
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        if limit and len(tokens) > limit:
            tokens, finish = tokens[:limit], "length"
        prompt_tokens = sum(len(TOKEN.findall(_text_of(one))) for one in body["messages"])
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(tokens),
            "total_tokens": prompt_tokens + len(tokens),
        }
        head = {"id": f"chatcmpl-{len(fake.requests)}", "created": int(time.time()), "model": model}
        if body.get("stream"):
            self._stream(body, head, tokens, finish, usage)
            return
        time.sleep(fake._seconds_per_token * len(tokens))
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(tokens)},
            "finish_reason": finish,
        }
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [_logprob(token) for token in tokens]}
        self._send(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(
        self,
        body: dict[str, Any],
        head: dict[str, Any],
        tokens: list[str],
        finish: str,
        usage: dict[str, int],
    ) -> None:
        fake = self.server.owner
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

        def event(delta: dict[str, Any], reason: str | None, token: str | None = None) -> None:
            choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
            if body.get("logprobs") and token is not None:
                choice["logprobs"] = {"content": [_logprob(token)]}
            self._event({**head, "object": "chat.completion.chunk", "choices": [choice]})

        try:
            event({"role": "assistant", "content": ""}, None)
            for token in tokens:
                time.sleep(fake._seconds_per_token)
                if fake._state == "down":
                    return
                event({"content": token}, None, token)
            event({}, finish)
            if (body.get("stream_options") or {}).get("include_usage"):
                self._event(
                    {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
                )
            self.wfile.write(b"data: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            fake.num_disconnects += 1

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _embeddings(self, body: dict[str, Any]) -> None:
        fake = self.server.owner
        model = self._known_model(body, fake.embedding_model, *fake.encoders)
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not texts or not all(isinstance(text, str) and text for text in texts):
            raise _Refused(
                400, "input must be a text or a list of texts, none empty.", "invalid_value"
            )
        as_base64 = body.get("encoding_format") == "base64"
        data: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            shipped = model == fake.embedding_model
            vector = embed(text, width=fake.width) if shipped else embed(text, by=model)
            packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append(
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": packed if as_base64 else vector,
                }
            )
        num_tokens = sum(len(WORD.findall(text)) for text in texts)
        usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
        self._send(200, {"object": "list", "data": data, "model": model, "usage": usage})

    def _rerank(self, body: dict[str, Any]) -> None:
        asked = embed(body["query"])
        scores = [
            sum(one * other for one, other in zip(asked, embed(text), strict=True))
            for text in body["documents"]
        ]
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        results.sort(key=lambda result: -result["relevance_score"])
        self._send(200, {"id": "rerank-1", "model": "fake-rerank", "results": results})

    def _routing(self, body: dict[str, Any]) -> None:
        """Two layers of four experts; each word is a token, its length says where it goes."""
        self._known_model(body, self.server.owner.chat_model)
        words = _text_of(body["messages"][-1]).split()
        chosen = [
            [[len(word) % 4, (len(word) + 1 + layer) % 4] for word in words] for layer in (0, 1)
        ]
        self._send(
            200,
            {
                "object": "routing",
                "tokens": [f" {word}" for word in words],
                "layers": [0, 1],
                "num_experts": 4,
                "experts": chosen,
                "weights": [[[0.75, 0.25] for _ in words] for _ in chosen],
            },
        )

    def _routing_load(self, body: dict[str, Any]) -> None:
        """The first expert of each layer gets a token for each text, the third all others."""
        self._known_model(body, self.server.owner.chat_model)
        groups = {}
        for name, texts in body["texts"].items():
            tokens = sum(len(text.split()) for text in texts)
            load = [len(texts), 0, 2 * tokens - len(texts), 0]
            balance = {"cv": 0.5, "max_over_mean": 3.25, "dead_experts": 4, "entropy": 0.2}
            groups[name] = {"tokens": tokens, "load": [load, load], "balance": balance}
        self._send(200, {"object": "routing.load", "layers": [0, 1], "groups": groups})

    def _load(self, body: dict[str, Any]) -> None:
        fake = self.server.owner
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            raise _Refused(400, "Both lora_name and lora_path must be given.", "invalid_value")
        if name in fake.adapters:
            raise _Refused(400, f"The adapter {name!r} is loaded already.", "invalid_value")
        fake.adapters[name] = path
        self._send(200, {"status": "loaded", "lora_name": name})

    def _unload(self, body: dict[str, Any]) -> None:
        fake = self.server.owner
        name = str(body.get("lora_name"))
        if name not in fake.adapters:
            raise _Refused(404, f"The adapter {name!r} is not loaded.", "model_not_found")
        del fake.adapters[name]
        self._send(200, {"status": "unloaded", "lora_name": name})


def embed(text: str, *, by: str = "", width: int = EMBEDDING_WIDTH) -> list[float]:
    """A unit vector of the text's words; the cosine of two texts grows with the words they share.

    `by`: the name of a tuned encoder, in whose space every word lies elsewhere.
    """
    vector = [0.0] * width
    for word in WORD.findall(text.lower()) or [text]:
        digest = hashlib.sha256(f"{by}{word}".encode()).digest()
        sign = 1.0 if digest[4] % 2 else -1.0
        vector[int.from_bytes(digest[:4], "big") % width] += sign
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def _logprob(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.1, "bytes": list(token.encode()), "top_logprobs": []}


def _smallest(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """The smallest value that a JSON schema allows, always the same one."""
    root = root or schema
    if "$ref" in schema:
        target: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _smallest(target, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _smallest(schema[choice][0], root)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _smallest(properties[name], root) for name in schema.get("required", [])}
    if kind == "array":
        return [_smallest(schema["items"], root) for _ in range(schema.get("minItems", 0))]
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    return "x" * schema.get("minLength", 0)
