"""What the classifier says of samples it has, lacks, and was told to keep away from."""

import numpy as np
import pytest

from modeling.intents.classifier import OUT_OF_SCOPE, Floats, IntentClassifier, Prediction
from modeling.intents.words import WordSpace

WIDTH = 16


def near(center: int, seed: int, *, noise: float = 0.1) -> Floats:
    """A unit vector near the axis `center`."""
    vector = np.random.default_rng(seed).normal(scale=noise, size=WIDTH)
    vector[center] += 1
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def samples(per_label: int = 6, noise: float = 0.1) -> tuple[list[str], list[str], Floats]:
    """Of the labels a, b and c, at three axes; no two texts share a word."""
    rows = [(label, number) for label in "abc" for number in range(per_label)]
    vectors = [
        near("abc".index(label), 31 * number + ord(label), noise=noise) for label, number in rows
    ]
    texts = [chr(0x4E00 + 7 * index) for index in range(len(rows))]
    return texts, [label for label, _ in rows], np.stack(vectors)


def test_it_names_the_label_whose_samples_are_nearest_and_is_in_scope() -> None:
    predicted = IntentClassifier(*samples()).predict("x", near(1, 999))
    assert predicted.label == "b"
    assert predicted.confidence > 0.8
    assert predicted.in_scope


def test_what_is_near_no_sample_is_out_of_scope() -> None:
    assert not IntentClassifier(*samples()).predict("x", near(9, 1)).in_scope


def test_the_probabilities_are_of_all_labels_and_sum_to_one_the_likeliest_first() -> None:
    predicted = IntentClassifier(*samples()).predict("x", near(2, 5))
    values = list(predicted.probabilities.values())
    assert set(predicted.probabilities) == {"a", "b", "c"}
    assert sum(values) == pytest.approx(1)
    assert values == sorted(values, reverse=True)


def test_leaving_one_out_is_what_training_without_it_would_have_said() -> None:
    texts, labels, vectors = samples(noise=0.5)
    one = IntentClassifier(texts, labels, vectors, keep=1.0)
    scores = [
        IntentClassifier(
            texts[:row] + texts[row + 1 :],
            labels[:row] + labels[row + 1 :],
            np.delete(vectors, row, axis=0),
        )
        .scores([texts[row]], vectors[row : row + 1])
        .max()
        for row in range(len(texts))
    ]
    # Letting all samples through puts the threshold at the lowest of these scores.
    assert one.threshold == pytest.approx(min(scores), abs=1e-4)


def test_a_sample_of_no_intent_keeps_what_is_like_it_out() -> None:
    texts, labels, vectors = samples()
    between = np.asarray((near(0, 1) + near(7, 1)) / np.sqrt(2), dtype=np.float32)

    def told(*, away: bool) -> Prediction:
        more = [OUT_OF_SCOPE] if away else []
        classifier = IntentClassifier(
            texts + ["龍"] * away, labels + more, np.vstack([vectors, *([between] * away)])
        )
        assert OUT_OF_SCOPE not in classifier.labels
        return classifier.predict("x", between)

    assert told(away=True).score < told(away=False).score - 0.1


def test_the_confidence_is_how_often_it_is_right() -> None:
    texts, labels, vectors = samples(per_label=100, noise=0.45)
    classifier = IntentClassifier(texts, labels, vectors)
    fresh = [
        (label, near("abc".index(label), 10_000 + n, noise=0.45))
        for n in range(300)
        for label in "abc"
    ]
    scores = classifier.scores(["x"] * len(fresh), np.stack([vector for _, vector in fresh]))
    said = np.array(classifier.labels)[scores.argmax(axis=1)]
    accuracy = float(np.mean(said == [label for label, _ in fresh]))
    assert 0.5 < accuracy < 0.95
    assert classifier.probabilities(scores).max(axis=1).mean() == pytest.approx(accuracy, abs=0.05)


def test_the_likeliest_is_the_one_of_the_best_score_where_it_is_a_guess_between_two() -> None:
    texts, labels, _ = samples(per_label=40)
    same = np.stack([near(0, number, noise=0.5) for number in range(len(texts))])
    classifier = IntentClassifier(texts, labels, same)
    scores = np.array([[0.400, 0.401, 0.0], [0.401, 0.400, 0.0]], dtype=np.float32)
    probabilities = classifier.probabilities(scores)
    assert probabilities.max() < 0.51
    assert probabilities.argmax(axis=1).tolist() == [1, 0]


def test_what_else_speaks_for_a_label_counts() -> None:
    classifier = IntentClassifier(*samples())
    even = np.asarray((near(0, 1) + near(1, 1)) / np.sqrt(2), dtype=np.float32)
    assert classifier.predict("x", even, favoured={"a": 0.2, "gone": 1.0}).label == "a"
    assert classifier.predict("x", even, favoured={"b": 0.2}).label == "b"


def test_one_label_alone_is_certain_but_may_be_out_of_scope() -> None:
    texts, _, vectors = samples()
    classifier = IntentClassifier(texts[:6], ["a"] * 6, vectors[:6])
    assert classifier.predict("x", near(0, 3)).probabilities == {"a": 1.0}
    assert not classifier.predict("x", near(5, 3)).in_scope


@pytest.mark.parametrize(
    ("labels", "message"),
    [(["a"], "must be as many, got 2, 1 and 2"), (["", ""], "at least one sample")],
)
def test_it_says_what_is_wrong_with_the_samples(labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IntentClassifier(["x", "y"], labels, np.eye(2, dtype=np.float32))


def test_words_tell_apart_what_the_embedding_does_not() -> None:
    texts = ["top up by card", "top up by cheque", "block my card", "block my account"]
    same = np.tile(near(0, 1), (4, 1))
    classifier = IntentClassifier(texts, ["up", "up", "block", "block"], same)
    assert classifier.predict("how to block it", same[0]).label == "block"


def test_a_typo_and_another_ending_share_pieces_of_the_word() -> None:
    space = WordSpace(["cancel my order", "track a parcel"])
    known = space.vectors(["cancel my order", "track a parcel"])
    asked = space.vectors(["cancle the orders", "cancel my order", "zzz"])
    likeness = (asked @ known.T).toarray()
    assert likeness[0, 0] > 3 * likeness[0, 1]
    assert likeness[1, 0] == pytest.approx(1, abs=1e-6)
    assert not likeness[2].any()
