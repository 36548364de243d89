"""The encoder with the real MiniLM."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from modeling.retrieval.encoder import Encoder
from modeling.retrieval.packed import PackedEncoder
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
    vectors, counts = PackedEncoder(encoder._model, int8=False).encode_counted(TEXTS)
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS), atol=1e-5)
    assert counts == encoder.count_tokens(TEXTS)


def test_in_int8_the_vectors_stay_close_and_the_exact_ones_the_same(encoder: Encoder) -> None:
    before = encoder.encode(TEXTS)
    vectors, _ = PackedEncoder(encoder._model, int8=True).encode_counted(TEXTS)
    cosines = (vectors * before).sum(axis=1)
    assert cosines[:20].min() > 0.98 and cosines.min() > 0.9
    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_bulk_encoders_work_at_the_same_time(encoder: Encoder) -> None:
    with ThreadPoolExecutor() as pool:
        (ours, _), (theirs, _) = pool.map(
            lambda each: each.encode_counted(TEXTS), encoder.for_bulk(2)
        )
    np.testing.assert_array_equal(ours, theirs)


def test_a_model_of_another_form_is_copied_instead(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder._model[1], "pooling_mode", "cls")
    first, second = encoder.for_bulk(2)
    assert isinstance(first, Encoder) and first is not second
    np.testing.assert_array_equal(first.encode_counted(TEXTS)[0], second.encode_counted(TEXTS)[0])


def test_it_says_that_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no modules\.json"):
        Encoder(tmp_path)
