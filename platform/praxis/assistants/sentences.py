"""Sentences and the words that carry their meaning, in English and Chinese; nothing to load."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# A full stop inside a number, an address or a name ends nothing, so one must be followed by a
# space; the citations behind a sentence belong to it.
_END = re.compile(
    r"(?:[.!?]+[\"'”’)\]]*(?=\s|\[\d|$)|[。！？；]+[”’」』）]*)(?:\s*\[\d{1,3}\])*|\n+"
)
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St|No|Nos|Art|Sec|Fig|vs|etc|e\.g|i\.e|cf|al|approx|Inc|Ltd|Co)\.$"
)
_MARKER = re.compile(r"\s*\[\d{1,3}\]")
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+(?:[.,]\d+)*", re.UNICODE)
_STOP_WORDS = frozenset(
    """a about after all also am an and any are as at be been before being but by can could did do
    does doing for from had has have having he her here him his how i if in into is it its just me
    more most my nor of on once only or other our out over own please same she should so some such
    than that the their them then there these they this those through to too under until up very
    was we were what when where which while who whom why will with would you your tell know want
    need get no not never without none cannot 的 了 是 我 你 他 她 它 们 在 吗 呢 吧 和 与 或 就 都 也
    要 有 什 么 怎 请 问 不 没 无 未""".split()
)
_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|none|without|cannot|unable)\b|n[’']t\b|[不没無无未非别]",
    re.IGNORECASE,
)
_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {
    word: str(10 * number)
    for number, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety hundred".split(), 2
    )
}
_NUMBER = re.compile(rf"\d+(?:[.,]\d+)*|\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.IGNORECASE)
# "one" is a pronoun as often as a figure.
_NO_FIGURE = {"one", "zero"}


@dataclass(frozen=True, kw_only=True)
class Sentence:
    text: str
    start: int
    end: int
    """Offsets in the text it was cut from."""


def split_sentences(text: str) -> list[Sentence]:
    """The sentences in order, without the white space between them."""
    return list(_sentences(text))


def _sentences(text: str) -> Iterator[Sentence]:
    begin = 0
    for match in _END.finditer(text):
        if match[0][0] == "." and _ABBREVIATION.search(text, begin, match.start() + 1):
            continue
        yield from _stripped(text, begin, match.end())
        begin = match.end()
    yield from _stripped(text, begin, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[Sentence]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield Sentence(text=text[start:end], start=start, end=end)


def without_markers(text: str) -> str:
    """The text without citations such as `[1]`."""
    return _MARKER.sub("", text)


def content_words(text: str) -> list[str]:
    """Lower-cased words that carry meaning, crudely stemmed; Chinese by sign."""
    words = (word.lower() for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def _stem(word: str) -> str:
    for ending in ("ing", "edly", "ed", "ies", "es", "s", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def figures(text: str) -> set[str]:
    """The numbers of the text as digits: "thirty" and "30" are the same figure."""
    found = {match[0].lower() for match in _NUMBER.finditer(text)} - _NO_FIGURE
    return {_NUMBER_WORDS.get(one, one.replace(",", "")) for one in found}


def names(text: str) -> set[str]:
    """Words written with a capital inside a sentence, stemmed: what must not be exchanged."""
    first = True
    found = set()
    for match in _WORD.finditer(text):
        word = match[0]
        if not first and word[0].isupper() and word.lower() not in _STOP_WORDS:
            found.add(_stem(word.lower()))
        first = False
    return found


def denies(text: str) -> bool:
    """Whether the text holds a negation."""
    return _NEGATION.search(text) is not None
