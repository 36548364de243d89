"""The model server's HTTP application and its command line.

    python -m modeling.inference.server --host 127.0.0.1 --port 8001 \
        --models-dir var/models --adapters-dir var/adapters
"""

import argparse
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from modeling.inference.adapters import AdapterRefused
from modeling.inference.auth import BearerToken, is_loopback
from modeling.inference.chat import ChatResponse
from modeling.inference.embeddings import EmbeddingService
from modeling.inference.engine_http import EngineLost
from modeling.inference.errors import ApiError, engine_unavailable, invalid_request
from modeling.inference.metrics import Metrics
from modeling.inference.requests import (
    ChatRequest,
    EmbeddingRequest,
    LoadLoraRequest,
    RerankRequest,
    RoutingLoadRequest,
    RoutingRequest,
    TokenizeRequest,
    UnloadLoraRequest,
    parse,
)
from modeling.inference.reranking import RERANKER_NAME, RerankService
from modeling.inference.routing import RoutingService
from modeling.inference.supervisor import EngineSettings, Supervisor
from modeling.inference.tuned_encoders import Encoders
from modeling.weights.assemble import (
    SERVED_TYPE,
    WEIGHT_TYPES,
    ModelFiles,
    WeightsMissing,
    assemble,
    training_base,
)

if TYPE_CHECKING:
    from modeling.moe.lens import Lens
    from modeling.retrieval.encoder import Encoder
    from modeling.retrieval.reranker import Reranker

logger = logging.getLogger(__name__)

DEFAULT_CONTEXT = 4096
DEFAULT_PARALLEL = 8
SHUTDOWN_GRACE_SECONDS = 5


