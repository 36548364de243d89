"""Reranking: the answer's form, the order, refusals."""

from typing import Any

import httpx

from modeling.inference.tests.running import RERANKER, Running, wait_until

PASSAGES = ["the kettle", "warranty of the kettle", "nothing of it"]


def rerank(server: Running, **fields: Any) -> httpx.Response:
    wait_until(lambda: server.health()["reranker"]["state"] == "ready")
    body = {"query": "warranty kettle", "documents": PASSAGES, **fields}
    return server.client.post("/v1/rerank", json=body)


def test_it_puts_the_passages_in_order(shared_server: Running) -> None:
    answer = rerank(shared_server, model=RERANKER).json()
    assert answer["model"] == RERANKER
    assert [one["index"] for one in answer["results"]] == [1, 0, 2]
    assert [one["relevance_score"] for one in answer["results"]] == [1, 0.5, 0]
    assert answer["usage"]["total_tokens"] == 11
    assert "document" not in answer["results"][0]


def test_the_first_few_with_their_texts(shared_server: Running) -> None:
    documents = [{"text": text} for text in PASSAGES]
    answer = rerank(shared_server, documents=documents, top_n=1, return_documents=True).json()
    assert [one["document"] for one in answer["results"]] == [{"text": PASSAGES[1]}]


def test_wrong_requests_are_refused_by_name(shared_server: Running) -> None:
    assert rerank(shared_server, model="other").status_code == 404
    refused: list[dict[str, Any]] = [
        {"documents": []},
        {"query": ""},
        {"top_n": 0},
        {"rank_fields": ["text"]},
    ]
    for wrong in refused:
        answer = rerank(shared_server, **wrong)
        assert answer.status_code == 400, wrong
        assert next(iter(wrong)) in answer.json()["error"]["message"]
