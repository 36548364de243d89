"""Words for PostgreSQL's full-text search, also for languages that write none.

The parser of PostgreSQL takes a run of Chinese for one word. Here such a run becomes its pairs of
neighbouring signs ("退货政策" → "退货 货政 政策") on both sides, in the index and in the query.
"""

import re

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_CJK_RUN = re.compile(f"[{_CJK}]+")
_NON_ASCII_PUNCTUATION = re.compile(r"[^\w\s\x00-\x7f]")
_MAX_TSVECTOR_CHARACTERS = 200_000


def searchable(text: str) -> str:
    """The text as both `to_tsvector` and `plainto_tsquery` are given it."""
    spaced = _CJK_RUN.sub(_pairs, _NON_ASCII_PUNCTUATION.sub(" ", text[:_MAX_TSVECTOR_CHARACTERS]))
    return spaced.replace("\x00", " ")


def _pairs(match: re.Match[str]) -> str:
    signs = match[0]
    if len(signs) == 1:
        return f" {signs} "
    return " " + " ".join(signs[index : index + 2] for index in range(len(signs) - 1)) + " "


def cjk_share(text: str) -> float:
    """How much of the text is written in Chinese or Japanese signs, from 0 to 1."""
    letters = sum(sign.isalpha() for sign in text)
    return sum(len(run) for run in _CJK_RUN.findall(text)) / letters if letters else 0.0