def build_app(
    *,
    settings: EngineSettings,
    base_sha256: str,
    embeddings: Encoders,
    reranking: RerankService,
    routing: RoutingService,
    metrics: Metrics,
    api_key: str | None,
) -> Starlette:
    supervisor = Supervisor(settings, metrics)
    created = int(time.time())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Neither is awaited: the server answers /health while both are loading.
        supervisor.start()
        embeddings.start(after=supervisor.tried)
        reranking.start(after=supervisor.tried)
        try:
            yield
        finally:
            await supervisor.stop()
            await embeddings.stop()
            await reranking.stop()
            await routing.stop()

    async def health(request: Request) -> Response:
        ready = supervisor.ready and embeddings.ready
        return JSONResponse(
            {
                "status": "ready" if ready else "unready",
                "engine": supervisor.describe(),
                "encoder": embeddings.describe(),
                "reranker": reranking.describe(),
            },
            status_code=200 if ready else 503,
        )

    async def models(request: Request) -> Response:
        if not supervisor.knows_adapters:
            raise engine_unavailable("The engine is starting; the adapters aren't known yet")
        base = settings.model_name
        entry: dict[str, Any] = {
            "object": "model",
            "created": created,
            "owned_by": "praxis",
            "max_model_len": settings.context,
        }
        served = [
            {
                **entry,
                "id": base,
                "root": base,
                "parent": None,
                "sha256": base_sha256,
                "routed_experts": routing.has_experts,
            }
        ]
        served += [
            {
                **entry,
                "id": adapter.name,
                "root": str(adapter.folder),
                "parent": base,
                "sha256": adapter.sha256,
            }
            for adapter in supervisor.adapters
        ]
        return JSONResponse({"object": "list", "data": served})

    async def chat(request: Request) -> Response:
        arrived_at = time.monotonic()
        body = await _counted(metrics, "chat", parse(request, ChatRequest))
        return ChatResponse(body, supervisor, metrics, arrived_at)

    async def embed(request: Request) -> Response:
        with metrics.embedding_seconds.time():
            body = await _counted(metrics, "embeddings", parse(request, EmbeddingRequest))
            bulk = request.headers.get("x-priority") == "bulk"
            answer = await _counted(metrics, "embeddings", embeddings.answer(body, bulk=bulk))
        metrics.requests.labels("embeddings", answer["model"], "200").inc()
        return JSONResponse(answer)

    async def rerank(request: Request) -> Response:
        body = await _counted(metrics, "rerank", parse(request, RerankRequest))
        answer = await _counted(metrics, "rerank", reranking.answer(body))
        metrics.requests.labels("rerank", reranking.name, "200").inc()
        return JSONResponse(answer)

    async def route_prompt(request: Request) -> Response:
        body = await _counted(metrics, "routing", parse(request, RoutingRequest))
        answer = await _counted(metrics, "routing", routing.of_prompt(body))
        metrics.requests.labels("routing", routing.name, "200").inc()
        return JSONResponse(answer)

    async def route_texts(request: Request) -> Response:
        body = await _counted(metrics, "routing", parse(request, RoutingLoadRequest))
        answer = await _counted(metrics, "routing", routing.of_texts(body))
        metrics.requests.labels("routing", routing.name, "200").inc()
        return JSONResponse(answer)

    async def load_lora(request: Request) -> Response:
        body = await parse(request, LoadLoraRequest)
        try:
            await supervisor.load_adapter(body.lora_name, body.lora_path, replace=body.load_inplace)
        except AdapterRefused as exc:
            raise invalid_request(str(exc), code="adapter_refused") from exc
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    async def unload_lora(request: Request) -> Response:
        body = await parse(request, UnloadLoraRequest)
        if not await supervisor.unload_adapter(body.lora_name):
            raise invalid_request(
                f"The lora adapter {body.lora_name!r} is not loaded",
                param="lora_name",
                code="adapter_not_loaded",
                status=404,
            )
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def tokenize(request: Request) -> Response:
        body = await parse(request, TokenizeRequest)
        count = await supervisor.count_tokens(body.text)
        return JSONResponse({"count": count, "max_model_len": settings.context})

    async def show_metrics(request: Request) -> Response:
        return Response(
            generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def api_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, ApiError)
        return exc.response()

    async def http_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        return invalid_request(
            f"{request.method} {request.url.path}: {exc.detail}", status=exc.status_code
        ).response()

    async def engine_lost(request: Request, exc: Exception) -> Response:
        logger.warning("engine lost: %s", exc)
        return engine_unavailable("The engine ended while it was answering").response()

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", show_metrics),
            Route("/tokenize", tokenize, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/embeddings", embed, methods=["POST"]),
            Route("/v1/rerank", rerank, methods=["POST"]),
            Route("/v1/routing", route_prompt, methods=["POST"]),
            Route("/v1/routing/load", route_texts, methods=["POST"]),
            Route("/v1/load_lora_adapter", load_lora, methods=["POST"]),
            Route("/v1/unload_lora_adapter", unload_lora, methods=["POST"]),
        ],
        middleware=[Middleware(BearerToken, api_key=api_key)],
        exception_handlers={
            ApiError: api_error,
            HTTPException: http_error,
            EngineLost: engine_lost,
        },
        lifespan=lifespan,
    )


