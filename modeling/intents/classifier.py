"""Intents by ridge regression in the space of two kernels, calibrated by leaving one out.

The kernel of two texts is exp(-γ·|x - x'|²) of their unit sentence embeddings plus a share of the
cosine of their words (`words.py`). Ridge regression on one-hot targets is solved at once, and so is
what it would have said of each sample had that one been missing (Rifkin and Lippert, "Notes on
regularized least squares", 2007): from those scores come the probability (Platt, 1999, on the margin
between the two best) and the score below which a text is out of scope. Out of scope is no class of
its own: what nobody foresaw has nothing in common (Larson et al., "An evaluation dataset for intent
classification and out-of-scope prediction", 2019).

n texts, k labels, q asked texts, d the embedding's width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from modeling.intents.words import WordSpace

Floats = npt.NDArray[np.float32]

OUT_OF_SCOPE = ""
"""The label of a sample that belongs to no intent. It pulls the scores near it to zero."""
MOST_SAMPLES = 20_000
"""Memory is 4·n² bytes, twice; time grows with n³: 15,000 samples take a minute on two cores."""
# Chosen by cross-validation within the train files of banking77 and CLINC150; that the margin
# calibrates better than the score was seen on CLINC150's validation file.
GAMMA = 2.0
WORDS_SHARE = 0.5
RIDGE = 0.3
SHARPNESS = 20.0
"""Of the softmax that shares among the other labels what the first one leaves."""
LEAD = 1e-6
"""By what share of it the best label is at least likelier than each of the others."""
ROWS_AT_ONCE = 1024
PLATT_PRIOR = (9.0, 0.0)
"""Slope and offset that a classifier with few samples starts from, with the weight of as many."""
PRIOR_WEIGHT = 0.05


@dataclass(frozen=True)
class Prediction:
    """What one text speaks of."""

    probabilities: Mapping[str, float]
    """Of each label, given that it is one of them; likeliest first; they sum to one."""
    scores: Mapping[str, float]
    """The labels' regression values: near 1 amid the label's samples, near 0 far from them."""
    threshold: float
    """Below this score a text is out of scope."""

    @property
    def in_scope(self) -> bool:
        return max(self.scores.values()) >= self.threshold

    @property
    def label(self) -> str:
        return next(iter(self.probabilities))

    @property
    def confidence(self) -> float:
        return next(iter(self.probabilities.values()))

    @property
    def score(self) -> float:
        return self.scores[self.label]


class IntentClassifier:
    """Trained once; safe to use from several threads.

    `vectors` has shape (n, d), rows of length 1. `keep` is the share of wanted texts that the
    threshold is to let through. Raises `ValueError` if there are no labels or too many samples.
    """

    def __init__(
        self, texts: Sequence[str], labels: Sequence[str], vectors: Floats, *, keep: float = 0.95
    ) -> None:
        if not len(texts) == len(labels) == len(vectors):
            raise ValueError(
                f"texts, labels and vectors must be as many, got {len(texts)}, {len(labels)} "
                f"and {len(vectors)}"
            )
        if len(texts) > MOST_SAMPLES:
            raise ValueError(
                f"at most {MOST_SAMPLES} samples can be learned, got {len(texts)}; leave some out"
            )
        self.labels = sorted(set(labels) - {OUT_OF_SCOPE})
        if not self.labels:
            raise ValueError("at least one sample must have a label, got none")
        self._vectors = vectors
        self._space = WordSpace(texts)
        words = self._space.vectors(texts)
        targets = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        known = np.array([label != OUT_OF_SCOPE for label in labels])
        correct = np.searchsorted(self.labels, np.array(labels)[known])
        targets[np.flatnonzero(known), correct] = 1.0
        self._weights, left_out = _solve(self._kernel(words), targets)
        # The kernel of words is linear: each gram's share of the scores is known beforehand.
        self._gram_weights = np.asarray(WORDS_SHARE * (words.T @ self._weights), dtype=np.float32)
        self._slope, self._offset = _platt(left_out[known], correct)
        self.threshold = float(np.quantile(left_out[known].max(axis=1), 1 - keep))

    def scores(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Regression values of shape (q, k), in the order of `labels`."""
        words = self._space.vectors(texts)
        return np.asarray(
            self._nearness(vectors) @ self._weights + words @ self._gram_weights, dtype=np.float32
        )

    def predict(
        self, text: str, vector: Floats, *, favoured: Mapping[str, float] | None = None
    ) -> Prediction:
        """`favoured` adds to the scores of labels for which something else speaks."""
        scores = self.scores([text], vector[None])[0]
        for label, bonus in (favoured or {}).items():
            if label in self.labels:
                scores[self.labels.index(label)] += bonus
        probabilities = self.probabilities(scores[None])[0]
        order = np.argsort(-probabilities, kind="stable")
        return Prediction(
            probabilities={self.labels[i]: float(probabilities[i]) for i in order},
            scores={self.labels[i]: float(scores[i]) for i in order},
            threshold=self.threshold,
        )

    def probabilities(self, scores: Floats) -> npt.NDArray[np.float64]:
        """Of shape (q, k): the calibrated one of the best, the rest shared by softmax."""
        if len(self.labels) == 1:
            return np.ones(scores.shape)
        rows, best = np.arange(len(scores)), scores.argmax(axis=1)
        first = expit(self._slope * _margins(scores) + self._offset)
        # Where few labels share the rest, the first can't be less likely than an equal share.
        first = np.maximum(first, 1 / len(self.labels))
        others = np.exp(SHARPNESS * (scores.astype(np.float64) - scores.max(axis=1, keepdims=True)))
        others[rows, best] = 0.0
        shared = others * ((1 - first) / np.maximum(others.sum(axis=1), 1e-300))[:, None]
        # No other label may overtake the best one, nor draw level: argmax would pick by the alphabet.
        shared = np.minimum(shared, (1 - LEAD) * first[:, None])
        shared[rows, best] = first
        return np.asarray(shared / shared.sum(axis=1, keepdims=True))

    def _kernel(self, words: csr_matrix) -> Floats:
        """Of the samples with each other, of shape (n, n)."""
        kernel = self._nearness(self._vectors)
        by_gram = words.T.tocsr()
        # In pieces: the sparse product of all samples with all would need three times the memory.
        for start in range(0, len(kernel), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            kernel[rows] += WORDS_SHARE * (words[rows] @ by_gram).toarray()
        return kernel

    def _nearness(self, vectors: Floats) -> Floats:
        """To each sample, of shape (q, n): a Gaussian of the distance."""
        kernel = np.asarray(vectors @ self._vectors.T, dtype=np.float32)
        kernel -= 1
        kernel *= 2 * GAMMA
        return np.exp(kernel, out=kernel)


def _solve(kernel: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Weights and leave-one-out scores, each of shape (n, k). Overwrites the kernel."""
    kernel[np.diag_indices_from(kernel)] += RIDGE
    factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve(factor, targets, check_finite=False)
    inverse, problem = lapack.spotri(factor[0], lower=1)
    assert problem == 0
    return weights, targets - weights / np.diag(inverse)[:, None]


def _margins(scores: Floats) -> Floats:
    """By how much the best label leads, of shape (q,)."""
    two = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def _platt(scores: Floats, correct: npt.NDArray[np.intp]) -> tuple[float, float]:
    """Slope and offset of the logistic curve from the margin to "the best label is right"."""
    if scores.shape[1] == 1:
        return PLATT_PRIOR
    margins = _margins(scores).astype(np.float64)
    right = scores.argmax(axis=1) == correct

    def loss(curve: npt.NDArray[np.float64]) -> float:
        slope, offset = curve
        z = slope * margins + offset
        likelihood = np.logaddexp(0, np.where(right, -z, z)).sum()
        a, b = PLATT_PRIOR
        return float(likelihood + PRIOR_WEIGHT * (slope - a) ** 2 + (offset - b) ** 2)

    found = minimize(
        loss, np.array(PLATT_PRIOR), method="L-BFGS-B", bounds=[(0.0, None), (None, None)]
    )
    return float(found.x[0]), float(found.x[1])
