"""The routing lens over HTTP, looking at a tiny mixture."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from modeling.inference.tests.running import BASE, Running, running_server
from modeling.moe.balance import counted_load
from modeling.moe.lens import Lens
from modeling.moe.upcycle import Experts, upcycle_checkpoint
from modeling.training.tests.conftest import model_dir as model_dir

EXPERTS = Experts(number=4, width=16, top_k=2)


@pytest.fixture(scope="module")
def mixture(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    shutil.copytree(model_dir, folder, dirs_exist_ok=True)
    upcycle_checkpoint(model_dir, folder, EXPERTS, seed=0)
    return folder


@pytest.fixture(scope="module")
def server(mixture: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, load_lens=lambda: Lens.open(mixture)) as running:
        yield running


def ask(server: Running, address: str = "/v1/routing", **body: Any) -> dict[str, Any]:
    answer = server.client.post(address, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_it_says_which_experts_fired_for_each_token(server: Running) -> None:
    answer = ask(server, prompt="please cancel the order", model=BASE)
    assert answer["model"] == BASE
    assert "".join(answer["tokens"]) == "please cancel the order"
    assert (answer["layers"], answer["num_experts"]) == ([0, 1], 4)
    experts, weights = np.array(answer["experts"]), np.array(answer["weights"])
    assert experts.shape == weights.shape == (2, len(answer["tokens"]), 2)
    assert np.allclose(weights.sum(axis=-1), 1, atol=1e-3)


def test_messages_are_read_as_the_model_reads_a_chat(server: Running) -> None:
    answer = ask(server, messages=[{"role": "user", "content": "please cancel the order"}])
    text = "".join(answer["tokens"])
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert text.endswith("<|im_start|>assistant\n")


def test_the_use_of_experts_by_groups_of_texts(server: Running, mixture: Path) -> None:
    texts = {"shop": ["refund the parcel", "change address"], "clinic": ["fever and cough daily"]}
    answer = ask(server, "/v1/routing/load", texts=texts)
    lens = Lens.open(mixture)
    model = AutoModelForCausalLM.from_pretrained(mixture, dtype=torch.float32).eval()
    assert answer["layers"] == [0, 1]
    for group, found in texts.items():
        with counted_load(model) as counter, torch.no_grad():
            for text in found:
                model(input_ids=torch.tensor([lens.tokens_of(text)]))
        use = answer["groups"][group]
        assert use["load"] == counter.read().tolist()
        assert np.sum(use["load"]) == use["tokens"] * 2 * EXPERTS.top_k
        assert use["balance"]["cv"] > 0


@pytest.mark.parametrize(
    ("address", "body", "said"),
    [
        ("/v1/routing", {}, "exactly one of them"),
        ("/v1/routing", {"prompt": "a", "messages": [{"role": "user"}]}, "exactly one of them"),
        ("/v1/routing", {"prompt": "word " * 3000}, "send 1 to 1024"),
        ("/v1/routing/load", {"texts": {}}, "texts"),
        ("/v1/routing/load", {"texts": {"shop": [""]}}, "texts.shop has no text"),
        ("/v1/routing/load", {"texts": {"shop": ["word " * 30000]}}, "at most 16384"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    server: Running, address: str, body: dict[str, Any], said: str
) -> None:
    answer = server.client.post(address, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_another_model_is_not_found(server: Running) -> None:
    answer = server.client.post("/v1/routing", json={"prompt": "a", "model": "other"})
    assert answer.status_code == 404


def test_a_dense_model_says_what_to_start_instead(shared_server: Running) -> None:
    answer = shared_server.client.post("/v1/routing", json={"prompt": "a"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "no_routed_experts"
    assert "--model and the name of a mixture" in error["message"]
