"""POST /v1/embeddings: a person's question first, uploads with what is left.

Questions that come together are encoded together, in one thread. Requests in bulk (the header
`X-Priority: bulk`) are encoded by a thread for each CPU, at a low priority of the operating system,
so that neither a question nor the language model waits for them.
"""

import asyncio
import base64
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from modeling.inference.errors import ApiError, invalid_request, model_not_found
from modeling.inference.metrics import Metrics
from modeling.inference.requests import EmbeddingRequest

if TYPE_CHECKING:
    from modeling.retrieval.encoder import BulkEncoder, Encoder

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
# Texts of waiting requests taken into one call of the encoder. Small, so that a search typed by a
# person waits at most for this many texts of somebody's upload.
GATHERED_TEXTS = 64
MAX_QUEUED_TEXTS = 16_384
IDLE_SECONDS = 0.5
BULK_BATCH = 16
"""Texts of about one length, because some encoders pad, and few, so that all CPUs have work."""
BULK_NICENESS = 10
"""A tenth of a CPU for which questions and answers compete as well. Not less: a thread that waits
for the CPU while it holds Python's lock holds up the whole server."""


@dataclass(eq=False, kw_only=True)
class _Job:
    texts: list[str]
    done: asyncio.Future[tuple[npt.NDArray[np.float32], list[int]]]


