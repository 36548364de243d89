"""What a run of `modeling.retrieval.finetune` is told, and its pairs, without loading PyTorch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ENCODER = "encoder"
"""Folder of the result in the output directory."""


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe:
    """One run; everything but the directories and `threads` decides the weights."""

    base: str
    """Folder of the sentence-transformers model to begin with."""
    pairs: str
    """JSONL of `Pair`."""
    passages: str
    """JSONL of `{"id", "text"}`: what the held-out questions are ranked against."""
    output_dir: str
    epochs: float = 2.0
    learning_rate: float = 2e-5
    batch_size: int = 32
    max_tokens: int = 128
    """A text is cut to this while it is learnt; what is indexed is not."""
    save_every_steps: int = 20
    seed: int = 0
    threads: int = 1
    """0 leaves PyTorch's choice."""

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("epochs", 0.01, 100),
            ("learning_rate", 1e-7, 1e-2),
            ("batch_size", 2, 1024),
            ("max_tokens", 16, 512),
            ("save_every_steps", 1, 1_000_000),
            ("threads", 0, 1024),
        ):
            if not lowest <= getattr(self, name) <= highest:
                raise ValueError(
                    f"{name} must be from {lowest} to {highest}, got {getattr(self, name)}"
                )

    @classmethod
    def from_json(cls, text: str) -> EncoderRecipe:
        values = json.loads(text)
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown fields {', '.join(unknown)}; known are {sorted(known)}")
        return cls(**values)

    @property
    def output(self) -> Path:
        return Path(self.output_dir)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A question with a passage that answers it, as learnt or, if held out, as judged."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    """Passages that search finds for the question and that don't answer it."""
    origin: str = ""
    """Where it comes from; figures are told for each origin."""
    answers: tuple[int, ...] = ()
    """Ids of the passages that answer it."""
    held_out: bool = False


def read_pairs(path: Path) -> list[Pair]:
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Pair(**{**row, "negatives": tuple(row["negatives"]), "answers": tuple(row["answers"])})
        for row in rows
    ]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(json.dumps(asdict(pair), ensure_ascii=False) + "\n")
