"""The server with the real weights: llama.cpp and MiniLM."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modeling.inference.server import app_for
from modeling.inference.supervisor import EngineSettings
from modeling.inference.tests.running import serving, wait_until, write_adapter
from modeling.weights.assemble import ENCODER_NAME, assemble, default_base_name

pytestmark = pytest.mark.weights

CONTEXT = 512


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    (folder / "adapters").mkdir()
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    files = assemble(folder / "models")
    settings = EngineSettings(
        model_path=files.base_gguf,
        model_name=files.base_name,
        adapters_dir=folder / "adapters",
        context=CONTEXT,
        parallel=2,
        threads=1,
    )
    with (
        serving(app_for(files, settings, api_key=None, models_dir=folder / "models")) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        wait_until(lambda: client.get("/health").status_code == 200, timeout_seconds=90)
        yield client


def chat(client: httpx.Client, text: str, **fields: Any) -> httpx.Response:
    body = {
        "model": default_base_name(),
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 12,
        "temperature": 0,
        **fields,
    }
    return client.post("/v1/chat/completions", json=body)


def test_it_answers_in_words_and_counts_them(client: httpx.Client) -> None:
    answer = chat(client, "Write a poem about rain.", logprobs=True).json()
    choice = answer["choices"][0]
    assert len(choice["message"]["content"].split()) > 3
    assert len(choice["logprobs"]["content"]) == answer["usage"]["completion_tokens"]
    assert answer["model"] == default_base_name()


def test_a_stream_says_what_the_whole_answer_says(client: httpx.Client) -> None:
    question = "Name three colours."
    whole = chat(client, question).json()["choices"][0]["message"]["content"]
    streamed = chat(client, question, stream=True, stream_options={"include_usage": True}).text
    events = [line.removeprefix("data: ") for line in streamed.splitlines() if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    text = "".join(
        chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]
    )
    assert text == whole
    assert chunks[-1]["usage"]["completion_tokens"] == 12


def test_a_schema_binds_the_answer(client: httpx.Client) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}, "sure": {"type": "boolean"}},
        "required": ["city", "sure"],
        "additionalProperties": False,
    }
    answer = chat(
        client,
        "Where is the Eiffel tower? Answer in JSON.",
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    ).json()
    value = json.loads(answer["choices"][0]["message"]["content"])
    assert set(value) == {"city", "sure"}
    assert isinstance(value["sure"], bool)


def test_a_grammar_binds_the_answer(client: httpx.Client) -> None:
    answer = chat(client, "Yes or no?", grammar='root ::= "maybe" | "never"').json()
    assert answer["choices"][0]["message"]["content"] in {"maybe", "never"}


def test_a_grammar_that_is_wrong_is_refused(client: httpx.Client) -> None:
    answer = chat(client, "Yes or no?", grammar="root ::= (")
    assert answer.status_code == 400
    assert "grammar" in answer.json()["error"]["message"]


def test_a_prompt_that_does_not_fit_is_refused_whole(client: httpx.Client) -> None:
    answer = chat(client, "word " * (CONTEXT + 1))
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_llama_cpp_stops_when_the_caller_leaves(client: httpx.Client) -> None:
    body = {
        "model": default_base_name(),
        "messages": [{"role": "user", "content": "Write a long story."}],
        "max_tokens": 400,
        "stream": True,
    }
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    left_at = time.monotonic()
    # Its slot is free at once for another prompt; llama.cpp would queue this one behind a
    # request that it still computes.
    for _ in range(2):
        assert chat(client, "Hi", max_tokens=1).status_code == 200
    assert time.monotonic() - left_at < 5


def test_tokenize_counts_as_the_engine_does(client: httpx.Client) -> None:
    answer = client.post("/tokenize", json={"text": "Hello world"})
    assert answer.json() == {"count": 2, "max_model_len": CONTEXT}


def test_embeddings_are_unit_vectors_that_know_what_is_alike(client: httpx.Client) -> None:
    texts = ["The order has not arrived", "My parcel is late", "The cat sat on the mat"]
    answer = client.post("/v1/embeddings", json={"model": ENCODER_NAME, "input": texts}).json()
    vectors = np.array([item["embedding"] for item in answer["data"]])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert [item["truncated"] for item in answer["data"]] == [False] * 3


def test_a_text_beyond_the_limit_is_reported(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/embeddings", json={"model": ENCODER_NAME, "input": ["word " * 400]}
    ).json()
    assert answer["data"][0]["truncated"] is True
    assert answer["data"][0]["tokens"] == 402
    assert answer["usage"]["prompt_tokens"] == 256


def test_an_adapter_is_loaded_beside_a_stream_and_answers_by_its_name(
    client: httpx.Client, folder: Path
) -> None:
    write_adapter(folder / "adapters" / "odd", width=576, height=576)
    body = {
        "model": default_base_name(),
        "messages": [{"role": "user", "content": "Write a long story."}],
        "max_tokens": 60,
        "stream": True,
    }
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        loaded = httpx.post(
            f"{client.base_url}/v1/load_lora_adapter",
            json={"lora_name": "odd", "lora_path": "odd"},
            timeout=90,
        )
        assert loaded.status_code == 200, loaded.text
        assert [line for line in lines if line][-1] == "data: [DONE]"

    question = "Write a poem about rain."
    plain = chat(client, question).json()
    adapted = chat(client, question, model="odd").json()
    assert adapted["model"] == "odd"
    # Ones in every row turn the first layer's queries upside down.
    said = [answer["choices"][0]["message"]["content"] for answer in (plain, adapted)]
    assert said[0] != said[1]
    assert chat(client, question).json()["choices"][0]["message"]["content"] == said[0]

    unloaded = client.post("/v1/unload_lora_adapter", json={"lora_name": "odd"})
    assert unloaded.status_code == 200
    assert chat(client, question, model="odd").status_code == 404
