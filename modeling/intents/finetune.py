"""Tuning the encoder to tell intents apart, with a softmax on top: minutes on one core.

    python -m modeling.intents.finetune --recipe recipe.json

Only the upper layers learn. What the lower ones make of each sample is computed once and kept, so a
step costs half of one through the whole encoder. The softmax begins at the mean vector of each
intent's samples.

A fifth of each intent's samples is left out at first: by it, this and the classifier of the first stage
are judged, and its probabilities are calibrated. Then it goes on with all of them. It writes
`metrics.jsonl`, `state.json`, `checkpoints/`, `encoder/` (with the softmax in it) and `result.json`
into the output directory; the exit codes are those of `modeling.training.run`.

n samples, k labels, b samples of a batch, t tokens, d the vectors' width.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import BertModel

from modeling.intents.classifier import OUT_OF_SCOPE, Floats, IntentClassifier
from modeling.intents.finetune_recipe import FEWEST_HELD_OUT, IntentRecipe, num_held_out
from modeling.intents.head import SURE, IntentHead, Probabilities, of_both
from modeling.retrieval.finetune import (
    CHECKPOINTS,
    Journal,
    run_from,
    to_its_end,
    write_encoder,
)
from modeling.retrieval.finetune_recipe import ENCODER
from modeling.training import checkpoint
from modeling.training.run import RESULT
from modeling.training.trainer import NonFiniteLoss, OtherRun, TrainingError
from modeling.weights.manifest import write_json

UPPER_LAYERS = 3
EPOCHS = 4
EPOCHS_WITH_ALL = 2
BATCH_SIZE = 32
LAYERS_RATE = 1e-4
SOFTMAX_RATE = 1e-2
FIRST_SHARPNESS = 16.0
"""Of the softmax over the cosines with the mean vectors, where learning begins."""
WARM_UP = 0.1
MOST_TOKENS = 64
"""A longer sample is cut; what the lower layers make of n samples takes 1.5 kB a token."""
SORTED_TOGETHER = 24
"""So many batches at once are cut from samples in the order of their length, to save padding."""
SAVE_EVERY_STEPS = 100

Rows = npt.NDArray[np.intp]
"""Numbers of samples."""


class TooFewSamples(TrainingError):
    code = "no_usable_data"


def bert_of(model: SentenceTransformer) -> BertModel:
    """Raises `ValueError` for a model of another form than the shipped one's."""
    transformer, pooling, *rest = model
    if not (
        isinstance(transformer, Transformer)
        and isinstance(bert := transformer.auto_model, BertModel)
        and isinstance(pooling, Pooling)
        and pooling.pooling_mode == "mean"
        and all(isinstance(each, Normalize) for each in rest)
    ):
        raise ValueError("only a BERT encoder with mean pooling can be tuned to tell intents apart")
    return bert


