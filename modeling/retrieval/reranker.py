"""Putting passages in order for a question: what a search does with the few it has found.

`WordReranker` ships. It is late interaction as in ColBERT (Khattab and Zaharia, SIGIR 2020), but over
the encoder's word vectors instead of its contextual ones: every word piece of the question looks for
the nearest of the passage, and the fewer of the passages hold it the more it counts. So "cost" meets
"price" where exact matching sees nothing, and a passage costs about a millisecond of one core, where a
cross-encoder costs a pass of a whole model. `CrossEncoderReranker` is that: any of
sentence-transformers, by its folder.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from tokenizers import Tokenizer

Floats = npt.NDArray[np.float32]

WORD_VECTORS = "embeddings.word_embeddings.weight"
MAX_TOKENS = 512
COMMON_DIRECTIONS = 2
# Words that ask or join and say nothing about a subject. Passages seldom hold the asking ones, so
# that their rarity would make them the most important.
WITHOUT_SUBJECT = frozenset(
    "a an the is are was were be been am do does did doing to of in on at by for from with about into"
    " than as and or but not no yes what which who whom whose when where why how it its they them"
    " their theirs that this these those can could may might must shall should will would has have"
    " had having i me my mine we us our ours you your yours he him his she her hers if then there so"
    " any some such only own same too very just also please tell more most other s t".split()
)


class Reranker(Protocol):
    def score(self, question: str, passages: Sequence[str]) -> tuple[Floats, int]:
        """How well each passage answers, (len(passages),) float32 from 0 to 1, higher is better;
        and how many tokens were read."""
        ...


class WordReranker:
    """Safe to call from several threads."""

    def __init__(self, encoder: Path) -> None:
        """`encoder`: the sentence-transformers folder of a BERT."""
        with safe_open(str(encoder / "model.safetensors"), framework="numpy") as file:
            vectors = file.get_tensor(WORD_VECTORS).astype(np.float32)
        self._vectors = told_apart(vectors).astype(np.float16)
        self._tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._subjects = np.zeros(len(vectors), dtype=bool)
        for word, token in self._tokenizer.get_vocab().items():
            self._subjects[token] = _has_subject(word)

    def score(self, question: str, passages: Sequence[str]) -> tuple[Floats, int]:
        encoded = self._tokenizer.encode_batch([question, *passages])
        num_tokens = sum(len(each.ids) for each in encoded)
        asked, *held = (self._with_subject(each.ids) for each in encoded)
        if not len(asked) or not passages:
            return np.zeros(len(passages), dtype=np.float32), num_tokens
        wanted = self._vectors[asked].astype(np.float32)
        nearest = np.zeros((len(passages), len(asked)), dtype=np.float32)
        for place, tokens in enumerate(held):
            if len(tokens):
                cosines = wanted @ self._vectors[tokens].astype(np.float32).T
                nearest[place] = np.clip(cosines.max(axis=1), 0, 1)
        holding = np.sum([np.isin(asked, tokens) for tokens in held], axis=0)
        weights = _rarity(holding, len(passages))
        scores: Floats = (nearest @ weights / weights.sum()).astype(np.float32)
        return scores, num_tokens

    def _with_subject(self, tokens: Sequence[int]) -> npt.NDArray[np.int64]:
        """Each token once."""
        once = np.unique(np.array(tokens, dtype=np.int64))
        return once[self._subjects[once]]


class CrossEncoderReranker:
    """A sentence-transformers cross-encoder from a local folder: reads both texts together."""

    def __init__(self, folder: Path) -> None:
        # Imported here: the shipped reranker needs neither torch nor its seconds of import.
        from sentence_transformers import CrossEncoder

        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is not a cross-encoder: it has no config.json")
        self._model = CrossEncoder(str(folder), device="cpu", local_files_only=True)
        self._turn = Lock()

    def score(self, question: str, passages: Sequence[str]) -> tuple[Floats, int]:
        if not passages:
            return np.zeros(0, dtype=np.float32), 0
        with self._turn:
            raw = self._model.predict(
                [(question, passage) for passage in passages], show_progress_bar=False
            )
            read = self._model.tokenizer([question, *passages], truncation=True)["input_ids"]
        scores: Floats = np.asarray(raw, dtype=np.float32).reshape(len(passages))
        if scores.min() < 0 or scores.max() > 1:  # logits: the model has no activation of its own
            scores = np.asarray(1 / (1 + np.exp(-scores)), dtype=np.float32)
        return scores, sum(map(len, read))


def told_apart(vectors: Floats) -> Floats:
    """Unit vectors without what all words share, which would make any two of them alike.

    "All but the top" (Mu and Viswanath, ICLR 2018): the mean and the first principal directions go.
    """
    vectors = vectors - vectors.mean(axis=0)
    _values, directions = np.linalg.eigh(vectors.T @ vectors)
    common = directions[:, -COMMON_DIRECTIONS:]
    vectors = vectors - (vectors @ common) @ common.T
    unit: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return unit


def _rarity(holding: npt.NDArray[np.int64], total: int) -> Floats:
    """The inverse document frequency of BM25, over the passages themselves; always above 0."""
    weights: Floats = np.log1p((total - holding + 0.5) / (holding + 0.5)).astype(np.float32)
    return weights


def _has_subject(piece: str) -> bool:
    bare = piece.removeprefix("##")
    if piece.startswith("[") or bare in WITHOUT_SUBJECT:
        return False
    # Single Latin letters and signs say nothing; a Chinese sign is a word, a figure a value.
    return bare.isalnum() and (len(bare) > 1 or not bare.isascii() or bare.isdigit())
