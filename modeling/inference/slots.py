"""Which request runs in which of an engine's slots, and whose cached prefix it may reuse."""

import os.path
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True, kw_only=True)
class CacheKey:
    """Requests may share a cached prefix only when both fields are equal."""

    model: str
    salt: str
    """Chosen by the caller, such as one per tenant: a shared prefix answers faster, and that
    difference in time would tell one tenant what another has asked."""


@dataclass
class _Slot:
    key: CacheKey | None = None
    prompt: str = ""
    busy: bool = False
    last_used: int = 0


@dataclass(frozen=True, kw_only=True)
class SlotClaim:
    slot_id: int
    reuse_prefix: bool


class SlotTable:
    """The slots of one engine process. A slot stays with its key until no other one is free."""

    def __init__(self, num_slots: int) -> None:
        self._slots = [_Slot() for _ in range(num_slots)]
        self._clock = count(1)

    @property
    def num_busy(self) -> int:
        return sum(slot.busy for slot in self._slots)

    def claim(self, key: CacheKey, prompt: str) -> SlotClaim | None:
        """Take the free slot that saves most work, or None if all are busy."""
        free = [index for index, slot in enumerate(self._slots) if not slot.busy]
        if not free:
            return None
        same_key = [index for index in free if self._slots[index].key == key]
        unused = [index for index in free if self._slots[index].key is None]
        chosen = max(same_key, key=lambda index: self._shared_prefix(index, prompt), default=None)
        # Another conversation over the same description would lose the end of its prefix, and the two
        # would throw each other out at every turn while slots lie idle.
        if chosen is not None and unused and self._throws_away(chosen, prompt):
            chosen = unused[0]
        elif chosen is None:
            chosen = min(free, key=lambda index: self._slots[index].last_used)
        slot = self._slots[chosen]
        claim = SlotClaim(slot_id=chosen, reuse_prefix=slot.key == key)
        slot.key, slot.prompt, slot.busy = key, prompt, True
        slot.last_used = next(self._clock)
        return claim

    def release(self, slot_id: int) -> None:
        self._slots[slot_id].busy = False

    def _throws_away(self, index: int, prompt: str) -> bool:
        return self._shared_prefix(index, prompt) < len(self._slots[index].prompt)

    def _shared_prefix(self, index: int, prompt: str) -> int:
        # Not a path: characters are what is compared, and this does it without a Python loop.
        return len(os.path.commonprefix([self._slots[index].prompt, prompt]))  # noqa: RUF071
