"""What a run of `modeling.intents.finetune` is told, without loading PyTorch."""

from dataclasses import dataclass
from pathlib import Path

HELD_OUT = 0.2
FEWEST_HELD_OUT = 20
"""Fewer don't tell which of two classifiers is better."""


def num_held_out(num_samples: int) -> int:
    """How many of so many samples of one intent are left out at first, to judge by."""
    return round(HELD_OUT * num_samples)


@dataclass(frozen=True, kw_only=True)
class IntentRecipe:
    """One run; `base`, `samples` and `seed` decide the weights."""

    base: str
    """Folder of the sentence-transformers model to begin with."""
    samples: str
    """JSONL of `{"text", "intent"}`; the intent "" is none of them."""
    output_dir: str
    seed: int = 0
    threads: int = 1
    """0 leaves PyTorch's choice."""

    @property
    def output(self) -> Path:
        return Path(self.output_dir)