async def _counted(metrics: Metrics, endpoint: str, work: Any) -> Any:
    """Await `work`, and count it under its status if it is refused."""
    try:
        return await work
    except ApiError as exc:
        metrics.requests.labels(endpoint, "unknown", str(exc.status)).inc()
        raise


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m modeling.inference.server",
        description="Serve chat, LoRA adapters and embeddings over OpenAI-compatible HTTP.",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--adapters-dir", type=Path, required=True)
    parser.add_argument("--model", help="one of the models in --models-dir; the shipped one")
    parser.add_argument(
        "--type", choices=WEIGHT_TYPES, default=SERVED_TYPE, help="what trained weights are kept in"
    )
    parser.add_argument(
        "--encoders-dir", type=Path, help="where encoders that were tuned for a workspace lie"
    )
    parser.add_argument("--api-key-env", help="name of the variable that holds the bearer token")
    parser.add_argument("--threads", type=_positive, default=_usable_cpus())
    parser.add_argument(
        "--parallel", type=_positive, default=DEFAULT_PARALLEL, help="answers at the same time"
    )
    parser.add_argument(
        "--context",
        type=_positive,
        default=DEFAULT_CONTEXT,
        help="tokens of prompt and answer together, for each of the parallel answers",
    )
    parser.add_argument(
        "--encoder",
        type=Path,
        help="folder of a sentence-transformers model instead of the shipped encoder",
    )
    parser.add_argument(
        "--reranker",
        type=Path,
        help="folder of a sentence-transformers cross-encoder instead of the shipped reranker",
    )
    options = parser.parse_args(arguments)

    # Nothing may ask the network; must be set before transformers is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    try:
        api_key = _api_key(options.api_key_env, options.host)
        listener = _listen(options.host, options.port)
        files = assemble(options.models_dir, base=options.model, weight_type=options.type)
        options.adapters_dir.mkdir(parents=True, exist_ok=True)
    except (StartRefused, WeightsMissing, OSError) as exc:
        sys.stderr.write(f"The model server can't start: {exc}\n")
        return 1
    app = app_for(
        files,
        EngineSettings(
            model_path=files.base_gguf,
            model_name=files.base_name,
            adapters_dir=options.adapters_dir,
            context=options.context,
            parallel=options.parallel,
            threads=options.threads,
            hidden_environment=frozenset(filter(None, [options.api_key_env])),
        ),
        api_key=api_key,
        models_dir=options.models_dir,
        encoder=options.encoder,
        cross_encoder=options.reranker,
        encoders_dir=options.encoders_dir,
    )
    host, port = listener.getsockname()[:2]
    logger.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def app_for(
    files: ModelFiles,
    settings: EngineSettings,
    *,
    api_key: str | None,
    models_dir: Path,
    encoder: Path | None = None,
    cross_encoder: Path | None = None,
    encoders_dir: Path | None = None,
) -> Starlette:
    metrics = Metrics()

    def load_lens() -> "Lens":
        from modeling.moe.lens import Lens

        return Lens.open(training_base(models_dir, base=files.base_name))

    def load_encoder(folder: Path) -> "Encoder":
        # Imported here, in the encoder's thread: torch and sentence-transformers take seconds.
        from modeling.retrieval.encoder import Encoder

        return Encoder(folder)

    def load_reranker() -> "Reranker":
        from modeling.retrieval.reranker import CrossEncoderReranker, WordReranker

        if cross_encoder is not None:
            return CrossEncoderReranker(cross_encoder)
        return WordReranker(files.encoder)

    return build_app(
        settings=settings,
        base_sha256=files.base_sha256,
        reranking=RerankService(
            name=cross_encoder.name if cross_encoder else RERANKER_NAME, load=load_reranker
        ),
        routing=RoutingService(
            name=files.base_name, load=load_lens if files.routed_experts else None
        ),
        embeddings=Encoders(
            EmbeddingService(
                name=encoder.name if encoder else files.encoder_name,
                load=lambda: load_encoder(encoder or files.encoder),
                metrics=metrics,
            ),
            encoders_dir=encoders_dir,
            load=load_encoder,
            metrics=metrics,
        ),
        metrics=metrics,
        api_key=api_key,
    )


class StartRefused(RuntimeError):
    """The command line can't be served; the text says what to change."""


def _api_key(variable: str | None, host: str) -> str | None:
    key = os.environ.get(variable, "") if variable else ""
    if variable and not key:
        raise StartRefused(
            f"--api-key-env names {variable}, which is not set or empty; set it to the bearer token"
        )
    if not key and not is_loopback(host):
        raise StartRefused(
            f"--host is {host}, which others can reach, and there is no API key; "
            f"use 127.0.0.1 or name the key's variable with --api-key-env"
        )
    return key or None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as exc:
        listener.close()
        raise StartRefused(
            f"{host}:{port} can't be listened on ({exc}); choose another --port or end what uses it"
        ) from exc
    return listener


def _usable_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
