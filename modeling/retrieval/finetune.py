"""Fine-tuning the encoder on questions with the passages that answer them.

    python -m modeling.retrieval.finetune --recipe recipe.json

The loss is InfoNCE over the passages of the batch and each question's hard negatives (van den Oord
et al. 2018), computed by sentence-transformers with GradCache (Gao et al. 2021), so that the batch
that gives the negatives costs the memory of a few texts only. The loop around it is ours for the
same reason as in `modeling.training.trainer`: a checkpoint holds all that decides the result, so a
run that was killed ends with the same weights as one that was not, and the library's own trainer
needs the `datasets` package with its hundred megabytes.

Questions that are held out are ranked against a sample of the passages, before and after. It writes
`metrics.jsonl`, `state.json`, `checkpoints/`, `encoder/` and `result.json` into the output directory;
the exit codes are those of `modeling.training.run`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from transformers.utils.logging import disable_progress_bar

from modeling.retrieval.finetune_recipe import ENCODER, EncoderRecipe, Pair, read_pairs
from modeling.training import checkpoint
from modeling.training.run import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_LOCKED,
    METRICS,
    RESULT,
    STATE,
    AlreadyRunning,
    Stop,
    cause,
    lock,
)
from modeling.training.trainer import NonFiniteLoss, OtherRun, TrainingError, peak_memory_bytes
from modeling.weights.manifest import write_json, write_manifest

CHECKPOINTS = "checkpoints"
DEPTH = 10
"""Of the ranking that is judged, as in nDCG@10 and recall@10."""
BACKGROUND = 20
"""Passages nearest to a question of which the wrong ones tell how close wrong ones come."""
_SCALE = 20.0
"""Inverse temperature; the one that the shipped encoder was trained with."""
_AT_ONCE = 8
"""Texts whose activations are in memory at the same time."""
_WARM_UP = 0.1

R = TypeVar("R")


class TooFewPairs(TrainingError):
    code = "no_usable_data"


def batches(pairs: Sequence[Pair], *, size: int, seed: int, epoch: int) -> list[list[Pair]]:
    """All pairs in a random order, in batches in which no text stands twice.

    Every passage of a batch counts as wrong for every other question, so two pairs of one question
    or of one passage must not meet.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs))
    waiting = [pairs[place] for place in order]
    made: list[list[Pair]] = []
    while waiting:
        batch: list[Pair] = []
        taken: set[str] = set()
        wrong: set[str] = set()
        left: list[Pair] = []
        for pair in waiting:
            texts = {pair.query, pair.positive}
            negatives = set(pair.negatives)
            apart = taken.isdisjoint(texts | negatives) and wrong.isdisjoint(texts)
            if len(batch) < size and apart:
                batch.append(pair)
                taken |= texts
                wrong |= negatives
            else:
                left.append(pair)
        made.append(batch)
        waiting = left
    return made


# Judging ------------------------------------------------------------------------------------------

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How well the held-out questions find what answers them, among the passages, by vectors alone."""

    figures: dict[str, dict[str, float]]
    """By origin, and "all": `ndcg10`, `recall10` from 0 to 1, `questions`."""
    background: tuple[float, float]
    """Mean and standard deviation of the cosines of the nearest passages that don't answer."""


def judge(model: SentenceTransformer, pairs: Sequence[Pair], passages: dict[int, str]) -> Judgement:
    ids = list(passages)
    encode = _encoder_of(model)
    held = encode([passages[each] for each in ids])
    asked = encode([pair.query for pair in pairs])
    rows: dict[str, list[tuple[float, float]]] = {}
    wrong: list[float] = []
    for pair, vector in zip(pairs, asked, strict=True):
        cosines = held @ vector
        order = np.argsort(-cosines, kind="stable")[: max(DEPTH, BACKGROUND)]
        right = [ids[place] in pair.answers for place in order]
        gained = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(right[:DEPTH]) if hit)
        best = sum(1 / math.log2(rank + 2) for rank in range(min(len(pair.answers), DEPTH)))
        found = sum(right[:DEPTH]) / len(pair.answers)
        for group in ("all", pair.origin):
            rows.setdefault(group, []).append((gained / best, found))
        wrong += [float(cosines[p]) for p, hit in zip(order, right, strict=True) if not hit]
    figures = {
        group: {
            "ndcg10": round(float(np.mean([ndcg for ndcg, _ in both])), 4),
            "recall10": round(float(np.mean([recall for _, recall in both])), 4),
            "questions": len(both),
        }
        for group, both in rows.items()
    }
    mean, deviation = (float(np.mean(wrong)), float(np.std(wrong))) if wrong else (0.0, 1.0)
    return Judgement(figures=figures, background=(mean, deviation))


def _encoder_of(model: SentenceTransformer) -> Callable[[Sequence[str]], Floats]:
    def encode(texts: Sequence[str]) -> Floats:
        """Unit vectors (len(texts), width), float32."""
        vectors = model.encode(
            list(texts), batch_size=32, show_progress_bar=False, normalize_embeddings=True
        )
        return np.asarray(vectors, dtype=np.float32)

    return encode


