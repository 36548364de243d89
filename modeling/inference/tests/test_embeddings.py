"""Embeddings: shape of the answer, order, batches, refusals."""

import base64
import threading
from typing import Any

import httpx
import numpy as np
import pytest

from modeling.inference.tests.running import ENCODER, Running, wait_until


def embed(server: Running, **fields: Any) -> httpx.Response:
    return server.client.post("/v1/embeddings", json={"model": ENCODER, **fields})


def test_it_embeds_one_text_or_a_list_in_order(shared_server: Running) -> None:
    one = embed(shared_server, input="ab").json()
    assert one["object"] == "list"
    assert one["data"][0]["embedding"] == [2, 0, 1]
    many = embed(shared_server, input=["a", "bbb", "cc"]).json()
    assert [item["embedding"][0] for item in many["data"]] == [1, 3, 2]
    assert [item["index"] for item in many["data"]] == [0, 1, 2]
    assert many["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_it_keeps_the_order_of_more_texts_than_one_batch(server: Running) -> None:
    texts = ["x" * (1 + index % 97) for index in range(500)]
    answer = embed(server, input=texts).json()
    assert [item["embedding"][0] for item in answer["data"]] == [len(text) for text in texts]
    assert max(len(call) for call in server.encoder.calls) <= 64


def test_it_says_which_texts_were_cut(shared_server: Running) -> None:
    answer = embed(shared_server, input=["one two", "one two three four five six"]).json()
    assert [item["truncated"] for item in answer["data"]] == [False, True]
    assert [item["tokens"] for item in answer["data"]] == [2, 6]
    assert answer["usage"]["prompt_tokens"] == 2 + 5


def test_base64_holds_the_same_numbers(shared_server: Running) -> None:
    encoded = embed(shared_server, input="abc", encoding_format="base64").json()
    vector = np.frombuffer(base64.b64decode(encoded["data"][0]["embedding"]), dtype="<f4")
    assert vector.tolist() == [3, 0, 1]


def test_requests_that_come_together_are_encoded_together(server: Running) -> None:
    server.encoder.pause_seconds = 0.5
    first = threading.Thread(target=embed, args=(server,), kwargs={"input": "first"})
    first.start()
    wait_until(lambda: server.encoder.calls)
    others = [
        threading.Thread(target=embed, args=(server,), kwargs={"input": f"other {index}"})
        for index in range(5)
    ]
    for thread in others:
        thread.start()
    for thread in [first, *others]:
        thread.join()
    assert len(server.encoder.calls) < 1 + len(others)
    assert sum(len(call) for call in server.encoder.calls) == 6


def embed_in_bulk(server: Running, texts: list[str]) -> httpx.Response:
    return server.client.post(
        "/v1/embeddings", json={"model": ENCODER, "input": texts}, headers={"X-Priority": "bulk"}
    )


def test_bulk_keeps_the_order_and_takes_texts_of_like_length_together(server: Running) -> None:
    texts = ["x" * (1 + index % 97) for index in range(200)]
    answer = embed_in_bulk(server, texts).json()
    assert [item["embedding"][0] for item in answer["data"]] == [len(text) for text in texts]
    assert not server.encoder.calls
    assert max(len(call[-1]) - len(call[0]) for call in server.encoder.bulk.calls) < 10


def test_a_question_does_not_wait_for_what_comes_in_bulk(server: Running) -> None:
    server.encoder.bulk.pause_seconds = 1.0
    upload = threading.Thread(target=embed_in_bulk, args=(server, ["page"] * 200))
    upload.start()
    wait_until(lambda: server.encoder.bulk.calls)
    assert embed(server, input="a question").status_code == 200
    assert upload.is_alive()
    server.encoder.bulk.pause_seconds = 0.0
    upload.join()


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": ["a", " "]}, 400, "input"),
        ({"input": [1, 2]}, 400, "input"),
        ({"input": "a", "dimensions": 5}, 400, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, 400, "encoding_format"),
        ({"input": "a", "model": "other"}, 404, "model"),
        ({}, 400, "input"),
    ],
)
def test_it_names_the_field_that_is_wrong(
    change: dict[str, Any], status: int, param: str, shared_server: Running
) -> None:
    answer = embed(shared_server, **change)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param


def test_it_counts_tokens(shared_server: Running) -> None:
    answer = shared_server.client.post("/tokenize", json={"text": "one two three"})
    assert answer.json()["count"] == 3
