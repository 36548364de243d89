"""From conversations to packed sequences.

The conversations are encoded once into a folder of flat arrays that is then memory-mapped, so the
data need not fit into memory and a resumed run does not encode again. Which conversations share a
sequence follows from lengths, seed and epoch alone: the position in the data is two integers.

Shapes: S = packed sequence, D = conversations in it, T = tokens in it, L = supervised tokens.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import queue
import random
import threading
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from modeling.training.chat import ChatTemplateError, ChatTokenizer, Encoded
from modeling.training.conversations import Conversation, read_conversations

IGNORED = -100
_Item = TypeVar("_Item")
_BATCH = 256
_WINDOW = 4096


class Cursor(NamedTuple):
    """The next packed sequence to train on."""

    epoch: int = 0
    sequence: int = 0


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What was encoded, and what was left out and why."""

    fingerprint: str
    conversations: int
    tokens: int
    supervised_tokens: int
    too_long: int
    rejected: int


def _fingerprint(data_path: Path, model_dir: Path, max_tokens: int) -> str:
    """Changes when the encoded data would change."""
    digest = hashlib.sha256(f"tokens-1 {max_tokens}".encode())
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    for path in (data_path, *(model_dir / name for name in names)):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(b"\0")
    return digest.hexdigest()


class TokenStore:
    """Encoded conversations on disk: `token_ids`, `supervised` and where each one starts."""

    def __init__(self, directory: Path) -> None:
        self.inventory = Inventory(**json.loads((directory / "inventory.json").read_text()))
        self._token_ids = np.load(directory / "token_ids.npy", mmap_mode="r", allow_pickle=False)
        self._supervised = np.load(directory / "supervised.npy", mmap_mode="r", allow_pickle=False)
        self._starts = np.load(directory / "starts.npy", mmap_mode="r", allow_pickle=False)
        self.hashes = np.load(directory / "hashes.npy", mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self._starts)

    def tokens(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids (int32) and supervised marks (bool) of one conversation."""
        span = slice(self._starts[index], self._starts[index + 1])
        return self._token_ids[span], self._supervised[span]

    @classmethod
    def open(cls, directory: Path, *, max_tokens: int) -> TokenStore:
        """Conversations that were encoded before; raises ValueError if one is too long."""
        store = cls(directory)
        longest = int(store.lengths.max(initial=0))
        if longest > max_tokens:
            raise ValueError(
                f"a conversation of the encoded data in {directory} has {longest} tokens and "
                f"max_tokens is {max_tokens}; raise max_tokens or encode the data again"
            )
        return store

    @classmethod
    def build(
        cls, directory: Path, *, data_path: Path, model_dir: Path, max_tokens: int
    ) -> TokenStore:
        """Encode the data, or open what an earlier start encoded from the same data."""
        fingerprint = _fingerprint(data_path, model_dir, max_tokens)
        inventory_file = directory / "inventory.json"
        if inventory_file.is_file():
            known = json.loads(inventory_file.read_text())
            if known["fingerprint"] == fingerprint:
                return cls(directory)
            inventory_file.unlink()
        chat = ChatTokenizer.load(model_dir)
        left_out = Counter[str]()

        def usable() -> Iterator[Encoded]:
            conversations = read_conversations(data_path)
            while batch := list(islice(conversations, _BATCH)):
                for encoded in _encode(chat, batch):
                    if encoded is None:
                        left_out["rejected"] += 1
                    elif len(encoded.token_ids) > max_tokens:
                        left_out["too_long"] += 1
                    else:
                        yield encoded

        return cls.write(directory, usable(), fingerprint=fingerprint, left_out=left_out)

    @classmethod
    def write(
        cls,
        directory: Path,
        conversations: Iterable[Encoded],
        *,
        fingerprint: str,
        left_out: Mapping[str, int] = MappingProxyType({}),
    ) -> TokenStore:
        """Write encoded conversations as they come; `left_out` is read at the end.

        `fingerprint` says what they were made of; `build` opens a store whose fingerprint it knows.
        """
        directory.mkdir(parents=True, exist_ok=True)
        starts, hashes = [0], []
        supervised_tokens = 0
        raw_ids, raw_marks = directory / "token_ids.raw", directory / "supervised.raw"
        with raw_ids.open("wb") as ids_file, raw_marks.open("wb") as marks_file:
            for token_ids, supervised in conversations:
                ids = np.asarray(token_ids, dtype=np.int32)
                marks = np.asarray(supervised, dtype=np.bool_)
                # The first token has nothing before it that could predict it.
                marks[0] = False
                ids_file.write(ids.tobytes())
                marks_file.write(marks.tobytes())
                starts.append(starts[-1] + len(ids))
                supervised_tokens += int(marks.sum())
                digest = hashlib.sha256(ids.tobytes()).digest()
                hashes.append(int.from_bytes(digest[:8], "little"))
        for raw, name, dtype in (
            (raw_ids, "token_ids.npy", np.int32),
            (raw_marks, "supervised.npy", np.bool_),
        ):
            values = np.fromfile(raw, dtype=dtype)
            np.save(directory / name, values)
            raw.unlink()
        np.save(directory / "starts.npy", np.asarray(starts, dtype=np.int64))
        np.save(directory / "hashes.npy", np.asarray(hashes, dtype=np.uint64))
        inventory = Inventory(
            fingerprint=fingerprint,
            conversations=len(hashes),
            tokens=starts[-1],
            supervised_tokens=supervised_tokens,
            too_long=left_out.get("too_long", 0),
            rejected=left_out.get("rejected", 0),
        )
        # The inventory comes last and whole: without it the folder is built again.
        temporary = directory / "inventory.json.part"
        temporary.write_text(json.dumps(asdict(inventory), indent=2) + "\n")
        os.replace(temporary, directory / "inventory.json")
        return cls(directory)


def _encode(chat: ChatTokenizer, batch: list[Conversation]) -> Iterator[Encoded | None]:
    try:
        yield from chat.encode([c.messages for c in batch], [c.weights for c in batch])
    except ChatTemplateError:
        for conversation in batch:
            try:
                yield chat.encode([conversation.messages], [conversation.weights])[0]
            except ChatTemplateError:
                yield None


def hold_out(
    store: TokenStore, *, share: float, at_most: int, seed: int
) -> tuple[list[int], list[int]]:
    """Split into (training, evaluation) conversations; equal ones fall on the same side."""
    if share == 0.0 or len(store) < 2:
        return list(range(len(store))), []
    ranked = sorted(
        (hashlib.sha256(f"{seed} {content}".encode()).digest(), content)
        for content in {int(content) for content in store.hashes}
    )
    count = min(at_most, math.ceil(share * len(ranked)), len(ranked) - 1)
    held = {content for _, content in ranked[:count]}
    training, evaluation = [], []
    seen = set()
    for index, content in enumerate(store.hashes):
        if int(content) not in held:
            training.append(index)
        elif int(content) not in seen:
            seen.add(int(content))
            evaluation.append(index)
    return training, evaluation


def pack(
    indices: Sequence[int], lengths: np.ndarray, *, max_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """Groups of conversations, each of at most `max_tokens` tokens together.

    Best fit over shuffled windows: the order stays random, little space is lost, and the result
    is the same for the same seed and epoch.
    """
    order = list(indices)
    generator = random.Random(f"{seed} {epoch}")  # noqa: S311 - order of training, not a secret
    generator.shuffle(order)
    sequences: list[list[int]] = []
    for start in range(0, len(order), _WINDOW):
        window = sorted(order[start : start + _WINDOW], key=lambda index: -int(lengths[index]))
        packed: list[list[int]] = []
        room: list[tuple[int, int]] = []
        for index in window:
            length = int(lengths[index])
            position = bisect_left(room, (length, -1))
            if position == len(room):
                packed.append([index])
                insort(room, (max_tokens - length, len(packed) - 1))
            else:
                left, place = room.pop(position)
                packed[place].append(index)
                insort(room, (left - length, place))
        generator.shuffle(packed)
        sequences.extend(packed)
    return sequences


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One packed sequence, ready for the model.

    token_ids: (1, T) int64; position_ids: (1, T) int64, from 0 in each conversation;
    bounds: D + 1 start positions and the end, also as a tensor (D + 1,) int32; places: (L,) int64, positions whose *next* token is
    learnt; targets: (L,) int64, those next tokens.
    """

    token_ids: torch.Tensor
    position_ids: torch.Tensor
    bounds: tuple[int, ...]
    bounds_tensor: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor

    @property
    def num_tokens(self) -> int:
        return self.token_ids.shape[1]

    def pin(self) -> Batch:
        """The same in page-locked memory, from where a GPU copies beside its work."""
        return Batch(
            token_ids=self.token_ids.pin_memory(),
            position_ids=self.position_ids.pin_memory(),
            bounds=self.bounds,
            bounds_tensor=self.bounds_tensor.pin_memory(),
            places=self.places.pin_memory(),
            targets=self.targets.pin_memory(),
        )

    def to(self, device: torch.device) -> Batch:
        return Batch(
            token_ids=self.token_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            bounds=self.bounds,
            bounds_tensor=self.bounds_tensor.to(device, non_blocking=True),
            places=self.places.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
        )


def collate(store: TokenStore, sequence: Sequence[int]) -> Batch:
    """Lay the conversations of one sequence side by side, without padding."""
    pieces = [store.tokens(index) for index in sequence]
    token_ids = torch.from_numpy(np.concatenate([ids for ids, _ in pieces]).astype(np.int64))
    supervised = torch.from_numpy(np.concatenate([marks for _, marks in pieces]))
    lengths = [len(ids) for ids, _ in pieces]
    bounds = (0, *np.cumsum(lengths).tolist())
    # Token t is predicted at t - 1. The first token of a conversation is never supervised, so no
    # place lies in another conversation than its target.
    learnt = supervised.nonzero().squeeze(1)
    return Batch(
        token_ids=token_ids[None],
        position_ids=torch.cat([torch.arange(length) for length in lengths])[None],
        bounds=bounds,
        bounds_tensor=torch.tensor(bounds, dtype=torch.int32),
        places=learnt - 1,
        targets=token_ids[learnt],
    )


class Ahead(Iterator[_Item]):
    """The items of an iterator, made up to `depth` ahead in a thread of its own.

    An error in the thread is raised by the `next` that would have got the item. Close it, so that
    the thread ends.
    """

    def __init__(self, items: Iterator[_Item], *, depth: int) -> None:
        self._ready: queue.Queue[_Item | BaseException] = queue.Queue(maxsize=depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True)
        self._thread.start()

    def _fill(self, items: Iterator[_Item]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
            self._put(StopIteration())
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits for the item
            self._put(error)

    def _put(self, item: _Item | BaseException) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def __next__(self) -> _Item:
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order of training: which conversations form which sequence, epoch after epoch."""

    indices: list[int]
    lengths: np.ndarray
    max_tokens: int
    seed: int
    sequences_per_step: int
    steps: int

    @classmethod
    def of(
        cls,
        indices: list[int],
        lengths: np.ndarray,
        *,
        max_tokens: int,
        seed: int,
        sequences_per_step: int,
        steps: int,
        epochs: float,
    ) -> Plan:
        """`steps` above 0 sets the length of the run; otherwise `epochs` does."""
        if steps == 0:
            sequences = 0.0
            for epoch in range(math.ceil(epochs)):
                packed = pack(indices, lengths, max_tokens=max_tokens, seed=seed, epoch=epoch)
                sequences += len(packed) * min(1.0, epochs - epoch)
            steps = max(1, math.ceil(round(sequences, 6) / sequences_per_step))
        return cls(
            indices=indices,
            lengths=lengths,
            max_tokens=max_tokens,
            seed=seed,
            sequences_per_step=sequences_per_step,
            steps=steps,
        )

    def sequences(self, epoch: int) -> list[list[int]]:
        return pack(
            self.indices, self.lengths, max_tokens=self.max_tokens, seed=self.seed, epoch=epoch
        )

    def steps_from(self, cursor: Cursor) -> Iterator[tuple[list[list[int]], Cursor]]:
        """The sequences of each following step, and the cursor after that step; never ends."""
        epoch, position = cursor
        sequences = self.sequences(epoch)
        while True:
            step: list[list[int]] = []
            while len(step) < self.sequences_per_step:
                if position == len(sequences):
                    epoch, position = epoch + 1, 0
                    sequences = self.sequences(epoch)
                step.append(sequences[position])
                position += 1
            yield step, Cursor(epoch, position)
