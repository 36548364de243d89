"""Intents and what is outside all of them, by the two stages behind the customer-service assistant.

Trains on `intents/{banking77,clinc150}_train` and tests on `--split` (`dev` is `val`). Where a set has
no file of that split, as banking77 has none, a fifth of each intent's training rows is held out, once
for each of three seeds; `_spread` is the least and the greatest of them. `banking77` and `clinc150` are
the accuracies of both stages together, `_first` those of the classifier alone, `_asked` the percentage
of texts that it was unsure of. The second stage is trained as the product does it, by
`modeling.intents.finetune` with its own held-out part of the training rows.

The constants of `modeling.intents.classifier` come from cross-validation within the train files, those
of `modeling.intents.finetune` from banking77's training rows that no seed's held-out fifth has. One
choice was made otherwise: the form of the first stage's calibration (by the margin) was taken after it
had won on CLINC150's `val`, so `ece` there is no independent figure; that of a test split is.

`oos_recall` is the share of out-of-scope texts below the score above which 95 % of the tested
in-scope texts lie; `threshold_kept` and `threshold_oos_recall` say what the threshold that the
classifier set for itself, from its training samples alone, lets through and holds back. `ece` is the
worse of both sets' expected calibration errors (15 bins), in percent. `ms_p50` is one message at a
time, its embedding included, `ms_p50_unsure` one that both stages look at.
"""

import argparse
import json
import lzma
import sys
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import mannwhitneyu

from modeling.intents.classifier import IntentClassifier
from modeling.intents.finetune import train
from modeling.intents.finetune_recipe import IntentRecipe
from modeling.intents.head import SURE, IntentHead, of_both
from modeling.retrieval.encoder import Encoder
from modeling.retrieval.finetune import Journal
from modeling.retrieval.finetune_recipe import ENCODER
from modeling.weights.assemble import encoder_folder

SEEDS = 3
HELD_OUT = 0.2
TIMED = 200

Rows = list[tuple[str, str]]
"""Text and intent."""


def run(args: argparse.Namespace) -> dict[str, Any]:
    encoder = _encoder(None)
    figures: dict[str, Any] = {"n": 0}
    errors: list[float] = []
    for name in ("banking77", "clinc150"):
        rows = read(args.data, name, "train", args.limit)
        path = _path(args.data, name, args.split)
        vectors = encoder.encode([text for text, _intent in rows], batch_size=64)
        if path.exists():
            tested = read(args.data, name, args.split, args.limit)
            folds = [(rows, vectors, tested, encoder.encode([t for t, _intent in tested]))]
        else:
            folds = [_held_out(rows, vectors, args.seed + seed) for seed in range(SEEDS)]
        measured: dict[str, list[float]] = defaultdict(list)
        for number, fold in enumerate(folds):
            learned, _, tested, _ = fold
            classifier, scores, seconds = trained(*fold)
            measured["_train_seconds"].append(seconds)
            started = time.perf_counter()
            tuned, head = second_stage(learned, seed=args.seed + number)
            measured["_tune_seconds"].append(time.perf_counter() - started)
            first = classifier.probabilities(scores)
            both = of_both(first, head.probabilities(tuned.encode([t for t, _ in tested])))
            correct = np.searchsorted(classifier.labels, [intent for _, intent in tested])
            for stage, said in (("_first", first), ("", both)):
                right = said.argmax(axis=1) == correct
                measured[stage].append(100 * float(right.mean()))
                measured[f"{stage}_ece"].append(100 * calibration_error(said.max(axis=1), right))
            measured["_asked"].append(100 * float((first.max(axis=1) < SURE).mean()))
            figures["n"] += len(tested)
            sys.stderr.write(f"{name} {number}: { {k: v[-1] for k, v in measured.items()} }\n")
        figures |= {f"{name}{key}": round(float(np.mean(v)), 2) for key, v in measured.items()}
        if len(folds) > 1:
            for stage in ("_first", ""):
                low_high = min(measured[stage]), max(measured[stage])
                figures[f"{name}{stage}_spread"] = [round(value, 2) for value in low_high]
        errors.append(float(np.mean(measured["_ece"])))
    # The last classifier is that of CLINC150, which has texts outside all of its intents.
    outside = [text for text, _ in read(args.data, "clinc150_oos", args.split, args.limit)]
    figures |= out_of_scope(scores, classifier.scores(outside, encoder.encode(outside)), classifier)
    figures["ece"] = round(max(errors), 2)
    texts = [text for text, _ in folds[-1][2]]
    figures |= milliseconds(classifier, encoder, head, tuned, texts)
    return figures