class EmbeddingService:
    """Loads the encoder in the background and encodes in one thread beside the event loop."""

    def __init__(self, *, name: str, load: "Callable[[], Encoder]", metrics: Metrics) -> None:
        self.name = name
        self._load = load
        self._metrics = metrics
        self._encoder: Encoder | None = None
        num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        self._num_bulk = num_cpus
        self._bulk_encoders: queue.SimpleQueue[BulkEncoder] = queue.SimpleQueue()
        self._bulk_pool = ThreadPoolExecutor(
            max_workers=num_cpus, thread_name_prefix="bulk-encoder", initializer=_yield_to_others
        )
        self._problem: str | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._num_queued_texts = 0
        self.tried = asyncio.Event()
        """Set when the encoder is loaded, or could not be."""
        self._runner: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self._encoder is not None

    def describe(self) -> dict[str, Any]:
        if self._encoder is None:
            state = "failed" if self._problem else "loading"
            description: dict[str, Any] = {"state": state, "model": self.name}
            if self._problem:
                description["problem"] = self._problem
            return description
        return {
            "state": "ready",
            "model": self.name,
            "dimension": self._encoder.dimension,
            "max_tokens": self._encoder.max_tokens,
        }

    def start(self, *, after: asyncio.Event) -> None:
        """Begin loading once `after` is set, so that chat is ready first on a small machine."""
        self._runner = asyncio.create_task(self._run(after))

    async def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._bulk_pool.shutdown(wait=False, cancel_futures=True)

    async def retire(self) -> None:
        """Stop once nothing that was asked for waits any more."""
        while self._num_queued_texts:
            await asyncio.sleep(IDLE_SECONDS)
        await self.stop()

    async def answer(self, request: EmbeddingRequest, *, bulk: bool = False) -> dict[str, Any]:
        encoder = self._require_ready(request)
        texts = [request.input] if isinstance(request.input, str) else request.input
        for index, text in enumerate(texts):
            if not text.strip():
                raise invalid_request(f"input.{index} is empty; send text", param="input")
        vectors, counts = await (self._encode_bulk(texts) if bulk else self._encode(texts))
        limit = encoder.max_tokens
        used = sum(min(count, limit) for count in counts)
        self._metrics.embedded_texts.inc(len(texts))
        return {
            "object": "list",
            "model": self.name,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": _written(vector, request.encoding_format),
                    # Not in OpenAI's answer: whether the end of this text had no influence.
                    "truncated": count > limit,
                    "tokens": count,
                }
                for index, (vector, count) in enumerate(zip(vectors, counts, strict=True))
            ],
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }

    def _require_ready(self, request: EmbeddingRequest) -> "Encoder":
        if request.model != self.name:
            raise model_not_found(request.model, [self.name])
        if self._encoder is None:
            reason = f"could not be loaded: {self._problem}" if self._problem else "is loading"
            raise ApiError(
                503,
                "encoder_unavailable",
                f"The embedding model {reason}",
                code="encoder_unavailable",
                retry_after_seconds=2,
            )
        dimension = self._encoder.dimension
        if request.dimensions not in (None, dimension):
            raise invalid_request(
                f"dimensions must be {dimension} or left out, got {request.dimensions}",
                param="dimensions",
            )
        return self._encoder

    @contextlib.contextmanager
    def _place_in_line(self, num_texts: int) -> Iterator[None]:
        """Raises `ApiError` 429 when too many wait."""
        if self._num_queued_texts + num_texts > MAX_QUEUED_TEXTS:
            raise ApiError(
                429,
                "rate_limit_error",
                f"{self._num_queued_texts} texts are waiting to be embedded; try again later",
                code="queue_full",
                retry_after_seconds=5,
            )
        self._num_queued_texts += num_texts
        try:
            yield
        finally:
            self._num_queued_texts -= num_texts

    async def _encode(self, texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        loop = asyncio.get_running_loop()
        pieces = [
            _Job(texts=texts[start : start + GATHERED_TEXTS], done=loop.create_future())
            for start in range(0, len(texts), GATHERED_TEXTS)
        ]
        with self._place_in_line(len(texts)):
            # One piece at a time, so that requests which came later get their turn in between.
            answers = []
            for piece in pieces:
                self._jobs.put_nowait(piece)
                answers.append(await piece.done)
        return (
            np.concatenate([vectors for vectors, _ in answers]),
            [count for _, counts in answers for count in counts],
        )

    async def _encode_bulk(self, texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        loop = asyncio.get_running_loop()
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        with self._place_in_line(len(texts)):
            pieces = [
                by_length[start : start + BULK_BATCH] for start in range(0, len(texts), BULK_BATCH)
            ]
            work = [
                loop.run_in_executor(
                    self._bulk_pool, self._take_turn, [texts[index] for index in piece]
                )
                for piece in pieces
            ]
            try:
                answers = await asyncio.gather(*work)
            except (RuntimeError, ValueError) as exc:
                logger.error("encoding %d texts failed: %s", len(texts), type(exc).__name__)
                raise ApiError(500, "encoder_error", f"Encoding failed: {exc}") from exc
        places = np.argsort(by_length)
        counts = [count for _, piece_counts in answers for count in piece_counts]
        return (
            np.concatenate([vectors for vectors, _ in answers])[places],
            [counts[place] for place in places],
        )

    def _take_turn(self, texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        encoder = self._bulk_encoders.get()
        try:
            return encoder.encode_counted(texts)
        finally:
            self._bulk_encoders.put(encoder)

    def _load_all(self) -> "Encoder":
        encoder = self._load()
        for one in encoder.for_bulk(self._num_bulk):
            self._bulk_encoders.put(one)
        return encoder

    async def _run(self, after: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        await after.wait()
        started_at = time.monotonic()
        try:
            self._encoder = await loop.run_in_executor(self._pool, self._load_all)
        except (ImportError, OSError, ValueError) as exc:
            self._problem = f"{type(exc).__name__}: {exc}"
            logger.error("encoder did not load: %s", self._problem)
            return
        finally:
            self.tried.set()
        logger.info("encoder ready after %.1f s", time.monotonic() - started_at)
        while True:
            jobs = [await self._jobs.get()]
            num_texts = len(jobs[0].texts)
            while not self._jobs.empty() and num_texts < GATHERED_TEXTS:
                jobs.append(self._jobs.get_nowait())
                num_texts += len(jobs[-1].texts)
            jobs = [job for job in jobs if not job.done.cancelled()]
            texts = [text for job in jobs for text in job.texts]
            try:
                vectors, counts = await loop.run_in_executor(
                    self._pool, _encode_all, self._encoder, texts
                )
            except (RuntimeError, ValueError) as exc:
                logger.error("encoding %d texts failed: %s", len(texts), type(exc).__name__)
                for job in jobs:
                    if not job.done.cancelled():
                        job.done.set_exception(
                            ApiError(500, "encoder_error", f"Encoding failed: {exc}")
                        )
                continue
            _hand_out(jobs, vectors, counts)


def _yield_to_others() -> None:
    """On Linux a thread has a priority of its own; elsewhere bulk work is like any other."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BULK_NICENESS)


def _encode_all(encoder: "Encoder", texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
    return encoder.encode(texts, batch_size=BATCH_SIZE), encoder.count_tokens(texts)


def _hand_out(jobs: list[_Job], vectors: npt.NDArray[np.float32], counts: list[int]) -> None:
    start = 0
    for job in jobs:
        end = start + len(job.texts)
        if not job.done.cancelled():
            job.done.set_result((vectors[start:end], counts[start:end]))
        start = end


def _written(vector: npt.NDArray[np.float32], encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    written: list[float] = vector.tolist()
    return written
