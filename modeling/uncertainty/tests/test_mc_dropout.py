"""The calibration head: reproducible, calibrated on a known truth, the same in numpy and torch."""

from pathlib import Path

import numpy as np
import pytest

from modeling.uncertainty import mc_dropout
from modeling.uncertainty.mc_dropout import Head, HeadConfig


def noisy_truth(seed: int, rows: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, 0/1 labels, and the probability each label was drawn with."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 3)).astype(np.float32)
    truth = 1 / (1 + np.exp(-(1.5 * features[:, 0] - features[:, 1])))
    return features, (generator.random(rows) < truth).astype(np.float32), truth


@pytest.fixture(scope="module")
def head() -> Head:
    features, labels, _ = noisy_truth(1)
    return mc_dropout.fit(HeadConfig(num_features=3, epochs=12), features, labels)


def samples_of(head: Head, features: np.ndarray, *, samples: int = 40, seed: int = 7) -> np.ndarray:
    stacked = np.broadcast_to(features, (samples, *features.shape)).astype(np.float32)
    return mc_dropout.probabilities(head, stacked, seed=seed)


def test_it_is_calibrated_on_cases_it_never_saw(head: Head) -> None:
    features, labels, truth = noisy_truth(2)
    mean = mc_dropout.interval(samples_of(head, features)).mean_N
    assert mc_dropout.expected_calibration_error(mean, labels.astype(bool)) < 0.05
    assert np.abs(mean - truth).mean() < 0.06


def test_the_same_seed_gives_the_same_interval_and_another_seed_another(head: Head) -> None:
    features = noisy_truth(3, rows=20)[0]
    first = samples_of(head, features, seed=5)
    assert np.array_equal(first, samples_of(head, features, seed=5))
    assert not np.array_equal(first, samples_of(head, features, seed=6))


def test_the_interval_encloses_the_mean_and_has_a_width(head: Head) -> None:
    interval = mc_dropout.interval(samples_of(head, noisy_truth(4, rows=50)[0]))
    assert (interval.low_N <= interval.mean_N).all()
    assert (interval.mean_N <= interval.high_N).all()
    assert (interval.high_N - interval.low_N).min() > 0


def test_training_twice_with_one_seed_gives_equal_weights() -> None:
    features, labels, _ = noisy_truth(5, rows=600)
    config = HeadConfig(num_features=3, epochs=2, seed=3)
    first = mc_dropout.fit(config, features, labels)
    second = mc_dropout.fit(config, features, labels)
    assert np.array_equal(first.weight2_HH, second.weight2_HH)


def test_numpy_predicts_what_torch_would(head: Head) -> None:
    import torch

    features = noisy_truth(6, rows=30)[0]
    tensors = {
        name: torch.from_numpy(getattr(head, name))
        for name in ("weight1_HF", "bias1_H", "weight2_HH", "bias2_H", "weight3_H", "bias3")
    }
    inputs = torch.from_numpy(((features - head.mean_F) / head.scale_F).astype(np.float32))
    hidden = torch.relu(inputs @ tensors["weight1_HF"].T + tensors["bias1_H"])
    hidden = torch.relu(hidden @ tensors["weight2_HH"].T + tensors["bias2_H"])
    expected = hidden @ tensors["weight3_H"] + tensors["bias3"]
    got = mc_dropout.logits(head, features[None], seed=None)[0]
    assert np.allclose(got, expected.numpy(), atol=1e-5)


def test_saving_and_loading_changes_nothing(head: Head, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    mc_dropout.save(head, path)
    features = noisy_truth(8, rows=10)[0]
    assert np.array_equal(samples_of(head, features), samples_of(mc_dropout.load(path), features))


def test_it_refuses_to_be_built_without_dropout() -> None:
    with pytest.raises(ValueError, match="dropout must lie between 0 and 1, got 0"):
        HeadConfig(num_features=3, dropout=0.0)


def test_calibration_error_is_zero_for_exact_and_large_for_boastful_confidence() -> None:
    correct = np.array([True, False] * 50)
    assert mc_dropout.expected_calibration_error(np.full(100, 0.5), correct) == pytest.approx(0)
    assert mc_dropout.expected_calibration_error(np.full(100, 0.99), correct) == pytest.approx(0.49)