def second_stage(rows: Rows, *, seed: int) -> tuple[Any, IntentHead]:
    """The tuned encoder and the softmax on it."""
    with TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.jsonl"
        samples.write_text(
            "\n".join(json.dumps({"text": text, "intent": intent}) for text, intent in rows),
            "utf-8",
        )
        output = Path(folder) / "output"
        output.mkdir()
        recipe = IntentRecipe(
            base=str(encoder_folder()),
            samples=str(samples),
            output_dir=str(output),
            seed=seed,
            threads=0,
        )
        done = train(recipe, should_stop=lambda: False, journal=Journal(output=output))
        assert done
        return _encoder(output / ENCODER), IntentHead.load_from(output / ENCODER)


def trained(
    rows: Rows, vectors: Any, tested: Rows, tested_vectors: Any
) -> tuple[IntentClassifier, npt.NDArray[np.float32], float]:
    """The classifier, its scores of the tested texts, seconds to train."""
    started = time.perf_counter()
    classifier = IntentClassifier([t for t, _ in rows], [i for _, i in rows], vectors)
    seconds = time.perf_counter() - started
    return classifier, classifier.scores([text for text, _ in tested], tested_vectors), seconds


def calibration_error(
    confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by size."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    return sum(
        abs(float(confidence[bin_of == b].mean() - right[bin_of == b].mean()))
        * float((bin_of == b).mean())
        for b in np.unique(bin_of)
    )


def out_of_scope(inside: Any, outside: Any, classifier: Any) -> dict[str, float]:
    kept, strange = inside.max(axis=1), outside.max(axis=1)
    threshold = np.quantile(kept, 0.05)
    wins = mannwhitneyu(kept, strange).statistic / (len(kept) * len(strange))
    return {
        "oos_recall": round(100 * float((strange < threshold).mean()), 2),
        "oos_auroc": round(100 * float(wins), 2),
        "threshold_kept": round(100 * float((kept >= classifier.threshold).mean()), 2),
        "threshold_oos_recall": round(100 * float((strange < classifier.threshold).mean()), 2),
    }


def milliseconds(
    classifier: IntentClassifier, encoder: Any, head: IntentHead, tuned: Any, texts: list[str]
) -> dict[str, float]:
    every, unsure = [], []
    for text in texts[:: max(1, len(texts) // TIMED)]:
        started = time.perf_counter()
        said = classifier.predict(text, encoder.encode([text])[0])
        if said.confidence < SURE:
            head.second_opinion(said.probabilities, tuned.encode([text])[0])
        every.append(time.perf_counter() - started)
        if said.confidence < SURE:
            unsure.append(every[-1])
    return {
        name: round(1000 * float(np.median(seconds)), 1)
        for name, seconds in (("ms_p50", every), ("ms_p50_unsure", unsure))
        if seconds
    }


def _held_out(rows: Rows, vectors: Any, seed: int) -> tuple[Rows, Any, Rows, Any]:
    rng = np.random.default_rng(seed)
    by_intent: dict[str, list[int]] = defaultdict(list)
    for index, (_text, intent) in enumerate(rows):
        by_intent[intent].append(index)
    tested: list[int] = []
    for indices in by_intent.values():
        tested += rng.permutation(indices)[: round(HELD_OUT * len(indices))].tolist()
    learned = sorted(set(range(len(rows))) - set(tested))
    return [rows[i] for i in learned], vectors[learned], [rows[i] for i in tested], vectors[tested]


def read(data: Path, name: str, split: str, limit: int | None) -> Rows:
    with lzma.open(_path(data, name, split), "rt", encoding="utf-8") as file:
        rows = [(row["text"], row["intent"]) for row in map(json.loads, file)]
    # A limited run still has every intent: rows of one intent lie together in the files.
    return rows if limit is None else rows[:: max(1, len(rows) // limit)]


def _path(data: Path, name: str, split: str) -> Path:
    return data / "intents" / f"{name}_{'val' if split == 'dev' else split}.jsonl.xz"


def _encoder(folder: Path | None) -> Encoder:
    return Encoder(folder or encoder_folder(), num_threads=torch.get_num_threads())
