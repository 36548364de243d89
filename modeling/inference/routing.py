"""`/v1/routing`: which experts of the served mixture fire, computed by torch beside the engine.

llama.cpp doesn't say which experts it chose, so the same weights are loaded once more, as a Hugging
Face folder, when somebody asks; they are let go when nobody has asked for a while.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from modeling.inference.errors import ApiError, invalid_request, model_not_found
from modeling.inference.requests import RoutingLoadRequest, RoutingRequest

if TYPE_CHECKING:
    from modeling.moe.lens import Lens

logger = logging.getLogger(__name__)

KEPT_SECONDS = 300
"""The lens holds the whole model in float32."""
MAX_WAITING = 8
MAX_PROMPT_TOKENS = 1024
MAX_LOAD_TOKENS = 16_384


class RoutingService:
    """Loads the lens when it is asked for, and looks through it in one thread."""

    def __init__(self, *, name: str, load: "Callable[[], Lens] | None") -> None:
        """`load` is None where the served model has no routed experts."""
        self.name = name
        self._load = load
        self._lens: Lens | None = None
        self._num_waiting = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lens")
        self._release: asyncio.TimerHandle | None = None

    @property
    def has_experts(self) -> bool:
        return self._load is not None

    async def stop(self) -> None:
        if self._release is not None:
            self._release.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def of_prompt(self, request: RoutingRequest) -> dict[str, Any]:
        def look(lens: "Lens") -> dict[str, Any]:
            text = (
                lens.rendered([message.for_engine() for message in request.messages])
                if request.messages is not None
                else str(request.prompt)
            )
            tokens = lens.tokens_of(text)
            if not 0 < len(tokens) <= MAX_PROMPT_TOKENS:
                raise invalid_request(
                    f"The prompt has {len(tokens)} tokens; send 1 to {MAX_PROMPT_TOKENS}",
                    param="messages" if request.prompt is None else "prompt",
                    code="context_length_exceeded" if tokens else None,
                )
            return {"object": "routing", "model": self.name, **lens.routing(tokens).to_dict()}

        return await self._look(request.model, look)

    async def of_texts(self, request: RoutingLoadRequest) -> dict[str, Any]:
        def look(lens: "Lens") -> dict[str, Any]:
            tokens = {
                group: [found for text in texts if (found := lens.tokens_of(text))]
                for group, texts in request.texts.items()
            }
            total = sum(len(found) for group in tokens.values() for found in group)
            if total > MAX_LOAD_TOKENS:
                raise invalid_request(
                    f"The texts have {total} tokens; send at most {MAX_LOAD_TOKENS}", param="texts"
                )
            if empty := [group for group, found in tokens.items() if not found]:
                raise invalid_request(f"texts.{empty[0]} has no text", param="texts")
            return {"object": "routing.load", "model": self.name, **_use(lens, tokens)}

        return await self._look(request.model, look)

    async def _look(
        self, model: str | None, look: "Callable[[Lens], dict[str, Any]]"
    ) -> dict[str, Any]:
        if model not in (None, self.name):
            raise model_not_found(str(model), [self.name])
        load = self._load
        if load is None:
            raise invalid_request(
                f"The served model {self.name!r} is dense: it has no routed experts to look at. "
                "Start the server with --model and the name of a mixture",
                param="model",
                code="no_routed_experts",
            )
        if self._num_waiting >= MAX_WAITING:
            raise ApiError(
                429,
                "rate_limit_error",
                f"{self._num_waiting} requests wait for the lens; try again later",
                code="queue_full",
                retry_after_seconds=10,
            )

        def work() -> dict[str, Any]:
            if self._lens is None:
                self._lens = load()
            return look(self._lens)

        loop = asyncio.get_running_loop()
        self._num_waiting += 1
        try:
            return await loop.run_in_executor(self._pool, work)
        except (ImportError, OSError, RuntimeError) as exc:
            logger.error("the lens did not load: %s: %s", type(exc).__name__, exc)
            raise ApiError(
                503, "lens_unavailable", f"The lens did not load: {exc}", code="lens_unavailable"
            ) from exc
        finally:
            self._num_waiting -= 1
            if self._release is not None:
                self._release.cancel()
            self._release = loop.call_later(KEPT_SECONDS, lambda: self._pool.submit(self._let_go))

    def _let_go(self) -> None:
        self._lens = None


def _use(lens: "Lens", groups: dict[str, list[list[int]]]) -> dict[str, Any]:
    # Imported here, where torch has been loaded for the lens already.
    from modeling.moe.balance import measure

    loads = {group: lens.load(texts) for group, texts in groups.items()}
    return {
        "layers": lens.layers,
        "groups": {
            group: {
                "tokens": sum(map(len, groups[group])),
                "load": load.tolist(),
                "balance": {
                    name: round(value, 4) for name, value in measure(load).summary().items()
                },
            }
            for group, load in loads.items()
        },
    }
