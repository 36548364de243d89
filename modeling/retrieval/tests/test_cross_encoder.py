"""Any cross-encoder of sentence-transformers as the reranker, by its folder."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modeling.inference.requests import RerankRequest
from modeling.inference.reranking import RerankService
from modeling.retrieval.reranker import CrossEncoderReranker
from modeling.retrieval.tests.conftest import make_cross_encoder

QUESTION = "how much is a lamp"
PASSAGES = [
    "the parcel travel days",
    "the price for the light with tax",
    "send back unopened goods within thirty days",
    "warranty repair for two years",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross"))


def logits(folder: Path) -> list[float]:
    """What the model itself says of each pair, alone and without sentence-transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    model.eval()
    with torch.no_grad():
        return [
            float(model(**tokenizer(QUESTION, passage, return_tensors="pt")).logits[0, 0])
            for passage in PASSAGES
        ]


def test_it_scores_each_pair_as_the_model_does(folder: Path) -> None:
    scores, num_tokens = CrossEncoderReranker(folder).score(QUESTION, PASSAGES)
    raw = np.array(logits(folder))
    assert np.ptp(raw) > 0.01  # or the order would mean nothing
    assert scores.dtype == np.float32 and scores.shape == (4,)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-raw)), atol=1e-4)
    assert num_tokens > 20


def test_the_company_of_other_passages_changes_no_score(folder: Path) -> None:
    reranker = CrossEncoderReranker(folder)
    together, _ = reranker.score(QUESTION, PASSAGES)
    alone = [float(reranker.score(QUESTION, [passage])[0][0]) for passage in PASSAGES]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert reranker.score(QUESTION, [])[0].shape == (0,)


def test_the_server_answers_in_its_order_under_its_name(folder: Path) -> None:
    async def ask() -> dict[str, object]:
        service = RerankService(name=folder.name, load=lambda: CrossEncoderReranker(folder))
        loaded = asyncio.Event()
        loaded.set()
        service.start(after=loaded)
        while service.describe()["state"] == "loading":
            await asyncio.sleep(0.01)
        assert service.describe() == {"state": "ready", "model": folder.name}
        request = RerankRequest(query=QUESTION, documents=list(PASSAGES), top_n=2)
        answer = await service.answer(request)
        await service.stop()
        return answer

    answer = asyncio.run(ask())
    best = np.argsort(-np.array(logits(folder)))[:2]
    assert answer["model"] == folder.name
    results = answer["results"]
    assert isinstance(results, list) and [one["index"] for one in results] == best.tolist()


def test_a_folder_that_is_none_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a cross-encoder: it has no config\.json"):
        CrossEncoderReranker(tmp_path)
