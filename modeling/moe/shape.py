"""The size of a mixture's routed part, as plain values: nothing heavy is imported to name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Experts:
    """How many routed experts are added, how wide they are, and how many work on one token."""

    number: int
    width: int
    top_k: int

    def __post_init__(self) -> None:
        # transformers sums the two best scores of a group, so a group has at least two experts.
        if self.number < 2:
            raise ValueError(f"number of routed experts is {self.number}; give 2 or more")
        if self.width < 1:
            raise ValueError(f"width of a routed expert is {self.width}; give 1 or more")
        if not 1 <= self.top_k <= self.number:
            raise ValueError(
                f"top_k is {self.top_k}; give 1 to {self.number}, the number of routed experts"
            )
