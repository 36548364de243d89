"""Chat requests: what reaches the engine, what comes back, and what is refused."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from modeling.inference.tests.running import (
    BASE,
    CONTEXT,
    Running,
    chat_body,
    running_server,
    wait_until,
)


def stream_of(server: Running, text: str, **fields: Any) -> list[str]:
    body = chat_body(text, stream=True, **fields)
    with server.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [line.removeprefix("data: ") for line in answer.iter_lines() if line]


def words_in(events: list[str]) -> str:
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def test_it_streams_the_engine_s_answer_to_the_end(shared_server: Running) -> None:
    events = stream_of(shared_server, "say 4")
    assert words_in(events) == "w0 w1 w2 w3 "
    assert events[-1] == "[DONE]"


def test_it_sends_each_word_when_the_engine_has_it(shared_server: Running) -> None:
    body = chat_body("say 4 every 0.3", stream=True)
    arrivals = []
    with shared_server.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if '"content":"w' in line:
                arrivals.append(time.monotonic())
    assert len(arrivals) == 4
    assert arrivals[-1] - arrivals[0] > 0.6


def test_it_returns_a_whole_answer_and_counts_its_tokens(server: Running) -> None:
    answer = server.chat("say 4")
    assert answer.json()["choices"][0]["message"]["content"] == "w0 w1 w2 w3"
    assert server.metric("praxis_llm_prompt_tokens_total") == 7
    assert server.metric("praxis_llm_generation_tokens_total") == 4
    stream_of(server, "say 3")
    assert server.metric("praxis_llm_generation_tokens_total") == 7
    assert server.metric("praxis_llm_time_to_first_token_seconds_count") == 1


def test_it_passes_on_what_the_engine_understands_and_nothing_else(server: Running) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    server.chat(
        "say 1",
        temperature=0,
        max_completion_tokens=7,
        stop=["x"],
        seed=3,
        logprobs=True,
        user="somebody",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "schema": schema},
        },
    )
    sent = server.events("request")[0]["body"]
    assert sent["response_format"] == {"type": "json_schema", "json_schema": {"schema": schema}}
    assert (sent["temperature"], sent["max_tokens"], sent["stop"]) == (0, 7, ["x"])
    assert (sent["seed"], sent["logprobs"], sent["lora"]) == (3, True, [])
    assert "user" not in sent
    assert "max_completion_tokens" not in sent


def test_it_joins_the_text_parts_of_a_message(shared_server: Running) -> None:
    parts = [{"type": "text", "text": "say "}, {"type": "text", "text": "2"}]
    body = {"model": BASE, "messages": [{"role": "user", "content": parts}]}
    answer = shared_server.client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "w0 w1"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"n": 2}, "n"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"lora": [{"id": 0, "scale": 9}]}, "lora"),
        ({"id_slot": 0}, "id_slot"),
    ],
)
def test_it_names_the_field_that_is_wrong(
    change: dict[str, Any], param: str, shared_server: Running
) -> None:
    answer = shared_server.client.post(
        "/v1/chat/completions", json={**chat_body("say 1 REFUSED"), **change}
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param in error["message"]
    assert "REFUSED" not in shared_server.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1]", "must be a JSON object"),
        (b"{}", "model"),
    ],
)
def test_it_refuses_a_body_that_is_not_a_request(
    content: bytes, said: str, shared_server: Running
) -> None:
    answer = shared_server.client.post(
        "/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_it_refuses_a_body_of_many_megabytes(shared_server: Running) -> None:
    answer = shared_server.chat("x" * 9_000_000)
    assert answer.status_code == 413


def test_it_refuses_a_model_it_does_not_have(shared_server: Running) -> None:
    answer = shared_server.chat("say 1", model="nobody")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert BASE in error["message"]
    assert 'model="nobody"' not in shared_server.client.get("/metrics").text


@pytest.mark.parametrize("stream", [True, False])
def test_it_refuses_a_prompt_that_does_not_fit(stream: bool, shared_server: Running) -> None:
    answer = shared_server.chat(f"long {CONTEXT + 1}", stream=stream)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert str(CONTEXT + 1) in error["message"]


def test_it_passes_on_the_engine_s_own_failure_as_a_server_error(shared_server: Running) -> None:
    answer = shared_server.chat("fail 500")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "engine_error"


@pytest.mark.parametrize("stream", [True, False])
def test_the_engine_stops_when_the_caller_leaves(stream: bool, server: Running) -> None:
    body = chat_body("say 500 every 0.02", stream=stream)
    with (
        httpx.Client(base_url=server.client.base_url) as leaving,
        pytest.raises(httpx.ReadTimeout) if not stream else _nothing(),
        leaving.stream("POST", "/v1/chat/completions", json=body, timeout=0.5) as answer,
    ):
        next(answer.iter_lines())
    wait_until(lambda: server.events("caller_left"), timeout_seconds=5)
    wait_until(lambda: server.metric("praxis_llm_num_requests_running") == 0)
    assert server.events("finished") == []
    assert 'status="499"' in server.client.get("/metrics").text


def test_a_caller_who_leaves_the_line_gives_up_the_place(tmp_path: Path) -> None:
    with running_server(tmp_path, parallel=1) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        with _streaming(server, "say 40 every 0.05"):
            with (
                httpx.Client(base_url=server.client.base_url, timeout=0.3) as impatient,
                pytest.raises(httpx.ReadTimeout),
            ):
                impatient.post("/v1/chat/completions", json=chat_body("say 1"))
            wait_until(lambda: server.metric("praxis_llm_num_requests_waiting") == 0)
        assert server.chat("say 1").status_code == 200
        assert len(server.events("request")) == 2


def test_requests_beyond_the_slots_wait_and_beyond_the_line_are_refused(tmp_path: Path) -> None:
    with running_server(tmp_path, parallel=1, max_waiting=1) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(server.chat("say 1").status_code))
        with _streaming(server, "say 30 every 0.05"):
            waiting.start()
            wait_until(lambda: server.metric("praxis_llm_num_requests_waiting") == 1)
            refused = server.chat("say 1")
        waiting.join()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert answers == [200]


def test_only_requests_with_the_same_salt_share_a_cached_prefix(tmp_path: Path) -> None:
    with running_server(tmp_path, parallel=1) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        for salt in ("one", "one", "two", "one"):
            server.chat("say 1", cache_salt=salt)
        reused = [event["body"]["cache_prompt"] for event in server.events("request")]
    assert reused == [False, True, False, False]


class _nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


class _streaming:
    """A stream that is open, and read to its first word, while the block runs."""

    def __init__(self, server: Running, text: str) -> None:
        self._client = httpx.Client(base_url=server.client.base_url, timeout=30)
        body = chat_body(text, stream=True)
        self._stream = self._client.stream("POST", "/v1/chat/completions", json=body)

    def __enter__(self) -> httpx.Response:
        answer = self._stream.__enter__()
        self._lines = answer.iter_lines()
        next(self._lines)
        return answer

    def __exit__(self, *exc: object) -> None:
        self._stream.__exit__(None, None, None)
        self._client.close()
