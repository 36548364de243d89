"""llama.cpp alone, as the model server starts it, and models written for it in several types."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import httpx

from modeling.inference.engine import ENGINE_ENVIRONMENT, EngineConfig
from modeling.moe.gguf import write_changed_dense
from modeling.weights.assemble import BASE_MODEL_NAME, SHIPPED, assemble
from modeling.weights.trained import assemble_trained

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "var" / "models"
CONTEXT = 2048


@contextmanager
def engine(model: Path, *, threads: int) -> Iterator[httpx.Client]:
    """A client of the engine, which has one slot and ends with the block."""
    with tempfile.TemporaryDirectory(prefix="praxis-bench-") as folder:
        config = EngineConfig(
            parent_pid=os.getpid(),
            socket_path=f"{folder}/engine.sock",
            model_path=str(model),
            model_name=model.stem,
            context=CONTEXT,
            parallel=1,
            threads=threads,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "modeling.inference.engine", config.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENGINE_ENVIRONMENT},
            cwd=ROOT,
        )
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError(f"the engine did not start with {model.name}")
            transport = httpx.HTTPTransport(uds=config.socket_path)
            with httpx.Client(transport=transport, base_url="http://engine", timeout=300) as client:
                yield client
        finally:
            # The engine ends when its standard input does.
            process.communicate(timeout=30)


def trained_model(kind: str, folder: Path, *, shards: Path = SHIPPED) -> Path:
    """The shipped model, or that of another folder of shards, written in a type."""
    files = assemble(MODELS, base=BASE_MODEL_NAME)
    target = folder / f"trained-{kind}.gguf"
    assemble_trained(
        files.base_gguf,
        files.base_sha256,
        target,
        shipped=shards,
        kind=gguf.GGMLQuantizationType[kind],
    )
    return target


def dense_base(kind: str, folder: Path) -> Path:
    """The base of the wheel in a type. What its own file, in Q4_1, has lost stays lost."""
    target = folder / f"base-{kind}.gguf"
    write_changed_dense(
        assemble(MODELS, base=BASE_MODEL_NAME).base_gguf,
        target,
        lambda _name, values: values,
        weight_type=gguf.GGMLQuantizationType[kind],
    )
    return target
