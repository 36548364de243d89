"""Where the encoder's tokens begin in a text, without loading the encoder."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

LONGEST_TOKEN = 24
"""Characters; longer tokens stand for a word that the vocabulary doesn't have (`[UNK]`)."""
UNKNOWN_STEP = 8
"""A word without a token is counted by its characters, so that its length is seen."""


class EncoderTokens:
    """The tokenizer in a sentence-transformers folder. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        """Raises `ValueError` for a folder without a fast tokenizer."""
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ValueError(f"{folder} has no tokenizer.json; name a sentence-transformers folder")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._num_special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._longest = _longest_sequence(folder)

    @property
    def room(self) -> int:
        """Tokens of text that the encoder reads; what is beyond has no influence on the vector."""
        return self._longest - self._num_special

    def starts(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text the offset of each token's first character, ascending."""
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[place for span in each.offsets for place in _places(*span)] for each in found]


def _places(start: int, end: int) -> Sequence[int]:
    return (start,) if end - start <= LONGEST_TOKEN else range(start, end, UNKNOWN_STEP)


def _longest_sequence(folder: Path) -> int:
    """As sentence-transformers decides it."""
    own = folder / "sentence_bert_config.json"
    if own.is_file() and (length := json.loads(own.read_text()).get("max_seq_length")):
        return int(length)
    length = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    return int(length)
