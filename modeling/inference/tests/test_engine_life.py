"""The engine process: what callers see when it ends, and that it never outlives the server."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from modeling.inference.tests.running import Running, chat_body, running_server, wait_until


def engine_pid(server: Running) -> int:
    return int(server.health()["engine"]["pid"])


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stream_whose_engine_ends_ends_with_an_error_event(server: Running) -> None:
    body = chat_body("die after 2", stream=True)
    with server.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert "w1" in events[-2]
    assert json.loads(events[-1])["error"]["type"] == "engine_unavailable"


def test_a_request_whose_engine_ends_gets_503_and_the_engine_comes_back(server: Running) -> None:
    first = engine_pid(server)
    answer = server.chat("die after 0")
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "engine_unavailable"
    wait_until(lambda: server.health()["engine"].get("pid") not in {None, first})
    assert server.chat("say 1").status_code == 200


def test_while_the_engine_is_down_health_and_chat_say_so(tmp_path: Path) -> None:
    never_starts = (sys.executable, "-c", "raise SystemExit(4)")
    with running_server(tmp_path, command=never_starts) as server:
        wait_until(lambda: server.health()["engine"]["state"] == "restarting")
        health = server.client.get("/health")
        answer = server.chat("say 1")
        assert server.metric("praxis_llm_engine_up") == 0
    assert health.status_code == 503
    assert "status 4" in health.json()["engine"]["problem"]
    assert health.json()["encoder"]["state"] == "ready"
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "engine_unavailable"
    assert int(answer.headers["retry-after"]) > 0


def test_stopping_the_server_ends_the_engine(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        pid = engine_pid(server)
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_the_engine_dies_with_a_server_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import time, pathlib\n"
        "from modeling.inference.tests.running import running_server\n"
        f"with running_server(pathlib.Path({str(tmp_path)!r})):\n"
        "    time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program])
    try:
        log = tmp_path / "engine.jsonl"
        wait_until(log.exists)
        pid = json.loads(log.read_text(encoding="utf-8").splitlines()[0])["pid"]
        assert not gone(pid)
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        wait_until(lambda: gone(pid), timeout_seconds=20)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def test_the_line_is_told_when_the_engine_ends(tmp_path: Path) -> None:
    with running_server(tmp_path, parallel=1) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        statuses: list[int] = []

        def ask(text: str) -> None:
            statuses.append(server.chat(text).status_code)

        first = threading.Thread(target=ask, args=("say 100 every 0.1",))
        first.start()
        wait_until(lambda: server.events("request"))
        second = threading.Thread(target=ask, args=("say 1",))
        second.start()
        wait_until(lambda: server.metric("praxis_llm_num_requests_waiting") == 1)
        started_at = time.monotonic()
        os.kill(engine_pid(server), signal.SIGKILL)
        first.join()
        second.join()
    assert statuses == [503, 503]
    assert time.monotonic() - started_at < 5
