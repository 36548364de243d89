"""The shipped encoder and, beside it, those that were tuned from it for a workspace.

A tuned encoder is a folder of `encoders_dir` with a manifest; its name is the `model` of a request.
It is loaded when it is first asked for and put away when others have been asked for since, so that
an index can move from one encoder to another while both answer, and nothing need be told to load.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling.inference.embeddings import EmbeddingService
from modeling.inference.errors import ApiError, model_not_found
from modeling.inference.metrics import Metrics
from modeling.inference.requests import EmbeddingRequest
from modeling.weights.manifest import ManifestError, verify_manifest

if TYPE_CHECKING:
    from modeling.retrieval.encoder import Encoder

logger = logging.getLogger(__name__)

MAX_LOADED = 3
"""Tuned encoders in memory, each of about a hundred megabytes."""
REQUIRED_FILES = ("modules.json", "config.json", "model.safetensors")
_ALLOWED_SUFFIXES = (".json", ".safetensors", ".txt")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9-]*")


class EncoderRefused(ValueError):
    """The folder is not served; the text says why."""


def check_encoder(folder: Path) -> None:
    """Raises `EncoderRefused` unless the folder holds exactly the files of its manifest, of formats
    that can't execute code when they are read."""
    try:
        manifest = verify_manifest(folder, REQUIRED_FILES)
    except ManifestError as exc:
        raise EncoderRefused(str(exc)) from exc
    named = {*manifest["files"], "MANIFEST.json"}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and (name not in named or path.suffix not in _ALLOWED_SUFFIXES):
            raise EncoderRefused(f"{folder.name} holds {name}, which is not part of an encoder")


class Encoders:
    """Answers for every encoder by its name; each has threads of its own."""

    def __init__(
        self,
        shipped: EmbeddingService,
        *,
        encoders_dir: Path | None,
        load: "Callable[[Path], Encoder]",
        metrics: Metrics,
    ) -> None:
        self._shipped = shipped
        self._encoders_dir = encoders_dir
        self._load = load
        self._metrics = metrics
        self._tuned: OrderedDict[str, EmbeddingService] = OrderedDict()
        self._opening: dict[str, asyncio.Lock] = {}
        self._putting_away: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        return self._shipped.ready

    def describe(self) -> dict[str, Any]:
        return {**self._shipped.describe(), "tuned": list(self._tuned)}

    def start(self, *, after: asyncio.Event) -> None:
        self._shipped.start(after=after)

    async def stop(self) -> None:
        await asyncio.gather(
            self._shipped.stop(), *(service.stop() for service in self._tuned.values())
        )

    async def answer(self, request: EmbeddingRequest, *, bulk: bool = False) -> dict[str, Any]:
        if request.model == self._shipped.name:
            return await self._shipped.answer(request, bulk=bulk)
        service = await self._open(request.model)
        return await service.answer(request, bulk=bulk)

    async def _open(self, name: str) -> EmbeddingService:
        """The service of a tuned encoder, loaded. Raises `ApiError`."""
        folder = self._folder_of(name)
        if folder is None:
            raise model_not_found(name, [self._shipped.name, *self._tuned])
        async with self._opening.setdefault(name, asyncio.Lock()):
            service = self._tuned.get(name)
            if service is None:
                service = await self._loaded(name, folder)
        if name in self._tuned:
            self._tuned.move_to_end(name)
        return service

    async def _loaded(self, name: str, folder: Path) -> EmbeddingService:
        try:
            # A hundred megabytes are hashed.
            await asyncio.to_thread(check_encoder, folder)
        except EncoderRefused as exc:
            logger.error("the encoder %s is not served: %s", name, exc)
            raise ApiError(
                409, "encoder_refused", f"The encoder is not served: {exc}", code="encoder_refused"
            ) from exc
        service = EmbeddingService(
            name=name, load=lambda: self._load(folder), metrics=self._metrics
        )
        at_once = asyncio.Event()
        at_once.set()
        service.start(after=at_once)
        await service.tried.wait()
        if not service.ready:
            problem = service.describe().get("problem")
            await service.stop()
            raise ApiError(
                503,
                "encoder_unavailable",
                f"The embedding model could not be loaded: {problem}",
                code="encoder_unavailable",
            )
        self._tuned[name] = service
        while len(self._tuned) > MAX_LOADED:
            _name, oldest = self._tuned.popitem(last=False)
            task = asyncio.create_task(oldest.retire())
            self._putting_away.add(task)
            task.add_done_callback(self._putting_away.discard)
        return service

    def _folder_of(self, name: str) -> Path | None:
        if self._encoders_dir is None or not _NAME.fullmatch(name):
            return None
        folder = self._encoders_dir / name
        return folder if folder.is_dir() else None
