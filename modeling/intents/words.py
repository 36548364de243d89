"""Words and pieces of words of a text as a sparse vector.

Words, pairs of words and pieces of two to five characters within words, weighted by
(1 + log count) · inverse document frequency; words and pieces are scaled to length √½ each, so that
the product of two texts is the mean of both cosines. Pieces bridge typos and endings, which an
embedding of the sentence blurs; Chinese, which has no spaces, is told apart by them alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix

_WORD = re.compile(r"\w+")
SHORTEST, LONGEST = 2, 5


class WordSpace:
    """The vocabulary of the samples, n of them, with V entries. Grams of no sample are ignored."""

    def __init__(self, texts: Sequence[str]) -> None:
        seen = Counter(gram for text in texts for gram in set(_grams(text)))
        self._ids = {gram: index for index, gram in enumerate(seen)}
        counts = np.fromiter(seen.values(), dtype=np.float64, count=len(seen))
        self._rarity = 1 + np.log((1 + len(texts)) / (1 + counts))

    def vectors(self, texts: Sequence[str]) -> csr_matrix:
        """float32, of shape (len(texts), V)."""
        columns: list[int] = []
        values: list[float] = []
        ends = [0]
        for text in texts:
            for is_piece in (False, True):
                known = {
                    self._ids[gram]: 1 + np.log(count)
                    for gram, count in Counter(_grams(text)).items()
                    if gram[0] == is_piece and gram in self._ids
                }
                ids = list(known)
                weights = np.array(list(known.values())) * self._rarity[ids]
                length = np.sqrt(2 * weights @ weights) or 1.0
                columns += ids
                values += (weights / length).tolist()
            ends.append(len(columns))
        shape = (len(texts), len(self._ids))
        return csr_matrix((np.array(values, dtype=np.float32), columns, ends), shape=shape)


def _grams(text: str) -> Iterator[tuple[bool, str]]:
    """Whether it is a piece of a word, and the gram."""
    words = _WORD.findall(text.lower())
    for word in words:
        yield False, word
        padded = f" {word} "
        for size in range(SHORTEST, LONGEST + 1):
            for start in range(len(padded) - size + 1):
                yield True, padded[start : start + size]
    for first, second in pairwise(words):
        yield False, f"{first} {second}"