class LowerLayers:
    """What the encoder's frozen layers make of each text."""

    def __init__(self, model: SentenceTransformer, texts: Sequence[str]) -> None:
        bert = bert_of(model)
        self.num_frozen = max(0, len(bert.encoder.layer) - UPPER_LAYERS)
        longest = min(MOST_TOKENS, model.max_seq_length or MOST_TOKENS)
        ids = model.tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
        self.lengths = np.array([len(one) for one in ids])
        self._outputs: list[Tensor] = [torch.empty(0)] * len(texts)
        for rows in _cut(np.argsort(self.lengths, kind="stable"), 64):
            tokens = nn.utils.rnn.pad_sequence([torch.tensor(ids[row]) for row in rows], True)
            known = self._known(rows)
            with torch.no_grad():
                x = bert.embeddings(input_ids=tokens)
                for layer in bert.encoder.layer[: self.num_frozen]:
                    x = _through(layer, x, known)
            for place, row in enumerate(rows):
                self._outputs[row] = x[place, : self.lengths[row]].clone()

    def of(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Hidden states of shape (b, t, d), and which tokens are some, bool of shape (b, t)."""
        states = nn.utils.rnn.pad_sequence([self._outputs[row] for row in rows], True)
        return states, self._known(rows)

    def _known(self, rows: Rows) -> Tensor:
        lengths = torch.tensor(self.lengths[rows])
        return torch.arange(int(lengths.max())) < lengths[:, None]


class Tuned(nn.Module):
    """The upper layers, the mean over the tokens, and the softmax."""

    def __init__(self, layers: nn.ModuleList, means: Floats) -> None:
        """`means`: unit vectors of shape (k, d), one for each label."""
        super().__init__()
        self.layers = copy.deepcopy(layers)
        self.softmax = nn.Linear(means.shape[1], len(means))
        with torch.no_grad():
            self.softmax.weight.copy_(FIRST_SHARPNESS * torch.from_numpy(means))
            self.softmax.bias.zero_()

    def vectors(self, x: Tensor, known: Tensor) -> Tensor:
        """Unit vectors of shape (b, d)."""
        for layer in self.layers:
            x = _through(layer, x, known)
        share = known.unsqueeze(-1).to(x.dtype)
        return F.normalize((x * share).sum(dim=1) / share.sum(dim=1), dim=1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Logits of shape (b, k)."""
        logits: Tensor = self.softmax(self.vectors(x, known))
        return logits


def _through(layer: nn.Module, x: Tensor, known: Tensor) -> Tensor:
    """`layer`: a `transformers` `BertLayer`."""
    bias = torch.zeros(known.shape).masked_fill(~known, torch.finfo(x.dtype).min)
    found = layer(x, bias[:, None, None, :])
    states: Tensor = found[0] if isinstance(found, tuple) else found
    return states


@dataclass(frozen=True, kw_only=True)
class Samples:
    texts: list[str]
    labels: list[str]

    @classmethod
    def read(cls, path: Path) -> Samples:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return cls(texts=[row["text"] for row in rows], labels=[row["intent"] for row in rows])


class Run:
    """A network in training, from the newest complete checkpoint if any."""

    def __init__(self, recipe: IntentRecipe, samples: Samples) -> None:
        self.recipe, self.samples = recipe, samples
        self.labels = sorted(set(samples.labels) - {OUT_OF_SCOPE})
        number = {label: index for index, label in enumerate(self.labels)}
        self.targets = np.array([number.get(label, -1) for label in samples.labels], dtype=np.intp)
        self.held, self.learnt = held_out(self.targets, recipe.seed)
        if len(self.held) < FEWEST_HELD_OUT:
            raise TooFewSamples(
                f"{len(self.held)} samples can be held out to judge by, at least {FEWEST_HELD_OUT} "
                "are needed; give each intent more samples, five or more"
            )
        torch.manual_seed(recipe.seed)
        self.model = SentenceTransformer(recipe.base, device="cpu", local_files_only=True)
        self.model.eval()
        self.below = LowerLayers(self.model, samples.texts)
        self.base_vectors = self._vectors(Tuned(self._upper, np.zeros((1, self._width), "f4")))
        self.step, self.seconds = 0, 0.0
        self.last_loss: float | None = None
        self.judged: dict[str, Any] = {}
        """Empty as long as some samples are left out."""
        self._steps_of_first = EPOCHS * _num_batches(self.learnt)
        self.steps = self._steps_of_first + EPOCHS_WITH_ALL * _num_batches(self._all)
        self.network = Tuned(self._upper, self._means())
        self.optimizer = self._optimizer()
        newest = checkpoint.latest_complete(recipe.output / CHECKPOINTS)
        if newest is not None:
            self._restore(checkpoint.load(newest))

    @property
    def _upper(self) -> nn.ModuleList:
        return nn.ModuleList(bert_of(self.model).encoder.layer[self.below.num_frozen :])

    @property
    def _width(self) -> int:
        return int(self.model.get_embedding_dimension() or 0)

    @property
    def _all(self) -> Rows:
        return np.flatnonzero(self.targets >= 0)

    @property
    def rows(self) -> Rows:
        """What is learnt at the moment."""
        return self._all if self.judged else self.learnt

    def _means(self) -> Floats:
        """Of the vectors of each label's learnt samples, at length 1."""
        means = np.stack(
            [
                self.base_vectors[self.learnt[self.targets[self.learnt] == label]].mean(axis=0)
                for label in range(len(self.labels))
            ]
        )
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)

    def _optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            [
                {"params": list(self.network.layers.parameters()), "lr": LAYERS_RATE},
                {"params": list(self.network.softmax.parameters()), "lr": SOFTMAX_RATE},
            ],
            weight_decay=0.01,
            fused=True,
        )

    def batches_left(self) -> Iterator[Rows]:
        """Those after `step`; the seed alone decides their order."""
        while self.step < self.steps:
            done = self.step - (self._steps_of_first if self.judged else 0)
            epoch, place = divmod(done, _num_batches(self.rows))
            yield from self._epoch(epoch)[place:]

    def _epoch(self, epoch: int) -> list[Rows]:
        rng = np.random.default_rng([self.recipe.seed, epoch])
        batches: list[Rows] = []
        for some in _cut(rng.permutation(self.rows), SORTED_TOGETHER * BATCH_SIZE):
            batches += _cut(some[np.argsort(self.below.lengths[some], kind="stable")], BATCH_SIZE)
        return [batches[place] for place in rng.permutation(len(batches))]

    def rate(self) -> float:
        """Of the layers: linear up over the first tenth of either part, then linear down."""
        before, after = (
            (self._steps_of_first, self.steps) if self.judged else (0, self._steps_of_first)
        )
        done, steps = self.step - before, after - before
        return LAYERS_RATE * min((done + 1) / (WARM_UP * steps), (steps - done) / steps, 1.0)

    def learn(self, rows: Rows) -> None:
        started = time.perf_counter()
        rate = self.rate()
        layers, softmax = self.optimizer.param_groups
        layers["lr"], softmax["lr"] = rate, rate * SOFTMAX_RATE / LAYERS_RATE
        self.network.train()
        with _bfloat16():
            logits = self.network(*self.below.of(rows))
        loss = F.cross_entropy(logits.float(), torch.from_numpy(self.targets[rows]))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.layers.parameters(), 1.0)
        self.last_loss = float(loss.detach())
        if not math.isfinite(self.last_loss):
            raise NonFiniteLoss(f"the loss became {self.last_loss:g} at step {self.step + 1}")
        self.optimizer.step()
        self.network.eval()
        self.step += 1
        self.seconds += time.perf_counter() - started

    @property
    def is_to_be_judged(self) -> bool:
        return not self.judged and self.step == self._steps_of_first

    def judge(self) -> None:
        """Measure both stages on what was held out; from here on it is learnt with the others."""
        first, correct = self._first_stage(), self.targets[self.held]
        vectors = self._vectors(self.network)[self.held]

        def sharpened(log_sharpness: float) -> Probabilities:
            return of_both(first, self.head(math.exp(log_sharpness)).probabilities(vectors))

        found = minimize_scalar(
            lambda value: _log_loss(sharpened(value), correct) + value**2 / len(correct),
            bounds=(-1.5, 1.5),
            method="bounded",
        )
        both = sharpened(found.x)
        self.judged = {
            "held_out": len(self.held),
            "unsure": round(float((first.max(axis=1) < SURE).mean()), 4),
            "sharpness": round(math.exp(found.x), 4),
            "before": _figures(first, correct),
            "after": _figures(both, correct),
        }
        self.optimizer = self._optimizer()

    def _first_stage(self) -> Probabilities:
        """The classifier's probabilities of what was held out, learnt from the rest."""
        outside = np.flatnonzero(self.targets < 0)
        rows = np.concatenate([self.learnt, outside])
        classifier = IntentClassifier(
            [self.samples.texts[row] for row in rows],
            [self.samples.labels[row] for row in rows],
            self.base_vectors[rows],
        )
        texts = [self.samples.texts[row] for row in self.held]
        return classifier.probabilities(classifier.scores(texts, self.base_vectors[self.held]))

    def _vectors(self, network: Tuned) -> Floats:
        """Unit vectors of all samples, of shape (n, d)."""
        found = np.empty((len(self.targets), self._width), dtype=np.float32)
        with torch.inference_mode():
            for rows in _cut(np.argsort(self.below.lengths, kind="stable"), 64):
                found[rows] = network.vectors(*self.below.of(rows)).numpy()
        return found

    def head(self, sharpness: float) -> IntentHead:
        weights = self.network.softmax.weight.detach().numpy()
        bias = self.network.softmax.bias.detach().numpy()
        return IntentHead(
            labels=tuple(self.labels),
            weights=np.float32(sharpness) * weights,
            bias=np.float32(sharpness) * bias,
        )

    def tuned_model(self) -> SentenceTransformer:
        """The whole encoder with the layers as they have been learnt."""
        self._upper.load_state_dict(self.network.layers.state_dict())
        return self.model

    def save(self) -> None:
        checkpoint.save(
            self.recipe.output / CHECKPOINTS,
            checkpoint.Snapshot(
                step=self.step,
                trained={name: value.clone() for name, value in self.network.state_dict().items()},
                optimizer=checkpoint.tensors_of(self.optimizer),
                rng={"torch": torch.get_rng_state()},
                state={
                    "identity": self._identity(),
                    "seconds": self.seconds,
                    "loss": self.last_loss,
                    "judged": self.judged,
                },
            ),
            keep=1,
        )

    def _restore(self, snapshot: checkpoint.Snapshot) -> None:
        if snapshot.state["identity"] != self._identity():
            raise OtherRun(
                f"{self.recipe.output_dir} holds the checkpoints of a run with another seed or other "
                "samples; use an empty output directory"
            )
        self.judged = snapshot.state["judged"]
        self.network.load_state_dict(snapshot.trained)
        checkpoint.restore_optimizer(self.optimizer, snapshot.optimizer)
        torch.set_rng_state(snapshot.rng["torch"])
        self.step, self.seconds = snapshot.step, snapshot.state["seconds"]
        self.last_loss = snapshot.state["loss"]

    def _identity(self) -> list[Any]:
        return [self.recipe.seed, len(self.targets), len(self.labels), self.steps]


