"""The second stage: a softmax over the sentence vectors of an encoder tuned on the samples.

`modeling.intents.finetune` makes both. The encoder is served like any other, so this needs NumPy
alone. It is asked where the classifier of the first stage is unsure, and what holds then is the mean
of both: they err at different texts. q asked texts, k labels, d the vectors' width.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.special import softmax

from modeling.intents.classifier import Floats

FILE = "intents.safetensors"
"""In the tuned encoder's folder."""
SURE = 0.8
"""From this probability of the first stage on, the second isn't asked."""

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True)
class IntentHead:
    labels: tuple[str, ...]
    weights: Floats
    """Of shape (k, d); how sharp the softmax is, is part of them."""
    bias: Floats
    """Of shape (k,)."""

    def probabilities(self, vectors: Floats) -> Probabilities:
        """Of shape (q, k), from unit vectors of shape (q, d)."""
        logits = (vectors @ self.weights.T + self.bias).astype(np.float64)
        return np.asarray(softmax(logits, axis=1))

    def second_opinion(self, first: Mapping[str, float], vector: Floats) -> dict[str, float]:
        """Both stages' probabilities of the labels of `first`, likeliest first.

        Raises `KeyError` for a label that was not learnt here.
        """
        places = [self.labels.index(label) for label in first if label in self.labels]
        if len(places) < len(first):
            raise KeyError(f"not learnt: {sorted(set(first) - set(self.labels))}")
        own = self.probabilities(vector[None])[:, places]
        own /= max(own.sum(), 1e-300)
        both = of_both(np.array([list(first.values())]), own)[0].tolist()
        pairs = zip(first, both, strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def save_in(self, folder: Path) -> None:
        save_file(
            {"weights": self.weights, "bias": self.bias},
            folder / FILE,
            metadata={"labels": json.dumps(self.labels)},
        )

    @classmethod
    def load_from(cls, folder: Path) -> "IntentHead":
        with safe_open(folder / FILE, framework="numpy") as file:
            labels = tuple(json.loads(file.metadata()["labels"]))
            return cls(labels, file.get_tensor("weights"), file.get_tensor("bias"))


def of_both(first: Probabilities, second: Probabilities) -> Probabilities:
    """The first stage's rows where it is sure, else the mean; all of shape (q, k)."""
    sure = first.max(axis=1, keepdims=True) >= SURE
    return np.where(sure, first, (first + second) / 2)