def same_scale(before: Judgement, after: Judgement) -> tuple[float, float]:
    """`scale` and `shift` that bring the tuned encoder's cosines to those of its base.

    Whether a passage is about the question at all is judged by cosines of the base. Tuning pushes
    all of them down or up; this keeps those of wrong passages where they were, so that as many
    unanswerable questions go unanswered, and leaves to the right ones what was gained.
    """
    (mean, deviation), (tuned_mean, tuned_deviation) = before.background, after.background
    scale = deviation / tuned_deviation if tuned_deviation > 1e-6 else 1.0
    return round(scale, 4), round(mean - scale * tuned_mean, 4)


# Learning -----------------------------------------------------------------------------------------


class Run:
    """A model in training with its optimiser, from the newest complete checkpoint if any."""

    def __init__(self, recipe: EncoderRecipe, pairs: Sequence[Pair]) -> None:
        self.recipe, self.pairs = recipe, pairs
        torch.manual_seed(recipe.seed)
        self.model = SentenceTransformer(recipe.base, device="cpu", local_files_only=True)
        self.longest: int = self.model.max_seq_length or recipe.max_tokens
        self.loss = CachedMultipleNegativesRankingLoss(
            self.model, scale=_SCALE, mini_batch_size=_AT_ONCE
        )
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=0.01
        )
        self.per_epoch = len(self._epoch(0))
        self.steps = max(1, round(self.per_epoch * recipe.epochs))
        self.step = 0
        self.seconds = 0.0
        self.last_loss: float | None = None
        self.before: Judgement | None = None
        newest = checkpoint.latest_complete(recipe.output / CHECKPOINTS)
        if newest is not None:
            self._restore(checkpoint.load(newest))

    def _epoch(self, epoch: int) -> list[list[Pair]]:
        size, seed = self.recipe.batch_size, self.recipe.seed
        made = batches(self.pairs, size=size, seed=seed, epoch=epoch)
        # One pair alone has nothing to be told apart from.
        return [batch for batch in made if len(batch) > 1 or batch[0].negatives]

    def batches_left(self) -> Iterator[list[Pair]]:
        """Those after `step`; the order depends on the seed alone."""
        epoch, place = divmod(self.step, self.per_epoch)
        while True:
            made = self._epoch(epoch)
            # Another epoch may fall into other batches, one more or less.
            for number in range(place, self.per_epoch):
                yield made[number % len(made)]
            epoch, place = epoch + 1, 0

    def rate(self) -> float:
        """Linear up over the first tenth, then linear down."""
        warm = max(1, round(_WARM_UP * self.steps))
        if self.step < warm:
            return self.recipe.learning_rate * (self.step + 1) / warm
        return self.recipe.learning_rate * (self.steps - self.step) / max(1, self.steps - warm)

    def learn(self, batch: Sequence[Pair]) -> float:
        started = time.perf_counter()
        self.model.train()
        self.model.max_seq_length = min(self.recipe.max_tokens, self.longest)
        columns = [[pair.query for pair in batch], [pair.positive for pair in batch]]
        if negatives := [text for pair in batch for text in pair.negatives]:
            columns.append(negatives)
        features = [self.model.preprocess(column) for column in columns]
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss = self.loss(features, torch.empty(0))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise NonFiniteLoss(
                f"the loss became {value:g} at step {self.step + 1}; lower the learning rate (it is "
                f"{self.recipe.learning_rate:g}) and start a new job"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.model.max_seq_length = self.longest
        self.model.eval()
        self.step += 1
        self.last_loss = value
        self.seconds += time.perf_counter() - started
        return value

    def save(self) -> None:
        checkpoint.save(
            self.recipe.output / CHECKPOINTS,
            checkpoint.Snapshot(
                step=self.step,
                trained={
                    name: weight.contiguous() for name, weight in self.model.state_dict().items()
                },
                optimizer=checkpoint.tensors_of(self.optimizer),
                rng={"torch": torch.get_rng_state()},
                state={
                    "identity": self._identity(),
                    "seconds": self.seconds,
                    "loss": self.last_loss,
                    "before": asdict(self.before) if self.before else None,
                },
            ),
            keep=1,
        )

    def _restore(self, snapshot: checkpoint.Snapshot) -> None:
        if snapshot.state["identity"] != self._identity():
            raise OtherRun(
                f"{self.recipe.output_dir} holds the checkpoints of a run with another recipe or "
                "other pairs; use an empty output directory"
            )
        self.model.load_state_dict(snapshot.trained)
        checkpoint.restore_optimizer(self.optimizer, snapshot.optimizer)
        torch.set_rng_state(snapshot.rng["torch"])
        self.step, self.seconds = snapshot.step, snapshot.state["seconds"]
        self.last_loss = snapshot.state["loss"]
        if (before := snapshot.state["before"]) is not None:
            mean, deviation = before["background"]
            self.before = Judgement(figures=before["figures"], background=(mean, deviation))

    def _identity(self) -> list[Any]:
        recipe = self.recipe
        return [
            recipe.epochs,
            recipe.learning_rate,
            recipe.batch_size,
            recipe.seed,
            len(self.pairs),
        ]


class Measured(Protocol):
    """Where a run is."""

    step: int
    steps: int
    seconds: float
    last_loss: float | None


@dataclass(frozen=True, kw_only=True)
class Journal:
    """What the worker reads: where the run is, and a line for each step."""

    output: Path

    def phase(self, phase: str, message: str = "", *, code: str = "") -> None:
        write_json(
            self.output / STATE,
            {"phase": phase, "message": message, "code": code, "at": time.time()},
        )

    def measured(self, run: Measured, rate: float) -> None:
        line = {
            "step": run.step,
            "steps": run.steps,
            "loss": run.last_loss,
            "learning_rate": rate,
            "seconds": run.seconds,
            "memory_bytes": peak_memory_bytes(torch.device("cpu")),
            "at": time.time(),
        }
        with (self.output / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def train(recipe: EncoderRecipe, *, should_stop: Callable[[], bool], journal: Journal) -> bool:
    """Train to the end and write the encoder and its figures (True), or stop in between (False);
    then the state after the last whole step is in a checkpoint."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    journal.phase("preparing")
    every = read_pairs(Path(recipe.pairs))
    learnt = [pair for pair in every if not pair.held_out]
    judged = [pair for pair in every if pair.held_out]
    if len(learnt) < 2:
        raise TooFewPairs(f"there are {len(learnt)} pairs to learn from; at least 2 are needed")
    with Path(recipe.passages).open(encoding="utf-8") as lines:
        passages = {row["id"]: row["text"] for row in map(json.loads, lines)}
    run = Run(recipe, learnt)
    run.model.eval()
    if judged and run.before is None:
        journal.phase("evaluating")
        run.before = judge(run.model, judged, passages)
    journal.phase("training", f"continued after step {run.step}" if run.step else "")
    for batch in run.batches_left() if run.step < run.steps else ():
        if should_stop():
            if run.step:
                run.save()
            return False
        rate = run.rate()
        run.learn(batch)
        journal.measured(run, rate)
        if run.step >= run.steps:
            break
        if run.step % recipe.save_every_steps == 0:
            run.save()
    run.save()
    if should_stop():
        return False
    after = None
    if judged:
        journal.phase("evaluating")
        after = judge(run.model, judged, passages)
    journal.phase("exporting")
    write_encoder(run.model, recipe.output / ENCODER)
    scale, shift = same_scale(run.before, after) if run.before and after else (1.0, 0.0)
    write_json(
        recipe.output / RESULT,
        {
            "steps": run.steps,
            "pairs": len(learnt),
            "held_out": len(judged),
            "passages": len(passages),
            "loss": run.last_loss,
            "seconds": run.seconds,
            "before": run.before.figures if run.before else {},
            "after": after.figures if after else {},
            "cosine_scale": scale,
            "cosine_shift": shift,
        },
    )
    return True


def write_encoder(
    model: SentenceTransformer, folder: Path, *, beside: Callable[[Path], None] | None = None
) -> None:
    """The model's files with a manifest, whole or not at all; `beside` writes more into the folder."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), create_model_card=False, safe_serialization=True)
    if beside:
        beside(part)
    names = sorted(str(path.relative_to(part)) for path in part.rglob("*") if path.is_file())
    write_manifest(part, names, dimension=model.get_embedding_dimension())
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(part, folder)


def execute(recipe: EncoderRecipe) -> int:
    """Run a recipe to its end, its interruption or its failure; returns the exit code."""
    return to_its_end(recipe.output, partial(train, recipe))


class Train(Protocol):
    def __call__(self, *, should_stop: Callable[[], bool], journal: Journal) -> bool:
        """False if it was stopped in between."""


def to_its_end(output: Path, train_there: Train) -> int:
    """Let it write into `output`, until its end, its interruption or its failure; the exit code."""
    output.mkdir(parents=True, exist_ok=True)
    stop = Stop(output)
    journal = Journal(output=output)
    with lock(output):
        stop.listen()
        if (output / RESULT).is_file():
            journal.phase("done", "the encoder was already complete")
            return EXIT_DONE
        try:
            if train_there(should_stop=stop.asked, journal=journal):
                journal.phase("done")
                return EXIT_DONE
        except Exception as error:
            code, message = cause(error)
            journal.phase("failed", message, code=code)
            if code == "unexpected":
                raise
            sys.stderr.write(f"{message}\n")
            return EXIT_FAILED
        if stop.cancelled:
            journal.phase("cancelled")
            return EXIT_DONE
        journal.phase("interrupted")
        return EXIT_INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> int:
    return run_from(arguments, "modeling.retrieval.finetune", EncoderRecipe.from_json, execute)


def run_from(
    arguments: Sequence[str] | None,
    module: str,
    read: Callable[[str], R],
    run: Callable[[R], int],
) -> int:
    """The command line of a trainer: a recipe in, an exit code out."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    disable_progress_bar()
    try:
        recipe = read(options.recipe.read_text("utf-8"))
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"the recipe {options.recipe} cannot be used: {error}\n")
        return EXIT_FAILED
    try:
        return run(recipe)
    except AlreadyRunning as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_LOCKED


if __name__ == "__main__":
    sys.exit(main())
