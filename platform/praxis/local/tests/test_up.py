"""`manage.py up` as a newcomer runs it: from nothing, on a free port, until Ctrl-C."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from django.conf import settings

from tests.fakes import ModelServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MARK = "PRAXIS_TEST_MARK"


class Product:
    """A running `manage.py up`; every process it starts carries a mark in its environment."""

    def __init__(self, var: Path, port: int, model_server: ModelServer) -> None:
        self.mark = uuid.uuid4().hex
        self.var = f"{var}/"
        self.base = f"http://127.0.0.1:{port}"
        self.log = var.parent / f"{self.mark}.log"
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL")
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **environment,
                    MARK: self.mark,
                    "PRAXIS_VAR": str(var),
                    "PRAXIS_PORT": str(port),
                    "LLM_BASE_URL": model_server.base_url,
                    "EMBEDDING_BASE_URL": model_server.base_url,
                    "EMBEDDING_MODEL": model_server.embedding_model,
                    "LLM_API_KEY": model_server.api_key,
                },
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        until(lambda: "Address:" in self.output or self.process.poll() is not None, 180)
        assert self.process.poll() is None, self.output

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                # The servers write their titles over their environment; they run in our folder.
                ours = process.environ().get(MARK) == self.mark or process.cwd().startswith(
                    self.var
                )
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def pid_of(self, command: str) -> int:
        for child in psutil.Process(self.process.pid).children():
            # A part that was killed may go between being listed and being asked its name.
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == command:
                    return child.pid
        raise StopIteration(command)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            finally:
                self.process.kill()
                self.process.wait()


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def var(make_server_directory: Callable[[], Path]) -> Path:
    """One data directory for all tests here: only the first start is a first start."""
    return make_server_directory() / "var"


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def start_product(
    var: Path, port: int, fake_model_server: ModelServer
) -> Iterator[Callable[[], Product]]:
    """`start_product()`: the product that runs, or a new one when a test has ended it."""
    started: list[Product] = []

    def start() -> Product:
        if not started or started[-1].process.poll() is not None:
            started.append(Product(var, port, fake_model_server))
            started[-1].wait_until_ready()
        return started[-1]

    yield start
    for product in started:
        product.end()


def health(product: Product) -> dict[str, Any]:
    response = httpx.get(f"{product.base}/ready", timeout=60)
    return {"code": response.status_code, **response.json()}


def test_it_is_ready_shows_how_to_sign_in_and_leaves_nothing(
    start_product: Callable[[], Product], var: Path
) -> None:
    product = start_product()
    assert health(product)["status"] == "ready", product.output
    assert product.base in product.output and "Sign in:  admin" in product.output
    services = var / "run" / "services.json"
    assert stat.S_IMODE(services.stat().st_mode) == 0o600
    assert set(json.loads(services.read_text())) == {"DATABASE_URL", "REDIS_URL"}
    names = {process.name() for process in product.processes()}
    assert names >= {"praxis-web", "praxis-worker", "praxis-beat", "postgres", "valkey-server"}
    product.process.send_signal(signal.SIGINT)
    assert product.process.wait(60) == 0, product.output
    assert product.processes() == []
    assert not services.exists()
    assert product.output.rstrip().endswith("stopped")


def test_a_second_one_and_a_taken_port_are_refused_clearly(
    start_product: Callable[[], Product], var: Path, port: int, fake_model_server: ModelServer
) -> None:
    running = start_product()
    second = Product(var, port, fake_model_server)
    assert second.process.wait(60) == 1
    assert f"It already runs on {var} (process {running.process.pid})" in second.output
    elsewhere = Product(var.with_name("var2"), port, fake_model_server)
    assert elsewhere.process.wait(60) == 1
    assert f"Port {port} on 127.0.0.1 is taken by" in elsewhere.output
    assert f"PRAXIS_PORT={port + 1}" in elsewhere.output
    assert elsewhere.processes() == []
    assert health(running)["code"] == 200


def test_every_part_that_is_killed_comes_back(start_product: Callable[[], Product]) -> None:
    product = start_product()
    for command in ("praxis-web", "praxis-worker", "valkey-server", "postgres"):
        old = product.pid_of(command)
        os.kill(old, signal.SIGKILL)
        until(lambda command=command, old=old: _other_pid(product, command, old), 30)  # type: ignore[misc]
    until(lambda: health(product)["status"] == "ready", 90)
    assert "started again" in product.output


def _other_pid(product: Product, command: str, old: int) -> bool:
    try:
        return product.pid_of(command) != old
    except StopIteration:
        return False


def test_kill_9_of_the_supervisor_takes_everything_along_and_it_starts_again(
    start_product: Callable[[], Product],
) -> None:
    product = start_product()
    product.process.kill()
    product.process.wait()
    until(lambda: product.processes() == [], 15)
    again = start_product()
    assert health(again)["status"] == "ready", again.output


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PRAXIS_PORT", "eighty", "PRAXIS_PORT must be a whole number from 1 to 65535"),
        ("DATABASE_URL", "mysql://x/y", "DATABASE_URL must be a URL with scheme"),
        ("PRAXIS_HOST", "203.0.113.7", "PRAXIS_HOST must be an address of this machine"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str, sentence: str) -> None:
    result = subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "up"],
        env={**os.environ, "PRAXIS_VAR": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert sentence in result.stderr and value in result.stderr
    assert "Traceback" not in result.stderr
