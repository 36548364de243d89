"""Loading and unloading adapters while the server serves."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from modeling.inference.tests.running import (
    BASE,
    Running,
    chat_body,
    running_server,
    wait_until,
    write_adapter,
)
from modeling.weights.manifest import write_manifest


def load(server: Running, name: str, path: str, **fields: Any) -> httpx.Response:
    body = {"lora_name": name, "lora_path": path, **fields}
    return server.client.post("/v1/load_lora_adapter", json=body)


def unload(server: Running, name: str) -> httpx.Response:
    return server.client.post("/v1/unload_lora_adapter", json={"lora_name": name})


def served(server: Running) -> dict[str, Any]:
    models = server.client.get("/v1/models").json()["data"]
    return {model["id"]: model for model in models}


def test_a_loaded_adapter_is_listed_under_its_base_and_chosen_by_name(server: Running) -> None:
    folder = write_adapter(server.adapters_dir / "shop" / "1")
    write_adapter(server.adapters_dir / "law")
    assert load(server, "shop-1", str(folder)).status_code == 200
    assert load(server, "law", "law").status_code == 200

    models = served(server)
    assert list(models) == [BASE, "shop-1", "law"]
    assert models["shop-1"]["parent"] == BASE
    assert models[BASE]["parent"] is None
    manifest = json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8"))
    assert models["shop-1"]["sha256"] == manifest["files"]["adapter.gguf"]["sha256"]

    for name in (BASE, "shop-1", "law"):
        assert server.chat("say 1", model=name).json()["model"] == name
    scales = [
        [entry["scale"] for entry in event["body"]["lora"]] for event in server.events("request")
    ]
    assert scales == [[0, 0], [1, 0], [0, 1]]
    assert server.metric("praxis_llm_adapters_loaded") == 2


def test_a_stream_runs_to_its_end_on_the_old_engine_while_adapters_change(
    server: Running,
) -> None:
    write_adapter(server.adapters_dir / "shop")
    old = server.health()["engine"]["pid"]
    body = chat_body("say 40 every 0.05", stream=True)
    with server.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        with httpx.Client(base_url=server.client.base_url, timeout=30) as other:
            loaded = other.post(
                "/v1/load_lora_adapter", json={"lora_name": "shop", "lora_path": "shop"}
            )
            assert loaded.status_code == 200
            during = other.get("/health").json()["engine"]
            quick = other.post(
                "/v1/chat/completions", json=chat_body("say 1", model="shop", stream=True)
            )
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert sum('"content":"w' in line for line in rest) == 40
    assert during["pid"] != old
    assert during["draining_engines"] == 1
    assert '"model":"shop"' in quick.text
    assert BASE not in quick.text
    wait_until(lambda: server.health()["engine"]["draining_engines"] == 0)


def test_an_unloaded_adapter_is_gone(server: Running) -> None:
    write_adapter(server.adapters_dir / "shop")
    load(server, "shop", "shop")
    assert unload(server, "shop").status_code == 200
    assert list(served(server)) == [BASE]
    assert server.chat("say 1", model="shop").status_code == 404
    again = unload(server, "shop")
    assert again.status_code == 404
    assert again.json()["error"]["code"] == "adapter_not_loaded"


def test_loading_a_name_twice_is_refused_unless_it_is_to_be_replaced(server: Running) -> None:
    write_adapter(server.adapters_dir / "one")
    write_adapter(server.adapters_dir / "two")
    load(server, "shop", "one")
    again = load(server, "shop", "two")
    assert again.status_code == 400
    assert "already been loaded" in again.json()["error"]["message"]
    assert served(server)["shop"]["root"].endswith("one")
    assert load(server, "shop", "two", load_inplace=True).status_code == 200
    assert served(server)["shop"]["root"].endswith("two")


def test_loaded_adapters_are_there_again_after_a_restart(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "shop")
    write_adapter(tmp_path / "adapters" / "law")
    with running_server(tmp_path) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        load(server, "shop", "shop")
        load(server, "law", "law")
    (tmp_path / "adapters" / "law" / "adapter.gguf").write_bytes(b"tampered")
    with running_server(tmp_path) as server:
        wait_until(lambda: server.client.get("/health").status_code == 200)
        assert list(served(server)) == [BASE, "shop"]
        refused = server.health()["engine"]["refused_adapters"]
    assert "law" in refused["law"]


def test_adapters_are_there_again_after_the_engine_crashed(server: Running) -> None:
    write_adapter(server.adapters_dir / "shop")
    load(server, "shop", "shop")
    first = server.health()["engine"]["pid"]
    server.chat("die after 0")
    assert list(served(server)) == [BASE, "shop"]
    wait_until(lambda: server.health()["engine"].get("pid") not in {None, first})
    assert list(served(server)) == [BASE, "shop"]


def _outside(folder: Path) -> str:
    return str(write_adapter(folder.parent / "outside"))


def _linked_out(folder: Path) -> str:
    (folder / "link").symlink_to(write_adapter(folder.parent / "outside"))
    return "link"


def _link_inside(folder: Path) -> str:
    adapter = write_adapter(folder / "a")
    elsewhere = folder.parent / "elsewhere.gguf"
    shutil.move(adapter / "adapter.gguf", elsewhere)
    (adapter / "adapter.gguf").symlink_to(elsewhere)
    return "a"


def _tampered(folder: Path) -> str:
    adapter = write_adapter(folder / "a")
    content = bytearray((adapter / "adapter.gguf").read_bytes())
    content[-1] ^= 1
    (adapter / "adapter.gguf").write_bytes(content)
    return "a"


def _without(name: str) -> Any:
    def prepare(folder: Path) -> str:
        (write_adapter(folder / "a") / name).unlink()
        return "a"

    return prepare


def _not_gguf(folder: Path) -> str:
    adapter = write_adapter(folder / "a")
    (adapter / "adapter.gguf").write_bytes(b"\x80\x04pickle")
    write_manifest(adapter, ["adapter.gguf", "adapter_config.json"])
    return "a"


def _made(**facts: Any) -> Any:
    def prepare(folder: Path) -> str:
        write_adapter(folder / "a", **facts)
        return "a"

    return prepare


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: "nowhere", "not a folder that exists"),
        (lambda folder: ".", "inside the server's adapters folder"),
        (lambda folder: "../", "inside the server's adapters folder"),
        (lambda folder: "a\0b", "not a folder that exists"),
        (_outside, "inside the server's adapters folder"),
        (_linked_out, "inside the server's adapters folder"),
        (_link_inside, "not a plain file"),
        (_tampered, "SHA-256"),
        (_without("MANIFEST.json"), "has no MANIFEST.json"),
        (_without("adapter_config.json"), "missing"),
        (_not_gguf, "not a GGUF file"),
        (_made(architecture="glm4moe"), "the base is 'llama'"),
        (_made(kind="control"), "not a LoRA adapter"),
        (_made(width=5), "doesn't fit"),
        (_made(target="blk.9.attn_q.weight"), "the base doesn't have"),
        (_made(extra={"tokenizer.chat_template": "{{ x }}"}), "metadata"),
        (_made(extra={"general.name": "broken"}), "could not load"),
    ],
)
def test_it_says_why_an_adapter_is_refused_and_goes_on_serving(
    prepare: Any, said: str, server: Running
) -> None:
    path = prepare(server.adapters_dir)
    answer = load(server, "a", path)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert list(served(server)) == [BASE]
    assert server.chat("say 1").status_code == 200


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 200, BASE])
def test_it_refuses_a_name_that_is_not_one(name: str, shared_server: Running) -> None:
    answer = load(shared_server, name, "a")
    assert answer.status_code == 400
    assert "lora_name" in answer.json()["error"]["message"]


def test_two_loads_at_once_both_succeed(server: Running) -> None:
    names = ["one", "two", "three"]
    for name in names:
        write_adapter(server.adapters_dir / name)
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda name=name: statuses.append(load(server, name, name).status_code)
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200, 200]
    assert set(served(server)) == {BASE, *names}
