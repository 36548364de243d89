"""Keeps one engine process serving: starts it, restarts it, and changes its adapters.

llama.cpp reads adapters only at start. A change of adapters therefore starts a second engine
beside the first; new requests go to it once it answers, and the first ends with its last stream.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling.inference.adapters import (
    Adapter,
    AdapterRefused,
    check_adapter,
    remember_loaded,
    remembered,
)
from modeling.inference.engine import ENGINE_ENVIRONMENT, EngineConfig
from modeling.inference.engine_http import EngineLost, engine_request
from modeling.inference.errors import ApiError, engine_unavailable, model_not_found
from modeling.inference.metrics import Metrics
from modeling.inference.slots import CacheKey, SlotClaim, SlotTable

logger = logging.getLogger(__name__)

ENGINE_COMMAND = (sys.executable, "-m", "modeling.inference.engine")
SOCKET_PREFIX = "praxis-engine-"
SOCKET_NAME = "engine.sock"
START_TIMEOUT_SECONDS = 120
FIRST_BACKOFF_SECONDS = 0.5
LAST_BACKOFF_SECONDS = 30.0
# An engine that lived this long before it ended starts the back-off anew.
STABLE_SECONDS = 60
HEALTH_CHECK_SECONDS = 10
HEALTH_CHECKS_MISSED = 3


class EngineDidNotStart(RuntimeError):
    pass


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    model_path: Path
    model_name: str
    adapters_dir: Path
    context: int
    """Tokens of prompt and answer together, for each slot."""
    parallel: int
    threads: int
    max_waiting: int = 64
    command: tuple[str, ...] = ENGINE_COMMAND
    hidden_environment: frozenset[str] = frozenset()
    """Variables the engine process must not see, such as the server's key."""


