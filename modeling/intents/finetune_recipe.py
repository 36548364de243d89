"""What a run of `modeling.intents.finetune` is told, without loading PyTorch."""

from dataclasses import dataclass
from pathlib import Path


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
