"""The platform's client of the model server: chat with an adapter, embeddings, what is served.

The server is any OpenAI-compatible one (`LLM_BASE_URL`, `EMBEDDING_BASE_URL`); the official client
speaks to it, so that replacing the embedded server by vLLM changes URLs only.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any

import httpx2
import openai
from django.conf import settings
from django.utils.translation import gettext as _

from praxis.assistants.channel import without_control_tokens
from praxis.assistants.contract import ModelUnavailable, ScoredToken

EMBEDDING_BATCH = 64
CONNECT_SECONDS = 3.0
READ_SECONDS = 120.0
RERANK_SECONDS = 5.0
"""A search is better without its last step than late."""


@lru_cache(maxsize=4)
def _client(base_url: str, api_key: str) -> openai.OpenAI:
    """One client, with its connection pool, per server; safe to share between threads."""
    return openai.OpenAI(
        base_url=base_url,
        api_key=api_key or "none",
        max_retries=0,
        timeout=openai.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
    )


def _chat_client() -> openai.OpenAI:
    return _client(settings.LLM_BASE_URL, settings.LLM_API_KEY)


def _unavailable(error: openai.OpenAIError) -> ModelUnavailable:
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailable(_("The model server does not answer at the moment."))
    if isinstance(error, openai.NotFoundError):
        return ModelUnavailable(_("The model server does not serve the requested model."))
    if isinstance(error, openai.BadRequestError) and error.code == "context_length_exceeded":
        return ModelUnavailable(_("The question is too long for the model."))
    return ModelUnavailable(_("The model server refused the request."))


class ServedModel:
    """One model name of the server (the base or an adapter); implements `contract.LanguageModel`.

    Requests with another `cache_salt` share no cached prefix: otherwise the time to the first token
    would tell one tenant whether another had sent a text. vLLM knows the same field.
    """

    def __init__(self, name: str = "", *, cache_salt: str = "") -> None:
        self.name = name or settings.LLM_MODEL
        self.cache_salt = cache_salt

    def stream(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        json_schema: Mapping[str, Any] | None = None,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        request: dict[str, Any] = {
            "model": self.name,
            "messages": [_as_sent(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stream": True,
        }
        if stop:
            request["stop"] = list(stop)
        if self.cache_salt:
            request["extra_body"] = {"cache_salt": self.cache_salt}
        if json_schema is not None:
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": dict(json_schema)},
            }
        try:
            # `closing`: a stopped turn must stop the decoding too, not only the reading.
            with closing(_chat_client().chat.completions.create(**request)) as chunks:
                for chunk in chunks:
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        yield text
        except openai.OpenAIError as error:
            raise _unavailable(error) from error
        except httpx2.TransportError as error:  # the server died in the middle of the stream
            raise ModelUnavailable(_("The model server stopped in the middle.")) from error

    def write(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        grammar: str,
        max_tokens: int,
        timeout_seconds: float,
    ) -> list[ScoredToken]:
        try:
            answer = _chat_client().chat.completions.create(
                model=self.name,
                messages=[_as_sent(message) for message in messages],  # type: ignore[misc]
                max_tokens=max_tokens,
                temperature=0.0,
                logprobs=True,
                timeout=timeout_seconds,
                # A salt of its own keeps an engine's slot for what only grows, so that a chat in
                # between does not throw its prefix away.
                extra_body={"grammar": grammar, "cache_salt": f"{self.cache_salt}/write"},
            )
        except openai.OpenAIError as error:
            raise _unavailable(error) from error
        scored = answer.choices[0].logprobs
        if scored is None or scored.content is None:
            raise ModelUnavailable(_("The model server gives no log-probabilities."))
        return [ScoredToken(one.token, one.logprob) for one in scored.content]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return embed(texts)


def _as_sent(message: Mapping[str, str]) -> dict[str, str]:
    """What a person or a document wrote must not end its message: servers tokenise the text of a
    control token as the token itself."""
    return {**message, "content": without_control_tokens(message["content"])}


def embed(texts: Sequence[str], *, bulk: bool = False, model: str = "") -> list[list[float]]:
    """One normalised float vector per text, in order. Raises `ModelUnavailable`.

    `bulk`: nobody waits for it, so the embedded server lets questions and answers go first.
    `model`: the served name of a tuned encoder, instead of `EMBEDDING_MODEL`.
    """
    client = _client(settings.EMBEDDING_BASE_URL, settings.LLM_API_KEY)
    vectors: list[list[float]] = []
    try:
        for start in range(0, len(texts), EMBEDDING_BATCH):
            # Left to the client, the vectors travel in base64: a tenth of the work of JSON.
            answer = client.embeddings.create(
                model=model or settings.EMBEDDING_MODEL,
                input=list(texts[start : start + EMBEDDING_BATCH]),
                extra_headers={"X-Priority": "bulk"} if bulk else None,
            )
            vectors += [item.embedding for item in answer.data]
    except openai.OpenAIError as error:
        raise _unavailable(error) from error
    return vectors


def rerank(question: str, passages: Sequence[str]) -> list[float]:
    """How well each passage answers the question, in the passages' order; higher is better.

    Only the order and the distances of one answer mean something. Raises `ModelUnavailable`.
    """
    body: dict[str, Any] = {"query": question, "documents": list(passages)}
    if settings.RERANK_MODEL:
        body["model"] = settings.RERANK_MODEL
    client = _client(settings.RERANK_BASE_URL, settings.LLM_API_KEY)
    try:
        # Not one of OpenAI's own calls; Cohere's form, which Jina, vLLM and ours share.
        answer = client.with_options(timeout=RERANK_SECONDS).post(
            "/rerank", cast_to=object, body=body
        )
    except openai.OpenAIError as error:
        raise _unavailable(error) from error
    scores = [0.0] * len(passages)
    for result in answer["results"]:  # type: ignore[index]
        scores[result["index"]] = float(result["relevance_score"])
    return scores


def served_models() -> list[str]:
    """Names that a request may choose: the base first, then its adapters. Raises `ModelUnavailable`."""
    try:
        return [model.id for model in _chat_client().models.list()]
    except openai.OpenAIError as error:
        raise _unavailable(error) from error
