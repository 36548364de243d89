"""Encoders of workspaces beside the shipped one."""

import json
import threading
from pathlib import Path
from typing import Any

import httpx

from modeling.inference.tests.running import ENCODER, Running, wait_until
from modeling.inference.tuned_encoders import MAX_LOADED
from modeling.weights.manifest import write_manifest


def put(server: Running, name: str, shift: int) -> Path:
    folder = server.adapters_dir.parent / "encoders" / name
    (folder / "1_Pooling").mkdir(parents=True)
    files = {
        "modules.json": [],
        "config.json": {"shift": shift},
        "model.safetensors": {},
        "1_Pooling/config.json": {},
    }
    for file, content in files.items():
        (folder / file).write_text(json.dumps(content), "utf-8")
    write_manifest(folder, files)
    return folder


def embed(server: Running, model: str, *texts: str, **headers: str) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "input": list(texts)}
    return server.client.post("/v1/embeddings", json=body, headers=headers)


def first_numbers(answer: httpx.Response) -> list[float]:
    return [one["embedding"][0] for one in answer.raise_for_status().json()["data"]]


def test_two_encoders_answer_at_the_same_time(server: Running) -> None:
    put(server, "shop.second", 100)
    server.encoder.pause_seconds = 0.5
    slow = threading.Thread(target=embed, args=(server, ENCODER, "a", "bb"))
    slow.start()
    wait_until(lambda: server.encoder.calls)
    tuned = embed(server, "shop.second", "a", "bb")
    assert slow.is_alive()  # neither waits for the other
    slow.join()
    assert first_numbers(tuned) == [101, 102]
    assert tuned.json()["model"] == "shop.second"
    assert first_numbers(embed(server, "shop.second", "ccc", **{"X-Priority": "bulk"})) == [103]
    assert first_numbers(embed(server, ENCODER, "a")) == [1]
    assert server.health()["encoder"]["tuned"] == ["shop.second"]


def test_the_longest_unused_is_put_away_and_comes_back(server: Running) -> None:
    names = [f"shop.number-{number}" for number in range(MAX_LOADED + 1)]
    for number, name in enumerate(names):
        put(server, name, 10 * number)
        embed(server, name, "a").raise_for_status()
    assert server.health()["encoder"]["tuned"] == names[1:]
    assert first_numbers(embed(server, names[0], "a")) == [1]
    assert server.health()["encoder"]["tuned"] == [*names[2:], names[0]]


def test_a_changed_or_foreign_folder_is_not_served(server: Running) -> None:
    (put(server, "shop.changed", 1) / "config.json").write_text('{"shift": 2}', "utf-8")
    answer = embed(server, "shop.changed", "a")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "encoder_refused")
    assert "SHA-256" in answer.json()["error"]["message"]
    (put(server, "shop.more", 1) / "weights.pkl").write_bytes(b"cos")
    answer = embed(server, "shop.more", "a")
    assert "weights.pkl, which is not part of an encoder" in answer.json()["error"]["message"]
    for name in ("shop.none", "../adapters", "shop", ".."):
        assert embed(server, name, "a").status_code == 404