@dataclass(eq=False, kw_only=True)
class Engine:
    """One engine process and the requests in its slots."""

    generation: int
    process: asyncio.subprocess.Process
    adapters: tuple[Adapter, ...]
    slots: SlotTable
    socket_dir: Path
    started_at: float = field(default_factory=time.monotonic)
    drained: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def socket_path(self) -> Path:
        return self.socket_dir / SOCKET_NAME

    def adapter_scales(self, model: str) -> list[dict[str, float]]:
        """The scale of every adapter: 1 for the chosen one, 0 for the others.

        All must be named, because llama.cpp falls back to its own scale for one that isn't.
        """
        return [
            {"id": index, "scale": 1.0 if adapter.name == model else 0.0}
            for index, adapter in enumerate(self.adapters)
        ]

    def serves(self, model: str) -> bool:
        return any(adapter.name == model for adapter in self.adapters)

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        shutil.rmtree(self.socket_dir, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to run one request in one slot."""

    engine: Engine
    claim: SlotClaim


@dataclass(eq=False, kw_only=True)
class _Waiter:
    key: CacheKey
    prompt: str
    granted: asyncio.Future[Lease]


class Supervisor:
    def __init__(self, settings: EngineSettings, metrics: Metrics) -> None:
        self.settings = settings
        self._metrics = metrics
        self._current: Engine | None = None
        self._adapters: tuple[Adapter, ...] = ()
        self.knows_adapters = False
        self.tried = asyncio.Event()
        """Set once the first engine is ready or has failed to start."""
        self._draining: set[Engine] = set()
        self._waiters: deque[_Waiter] = deque()
        self._changing = asyncio.Lock()
        self._replaced = asyncio.Event()
        self._generation = 0
        self._keeper: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._state = "starting"
        self._problem: str | None = None
        self._refused: dict[str, str] = {}

    # State

    @property
    def ready(self) -> bool:
        return self._current is not None

    @property
    def adapters(self) -> tuple[Adapter, ...]:
        """Those of the current engine, or while it restarts, those of the last one."""
        return self._adapters

    def describe(self) -> dict[str, object]:
        description: dict[str, object] = {
            "state": "ready" if self.ready else self._state,
            "model": self.settings.model_name,
            "adapters": [adapter.name for adapter in self.adapters],
            "running": self.num_running,
            "waiting": len(self._waiters),
            "draining_engines": len(self._draining),
        }
        if self._current is not None:
            description["generation"] = self._current.generation
            description["pid"] = self._current.process.pid
        if self._problem is not None:
            description["problem"] = self._problem
        if self._refused:
            description["refused_adapters"] = self._refused
        return description

    @property
    def num_running(self) -> int:
        engines = [*self._draining, *([self._current] if self._current else [])]
        return sum(engine.slots.num_busy for engine in engines)

    @property
    def num_waiting(self) -> int:
        return len(self._waiters)

    # Life

    def start(self) -> None:
        """Begin keeping an engine alive; returns at once, `ready` says when it serves."""
        _remove_abandoned_sockets()
        self._keeper = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._fail_waiters("The server is shutting down")
        engines = [*self._draining, *([self._current] if self._current else [])]
        self._current = None
        self._state = "stopped"
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(engine.stop() for engine in engines))

    async def _keep_alive(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        reason = "start"
        while True:
            started = await self._start_current(reason)
            self.tried.set()
            if started:
                engine = await self._until_current_ends()
                self._lose(engine)
                if time.monotonic() - engine.started_at > STABLE_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
            reason = "restart"
            self._state = "restarting"
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)

    async def _start_current(self, reason: str) -> bool:
        async with self._changing:
            adapters = await asyncio.to_thread(self._adapters_to_load)
            try:
                engine = await self._begin(adapters, reason)
            except EngineDidNotStart as exc:
                self._problem = str(exc)
                logger.error("engine did not start: %s", exc)
                return False
            self._make_current(engine)
            return True

    async def _until_current_ends(self) -> Engine:
        """Wait until the process of whichever engine is current has ended; return that engine."""
        missed = 0
        while True:
            engine = self._require_current()
            self._replaced.clear()
            await _first_of(engine.process.wait(), self._replaced.wait(), HEALTH_CHECK_SECONDS)
            if self._current is not engine:
                missed = 0
                continue
            if engine.process.returncode is not None:
                return engine
            missed = 0 if await self._answers(engine) else missed + 1
            if missed == HEALTH_CHECKS_MISSED:
                logger.error("engine %d does not answer; ending it", engine.generation)
                engine.process.kill()

    async def _answers(self, engine: Engine) -> bool:
        try:
            async with (
                asyncio.timeout(HEALTH_CHECK_SECONDS),
                engine_request(engine.socket_path, "GET", "/health") as answer,
            ):
                return answer.status == 200
        except (EngineLost, TimeoutError):
            return False

    def _lose(self, engine: Engine) -> None:
        self._problem = f"the engine process ended with status {engine.process.returncode}"
        logger.error("engine %d ended: status %s", engine.generation, engine.process.returncode)
        self._current = None
        self._metrics.engine_up.set(0)
        self._fail_waiters("The engine ended unexpectedly and is being restarted")
        self._run_in_background(engine.stop())

    def _adapters_to_load(self) -> tuple[Adapter, ...]:
        """The remembered adapters that still pass every check."""
        settings = self.settings
        self._refused = {}
        adapters = []
        try:
            entries = remembered(settings.adapters_dir)
        except AdapterRefused as exc:
            self._refused = {"*": str(exc)}
            logger.error("no adapter is loaded: %s", exc)
            return ()
        for entry in entries:
            try:
                adapters.append(
                    check_adapter(
                        entry["lora_name"],
                        entry["lora_path"],
                        settings.adapters_dir,
                        settings.model_path,
                    )
                )
            except AdapterRefused as exc:
                self._refused[entry["lora_name"]] = str(exc)
                logger.error("adapter %s is not loaded: %s", entry["lora_name"], exc)
        return tuple(adapters)

    async def _begin(self, adapters: tuple[Adapter, ...], reason: str) -> Engine:
        """Start an engine process and return it once it answers."""
        self._generation += 1
        self._metrics.engine_starts.labels(reason).inc()
        # Unix socket paths are limited to about 100 characters, so not under the data folder.
        socket_dir = Path(tempfile.mkdtemp(prefix=f"{SOCKET_PREFIX}{os.getpid()}-"))
        config = EngineConfig(
            parent_pid=os.getpid(),
            socket_path=str(socket_dir / SOCKET_NAME),
            model_path=str(self.settings.model_path),
            model_name=self.settings.model_name,
            context=self.settings.context,
            parallel=self.settings.parallel,
            threads=self.settings.threads,
            adapter_paths=tuple(str(adapter.gguf_path) for adapter in adapters),
        )
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in self.settings.hidden_environment
        }
        process = await asyncio.create_subprocess_exec(
            *self.settings.command,
            config.to_json(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**environment, **ENGINE_ENVIRONMENT},
        )
        engine = Engine(
            generation=self._generation,
            process=process,
            adapters=adapters,
            slots=SlotTable(self.settings.parallel),
            socket_dir=socket_dir,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                await _wait_ready(process)
        except TimeoutError as exc:
            await engine.stop()
            raise EngineDidNotStart(
                f"the engine did not answer within {START_TIMEOUT_SECONDS} s"
            ) from exc
        except BaseException:
            await engine.stop()
            raise
        self._run_in_background(_discard(process.stdout))
        return engine

    def _make_current(self, engine: Engine) -> None:
        previous, self._current = self._current, engine
        self._adapters = engine.adapters
        self.knows_adapters = True
        self._replaced.set()
        self._problem = None
        self._metrics.engine_up.set(1)
        self._metrics.adapters_loaded.set(len(engine.adapters))
        logger.info(
            "engine %d serves %s with %d adapters",
            engine.generation,
            self.settings.model_name,
            len(engine.adapters),
        )
        if previous is not None:
            self._draining.add(previous)
            self._run_in_background(self._end_when_drained(previous))
        self._admit_waiters()

    async def _end_when_drained(self, engine: Engine) -> None:
        if engine.slots.num_busy == 0:
            engine.drained.set()
        await engine.drained.wait()
        await engine.stop()
        self._draining.discard(engine)

    def _run_in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Adapters

    async def load_adapter(self, name: str, lora_path: str, *, replace: bool = False) -> Adapter:
        """Load an adapter without breaking a stream; return when new requests can name it."""
        settings = self.settings
        async with self._changing:
            if name == settings.model_name:
                raise AdapterRefused(f"lora_name must not be the base model's name, {name!r}")
            if not replace and any(adapter.name == name for adapter in self.adapters):
                raise AdapterRefused(
                    f"The lora adapter {name!r} has already been loaded; unload it first, or "
                    f"send load_inplace to replace it"
                )
            current = self._require_current()
            adapter = await asyncio.to_thread(
                check_adapter, name, lora_path, settings.adapters_dir, settings.model_path
            )
            others = tuple(each for each in current.adapters if each.name != name)
            try:
                await self._change_adapters((*others, adapter))
            except EngineDidNotStart as exc:
                raise AdapterRefused(f"The engine could not load {name!r}: {exc}") from exc
            self._refused.pop(name, None)
            return adapter

    async def unload_adapter(self, name: str) -> bool:
        """Unload an adapter; False if it wasn't loaded. Streams that use it run to their end."""
        async with self._changing:
            current = self._require_current()
            if not current.serves(name):
                return False
            await self._change_adapters(
                tuple(adapter for adapter in current.adapters if adapter.name != name)
            )
            return True

    async def _change_adapters(self, adapters: tuple[Adapter, ...]) -> None:
        engine = await self._begin(adapters, "adapters")
        try:
            await asyncio.to_thread(remember_loaded, self.settings.adapters_dir, adapters)
        except BaseException:
            await engine.stop()
            raise
        self._make_current(engine)

    # Requests

    @contextlib.asynccontextmanager
    async def lease(self, *, model: str, salt: str, prompt: str) -> AsyncIterator[Lease]:
        """Hold a slot of the current engine, waiting in line for one if all are taken."""
        lease = await self._admit(CacheKey(model=model, salt=salt), prompt)
        try:
            yield lease
        finally:
            self._release(lease)

    async def count_tokens(self, text: str) -> int:
        """Tokens of `text` for the base model, without the marks of a chat."""
        engine = self._require_current()
        request = {"content": text}
        async with engine_request(engine.socket_path, "POST", "/tokenize", request) as answer:
            return len(json.loads(await answer.read())["tokens"])

    def _require_current(self) -> Engine:
        if self._current is None:
            problem = f": {self._problem}" if self._problem else ""
            raise engine_unavailable(f"The engine is {self._state}{problem}")
        return self._current

    async def _admit(self, key: CacheKey, prompt: str) -> Lease:
        self._require_current()
        self._require_served(key.model)
        if not self._waiters and (lease := self._claim(key, prompt)) is not None:
            return lease
        if len(self._waiters) >= self.settings.max_waiting:
            raise ApiError(
                429,
                "rate_limit_error",
                f"{len(self._waiters)} requests are waiting already, which is the most this "
                f"server queues; try again later",
                code="queue_full",
                retry_after_seconds=5,
            )
        waiter = _Waiter(key=key, prompt=prompt, granted=asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._count_requests()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif _holds_lease(waiter.granted):
                # Granted, and left before the grant was seen.
                self._release(waiter.granted.result())
            self._count_requests()
            raise

    @property
    def served_names(self) -> list[str]:
        return [self.settings.model_name, *(adapter.name for adapter in self.adapters)]

    def _require_served(self, model: str) -> None:
        if model not in self.served_names:
            raise model_not_found(model, self.served_names)

    def _claim(self, key: CacheKey, prompt: str) -> Lease | None:
        engine = self._require_current()
        claim = engine.slots.claim(key, prompt)
        self._count_requests()
        return None if claim is None else Lease(engine=engine, claim=claim)

    def _release(self, lease: Lease) -> None:
        engine = lease.engine
        engine.slots.release(lease.claim.slot_id)
        if engine in self._draining and engine.slots.num_busy == 0:
            engine.drained.set()
        self._count_requests()
        self._admit_waiters()

    def _admit_waiters(self) -> None:
        while self._waiters and self._current is not None:
            waiter = self._waiters[0]
            if waiter.granted.cancelled():
                self._waiters.popleft()
                continue
            try:
                self._require_served(waiter.key.model)
                lease = self._claim(waiter.key, waiter.prompt)
            except ApiError as exc:
                self._waiters.popleft()
                waiter.granted.set_exception(exc)
                continue
            if lease is None:
                break
            self._waiters.popleft()
            waiter.granted.set_result(lease)
        self._count_requests()

    def _fail_waiters(self, message: str) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.granted.cancelled():
                waiter.granted.set_exception(engine_unavailable(message))
        self._count_requests()

    def _count_requests(self) -> None:
        self._metrics.running.set(self.num_running)
        self._metrics.waiting.set(len(self._waiters))


async def _first_of(
    one: Coroutine[Any, Any, object], other: Coroutine[Any, Any, object], timeout_seconds: float
) -> None:
    """Return when either has finished or the time is up; both are left behind."""
    tasks = [asyncio.ensure_future(one), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _holds_lease(granted: asyncio.Future[Lease]) -> bool:
    return granted.done() and not granted.cancelled() and granted.exception() is None


def _remove_abandoned_sockets() -> None:
    """Socket folders of servers that were killed; the name holds the process id."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SOCKET_PREFIX}*"):
        pid = folder.name.removeprefix(SOCKET_PREFIX).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _wait_ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line.startswith(b'{"ready"') and json.loads(line)["ready"]:
            return
    status = await process.wait()
    raise EngineDidNotStart(f"the engine process ended with status {status} before it answered")


async def _discard(stream: asyncio.StreamReader | None) -> None:
    """Read what the engine prints, so that a full pipe never stops it."""
    assert stream is not None
    while await stream.read(65536):
        pass
