"""Run the application on a real port, with a real event loop, for the length of a test."""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import numpy.typing as npt
import uvicorn

from modeling.inference.embeddings import EmbeddingService
from modeling.inference.metrics import Metrics
from modeling.inference.reranking import RerankService
from modeling.inference.routing import RoutingService
from modeling.inference.server import build_app
from modeling.inference.supervisor import EngineSettings
from modeling.inference.tuned_encoders import Encoders
from modeling.moe.lens import Lens
from modeling.weights.manifest import write_manifest

BASE = "tiny-base"
ENCODER = "tiny-encoder"
RERANKER = "tiny-reranker"
CONTEXT = 100


class CountingEncoder:
    """An encoder whose vectors say how long each text is; remembers the calls it got."""

    dimension = 3
    max_tokens = 5

    def __init__(self, *, for_bulk: bool = False) -> None:
        self.calls: list[list[str]] = []
        self.pause_seconds = 0.0
        self.bulk = self if for_bulk else CountingEncoder(for_bulk=True)

    def encode(self, texts: list[str], batch_size: int) -> npt.NDArray[np.float32]:
        self.calls.append(texts)
        time.sleep(self.pause_seconds)
        lengths = [[float(len(text)), 0.0, 1.0] for text in texts]
        return np.array(lengths, dtype=np.float32)

    def for_bulk(self, num_threads: int) -> list["CountingEncoder"]:
        return [self.bulk] * num_threads

    def encode_counted(self, texts: list[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        return self.encode(texts, 32), self.count_tokens(texts)

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]


class SharedWords:
    """A reranker that counts the question's words in each passage."""

    def score(self, question: str, passages: Sequence[str]) -> tuple[npt.NDArray[np.float32], int]:
        asked = set(question.split())
        shares = [len(asked & set(passage.split())) / len(asked) for passage in passages]
        return np.array(shares, dtype=np.float32), len(" ".join([question, *passages]).split())


class Shifted(CountingEncoder):
    """A tuned encoder: its vectors are those of the other plus the number in its config."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._shift = json.loads((folder / "config.json").read_text("utf-8"))["shift"]

    def for_bulk(self, num_threads: int) -> list[CountingEncoder]:
        return [self] * num_threads

    def encode(self, texts: list[str], batch_size: int) -> npt.NDArray[np.float32]:
        return super().encode(texts, batch_size) + np.float32(self._shift)


@dataclass(kw_only=True)
class Running:
    client: httpx.Client
    port: int
    log: Path
    adapters_dir: Path
    encoder: CountingEncoder = field(default_factory=CountingEncoder)

    def events(self, kind: str) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def chat(self, text: str, **fields: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=chat_body(text, **fields))

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self.client.get("/metrics").text.splitlines()
        values = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return sum(float(value) for key, value in values if key.partition("{")[0] == name)

    def health(self) -> dict[str, Any]:
        state: dict[str, Any] = self.client.get("/health").json()
        return state


def chat_body(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": BASE, "messages": [{"role": "user", "content": text}], **fields}


def wait_until(condition: Callable[[], object], timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@contextlib.contextmanager
def running_server(
    folder: Path,
    *,
    api_key: str | None = None,
    parallel: int = 2,
    max_waiting: int = 4,
    command: tuple[str, ...] | None = None,
    load_lens: Callable[[], Lens] | None = None,
) -> Iterator[Running]:
    adapters_dir = folder / "adapters"
    adapters_dir.mkdir(exist_ok=True)
    base = folder / "base.gguf"
    if not base.exists():
        write_base(base)
    log = folder / "engine.jsonl"
    metrics = Metrics()
    encoder = CountingEncoder()
    app = build_app(
        settings=EngineSettings(
            model_path=base,
            model_name=BASE,
            adapters_dir=adapters_dir,
            context=CONTEXT,
            parallel=parallel,
            threads=1,
            max_waiting=max_waiting,
            command=command
            or (sys.executable, "-m", "modeling.inference.tests.fake_engine", str(log)),
        ),
        base_sha256="0" * 64,
        embeddings=Encoders(
            EmbeddingService(name=ENCODER, load=lambda: encoder, metrics=metrics),  # type: ignore[arg-type,return-value]
            encoders_dir=folder / "encoders",
            load=Shifted,  # type: ignore[arg-type]
            metrics=metrics,
        ),
        reranking=RerankService(name=RERANKER, load=SharedWords),
        routing=RoutingService(name=BASE, load=load_lens),
        metrics=metrics,
        api_key=api_key,
    )
    with (
        serving(app) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        if api_key is not None:
            client.headers["Authorization"] = f"Bearer {api_key}"
        yield Running(client=client, port=port, log=log, adapters_dir=adapters_dir, encoder=encoder)


@contextlib.contextmanager
def serving(app: Any) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def write_base(path: Path) -> None:
    """A GGUF with the shapes of a one-layer model, enough to check adapters against."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((8, 4), dtype=np.float32))
    _finish(writer)


def write_adapter(
    folder: Path,
    *,
    architecture: str = "llama",
    kind: str = "lora",
    width: int = 4,
    height: int = 8,
    target: str = "blk.0.attn_q.weight",
    extra: dict[str, str] | None = None,
) -> Path:
    """An adapter folder as the trainer leaves it."""
    folder.mkdir(parents=True)
    writer = gguf.GGUFWriter(folder / "adapter.gguf", architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 16)
    for key, value in (extra or {}).items():
        writer.add_string(key, value)
    writer.add_tensor(f"{target}.lora_a", np.ones((2, width), dtype=np.float32))
    writer.add_tensor(f"{target}.lora_b", np.ones((height, 2), dtype=np.float32))
    _finish(writer)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    write_manifest(folder, ["adapter.gguf", "adapter_config.json"])
    return folder


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
