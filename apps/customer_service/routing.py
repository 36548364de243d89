"""Which of several offered services a message belongs to, and what goes along from one to another."""

from collections.abc import Mapping
from typing import TypeVar

from apps.customer_service.schema import Service
from apps.customer_service.tracker import Ranking, State, empty_state

Key = TypeVar("Key")
LEAD = 0.03
"""By so much another service must be nearer than the one spoken of so far."""


def is_free(state: State) -> bool:
    """No task is in hand, so the next message may belong to another service."""
    return not (state["intent"] or state["waiting"] or state["asked"])


def nearest(current: Key, rankings: Mapping[Key, Ranking]) -> Key:
    """The service whose intents the message is nearest to; the current one unless another leads."""

    def score(key: Key) -> float:
        scored = rankings[key].scored
        return scored[0][1] if scored else 0.0

    best = max(rankings, key=score)
    return best if score(best) > score(current) + LEAD else current


def carried_over(state: State, before: Service, after: Service) -> State:
    """A new state for `after` with what holds for the whole conversation in both services alike."""
    known = {slot.name: slot for slot in after.slots if slot.keep}
    slots = {
        name: entry
        for name, entry in state["slots"].items()
        if name in known and before.slot(name).keep and before.slot(name).kind == known[name].kind
        if before.slot(name).pattern == known[name].pattern
    }
    return {**empty_state(), "slots": slots}
