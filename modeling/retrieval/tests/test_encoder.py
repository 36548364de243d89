"""The encoder with the real MiniLM."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from modeling.retrieval.encoder import Encoder
from modeling.retrieval.packed import Arithmetic, PackedEncoder, _attend, best_arithmetic
from modeling.weights.assemble import encoder_folder

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(encoder_folder())


def test_it_gives_unit_vectors_in_order(encoder: Encoder) -> None:
    texts = ["red", "a much longer text about something else entirely", "red"]
    vectors = encoder.encode(texts, batch_size=2)
    assert vectors.shape == (3, encoder.dimension) == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.9


def test_the_company_in_a_batch_does_not_matter(encoder: Encoder) -> None:
    alone = encoder.encode(["short"])
    together = encoder.encode(["short", "long " * 100])
    np.testing.assert_allclose(alone[0], together[0], atol=1e-5)


def test_it_counts_whole_texts_and_encodes_up_to_its_limit(encoder: Encoder) -> None:
    assert encoder.max_tokens == 256
    assert encoder.count_tokens(["hello world", "word " * 400]) == [4, 402]
    cut, whole = encoder.encode(["word " * 254, "word " * 400])
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.count_tokens([]) == []


TEXTS = [f"In case {index} the goods come back within {index} days." for index in range(20)]
TEXTS += ["x", "word " * 400, "退货政策"]


def test_packed_without_padding_the_vectors_are_the_same(encoder: Encoder) -> None:
    vectors, counts = PackedEncoder(encoder._model, arithmetic="float32").encode_counted(TEXTS)
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS), atol=1e-5)
    assert counts == encoder.count_tokens(TEXTS)


@pytest.mark.parametrize("arithmetic", ["int8", "avx512"])
def test_in_int8_the_vectors_stay_close_and_the_exact_ones_the_same(
    encoder: Encoder, arithmetic: Arithmetic
) -> None:
    if arithmetic == "avx512" and best_arithmetic() != "avx512":
        pytest.skip("this processor has no int8 and bfloat16 in AVX-512")
    before = encoder.encode(TEXTS)
    vectors, _ = PackedEncoder(encoder._model, arithmetic=arithmetic).encode_counted(TEXTS)
    cosines = (vectors * before).sum(axis=1)
    assert cosines[:20].min() > 0.98 and cosines.min() > 0.9
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_attention_in_bfloat16_holds_where_a_power_would_overflow() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 40, 8) for _ in range(3))
    for size in (1.0, 30.0, 1000.0):
        exact = torch.softmax(query @ key.transpose(1, 2) * size * log(2), dim=-1) @ value
        out = torch.empty(2, 40, 8)
        _attend((query * size).bfloat16(), key.bfloat16(), value.bfloat16(), out=out)
        assert F.cosine_similarity(out, exact, dim=-1).median() > 0.99


def test_bulk_encoders_work_at_the_same_time(encoder: Encoder) -> None:
    with ThreadPoolExecutor() as pool:
        (ours, _), (theirs, _) = pool.map(
            lambda each: each.encode_counted(TEXTS), encoder.for_bulk(2)
        )
    np.testing.assert_array_equal(ours, theirs)


def test_a_model_of_another_form_is_copied_instead(encoder: Encoder, tmp_path: Path) -> None:
    shutil.copytree(encoder_folder(), tmp_path / "cls")
    config = tmp_path / "cls" / "1_Pooling" / "config.json"
    config.write_text(
        json.dumps(
            {
                **json.loads(config.read_text()),
                "pooling_mode_cls_token": True,
                "pooling_mode_mean_tokens": False,
            }
        )
    )
    other = Encoder(tmp_path / "cls")
    first, second = other.for_bulk(2)
    assert isinstance(first, Encoder) and first is not second
    ours = first.encode_counted(TEXTS)[0]
    np.testing.assert_array_equal(ours, second.encode_counted(TEXTS)[0])
    assert np.abs(ours - encoder.encode(TEXTS)).max() > 0.01


def test_it_says_that_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no modules\.json"):
        Encoder(tmp_path)