def held_out(targets: Rows, seed: int) -> tuple[Rows, Rows]:
    """A fifth of each label's samples, and the others; those of no label (-1) in neither."""
    rng = np.random.default_rng(seed)
    held = [
        row
        for label in range(targets.max(initial=-1) + 1)
        for rows in [np.flatnonzero(targets == label)]
        for row in rng.permutation(rows)[: num_held_out(len(rows))]
    ]
    return np.sort(held).astype(np.intp), np.setdiff1d(np.flatnonzero(targets >= 0), held)


def _cut(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _num_batches(rows: Rows) -> int:
    return math.ceil(len(rows) / BATCH_SIZE)


def _bfloat16() -> torch.autocast:
    """Half the time, on processors that multiply it; others would take longer."""
    able = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=able)


def _log_loss(said: Probabilities, correct: Rows) -> float:
    return float(-np.log(said[np.arange(len(correct)), correct] + 1e-12).mean())


def _figures(said: Probabilities, correct: Rows) -> dict[str, float]:
    right = float((said.argmax(axis=1) == correct).mean())
    return {"accuracy": round(right, 4), "log_loss": round(_log_loss(said, correct), 4)}


def train(recipe: IntentRecipe, *, should_stop: Callable[[], bool], journal: Journal) -> bool:
    """Train to the end and write the encoder and its figures (True), or stop in between (False);
    then the state after the last whole step is in a checkpoint."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    journal.phase("preparing")
    run = Run(recipe, Samples.read(Path(recipe.samples)))
    journal.phase("training", f"continued after step {run.step}" if run.step else "")
    for rows in run.batches_left():
        if should_stop():
            if run.step:
                run.save()
            return False
        rate = run.rate()
        run.learn(rows)
        journal.measured(run, rate)
        if run.is_to_be_judged:
            journal.phase("evaluating")
            run.judge()
            run.save()
            journal.phase("training")
        elif run.step % SAVE_EVERY_STEPS == 0:
            run.save()
    journal.phase("exporting")
    head = run.head(run.judged["sharpness"])
    write_encoder(run.tuned_model(), recipe.output / ENCODER, beside=head.save_in)
    write_json(
        recipe.output / RESULT,
        {
            **run.judged,
            "samples": len(run.targets),
            "intents": len(run.labels),
            "steps": run.steps,
            "loss": run.last_loss,
            "seconds": run.seconds,
        },
    )
    return True


def execute(recipe: IntentRecipe) -> int:
    return to_its_end(recipe.output, partial(train, recipe))


def main(arguments: Sequence[str] | None = None) -> int:
    return run_from(
        arguments,
        "modeling.intents.finetune",
        lambda text: IntentRecipe(**json.loads(text)),
        execute,
    )


if __name__ == "__main__":
    sys.exit(main())
