"""The measures of the schema-guided dialogues, per frame of a turn of the person.

As the data's own evaluation counts them (Rastogi et al., arXiv 1909.05855): joint goal accuracy is
the share of frames whose whole state is right; the F1 of requested slots is the mean over frames,
and a frame with nothing requested counts as 1 when nothing is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modeling.state_tracking.format import Change, ServiceText
from modeling.state_tracking.sgd import Step, Track

Similarity = Callable[[str, str], float]
"""Of two texts, from 0 to 1."""


@dataclass(kw_only=True)
class Scores:
    """Collects frames; `summary` gives the means."""

    seen_services: frozenset[str]
    similarity: Similarity | None = None
    """For the fuzzy figure; without one it is left out."""
    _frames: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        track: Track,
        step: Step,
        service: ServiceText,
        state: Mapping[str, str],
        change: Change,
    ) -> bool:
        """Score one frame; whether its state is exactly right."""
        exact = state.keys() == step.state.keys() and all(
            state[slot] in variants for slot, variants in step.state.items()
        )
        self._frames.append(
            {
                "exact": float(exact),
                "fuzzy": self._fuzzy(step, service, state),
                "intent": float(change.intent == step.intent),
                "requested": _f1(set(step.requested), set(change.requested)),
                "seen": track.service in self.seen_services,
                "single": len(track.services) == 1,
            }
        )
        return exact

    def _fuzzy(self, step: Step, service: ServiceText, state: Mapping[str, str]) -> float:
        if self.similarity is None or state.keys() != step.state.keys():
            return 0.0
        product = 1.0
        for slot, variants in step.state.items():
            if service.slot(slot).values:
                product *= float(state[slot] in variants)
            else:
                product *= max(self.similarity(state[slot], variant) for variant in variants)
        return product

    def summary(self) -> dict[str, float | int | None]:
        """Per cent, one decimal; None where no frame counts."""

        def mean(measure: str, **wanted: bool) -> float | None:
            values = [
                frame[measure]
                for frame in self._frames
                if all(frame[name] == value for name, value in wanted.items())
            ]
            return round(100 * sum(values) / len(values), 1) if values else None

        return {
            "frames": len(self._frames),
            "jga": mean("exact"),
            "jga_fuzzy": mean("fuzzy") if self.similarity else None,
            "jga_seen": mean("exact", seen=True),
            "jga_unseen": mean("exact", seen=False),
            "jga_single": mean("exact", single=True),
            "jga_multi": mean("exact", single=False),
            "intent": mean("intent"),
            "requested_f1": mean("requested"),
        }


def _f1(right: set[str], given: set[str]) -> float:
    if not right:
        return float(not given)
    common = len(right & given)
    return 2 * common / (len(right) + len(given))
