"""Texts to unit vectors, by a sentence-transformers model from a local folder."""

import copy
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from transformers.utils import logging as transformers_logging

from modeling.retrieval.packed import PackedEncoder

Vectors = npt.NDArray[np.float32]


class BulkEncoder(Protocol):
    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]: ...


class Encoder:
    """Safe to call from several threads; they take turns in the model."""

    def __init__(self, folder: Path, *, num_threads: int = 1) -> None:
        if not (folder / "modules.json").is_file():
            raise ValueError(
                f"{folder} is not a sentence-transformers model: it has no modules.json"
            )
        torch.set_num_threads(num_threads)
        transformers_logging.disable_progress_bar()
        self._model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self._model.eval()
        try:
            self._exact: PackedEncoder | None = PackedEncoder(self._model, arithmetic="float32")
        except TypeError:
            self._exact = None
        # The fast tokenizer keeps truncation and padding as state, so it is not shared at once.
        self._turn = Lock()

    @property
    def dimension(self) -> int:
        dimension = self._model.get_embedding_dimension()
        assert dimension is not None
        return int(dimension)

    @property
    def max_tokens(self) -> int:
        """The longest text in tokens, special tokens included; `encode` drops what is beyond."""
        length = self._model.max_seq_length
        assert length is not None
        return int(length)

    def for_bulk(self, num_threads: int) -> "list[BulkEncoder]":
        """One for each thread that encodes documents while this one answers questions. The same model,
        packed where its form allows it; see `modeling.retrieval.packed`."""
        if self._exact is None:
            return [self._twin() for _ in range(num_threads)]
        return [PackedEncoder(self._model)] * num_threads

    def _twin(self) -> "Encoder":
        """Another one on the same weights, so that both can encode at the same time."""
        other = copy.copy(self)
        other._model = copy.deepcopy(self._model, _kept(self._model))
        other._turn = Lock()
        return other

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Vectors:
        """Vectors of shape (len(texts), dimension), float32, each of length 1."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        if self._exact is not None:
            # The same vectors but for rounding, for a short question in two thirds of the time.
            return self._exact.encode_counted(texts)[0]
        with self._turn:
            vectors = self._model.encode(
                list(texts),
                batch_size=batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        return np.asarray(vectors, dtype=np.float32)

    def encode_counted(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """`encode` and `count_tokens` of the same texts."""
        return self.encode(texts), self.count_tokens(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens included."""
        if not texts:
            return []
        with self._turn:
            encoded = self._model.tokenizer(
                list(texts),
                truncation=False,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            )
        return [len(ids) for ids in encoded["input_ids"]]


def _kept(module: torch.nn.Module) -> dict[int, object]:
    """For `deepcopy`: the weights stay the same objects."""
    weights = [*module.parameters(), *module.buffers()]
    return {id(weight): weight for weight in weights}
