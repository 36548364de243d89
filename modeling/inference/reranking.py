"""`/v1/rerank`: passages in order for a question, in the request form of Cohere, Jina and vLLM."""

import asyncio
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from modeling.inference.errors import ApiError, model_not_found
from modeling.inference.requests import RerankRequest

if TYPE_CHECKING:
    from modeling.retrieval.reranker import Reranker

logger = logging.getLogger(__name__)

RERANKER_NAME = "praxis-rerank"
MAX_WAITING = 64


class RerankService:
    """Loads the reranker in the background and scores in one thread beside the event loop."""

    def __init__(self, *, name: str, load: "Callable[[], Reranker]") -> None:
        self.name = name
        self._load = load
        self._reranker: Reranker | None = None
        self._problem: str | None = None
        self._num_waiting = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reranker")
        self._loading: asyncio.Task[None] | None = None

    def describe(self) -> dict[str, Any]:
        state = "ready" if self._reranker else "failed" if self._problem else "loading"
        description: dict[str, Any] = {"state": state, "model": self.name}
        if self._problem:
            description["problem"] = self._problem
        return description

    def start(self, *, after: asyncio.Event) -> None:
        self._loading = asyncio.create_task(self._load_in_background(after))

    async def stop(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: RerankRequest) -> dict[str, Any]:
        if request.model not in (None, self.name):
            raise model_not_found(request.model, [self.name])
        if self._reranker is None:
            reason = f"could not be loaded: {self._problem}" if self._problem else "is loading"
            raise ApiError(
                503,
                "reranker_unavailable",
                f"The reranker {reason}",
                code="reranker_unavailable",
                retry_after_seconds=2,
            )
        if self._num_waiting >= MAX_WAITING:
            raise ApiError(
                429,
                "rate_limit_error",
                f"{self._num_waiting} requests are waiting to be reranked; try again later",
                code="queue_full",
                retry_after_seconds=2,
            )
        self._num_waiting += 1
        try:
            scores, num_tokens = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._reranker.score, request.query, request.texts
            )
        finally:
            self._num_waiting -= 1
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        results: list[dict[str, Any]] = [
            {"index": index, "relevance_score": round(float(scores[index]), 6)}
            for index in order[: request.top_n]
        ]
        if request.return_documents:
            for result in results:
                result["document"] = {"text": request.texts[result["index"]]}
        return {
            "id": f"rerank-{uuid.uuid4().hex}",
            "model": self.name,
            "results": results,
            "usage": {"total_tokens": num_tokens},
        }

    async def _load_in_background(self, after: asyncio.Event) -> None:
        await after.wait()
        try:
            self._reranker = await asyncio.get_running_loop().run_in_executor(
                self._pool, self._load
            )
        except (ImportError, OSError, ValueError) as exc:
            self._problem = f"{type(exc).__name__}: {exc}"
            logger.error("reranker did not load: %s", self._problem)
