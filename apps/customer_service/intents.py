"""Which intent a text speaks of, in two stages.

First the sentence embedding against the definition's samples: milliseconds, and it decides when it
is sure. Otherwise the words are counted too, and the language model may choose among the top few.
Nothing near enough to any sample is out of scope. Without an embedding server the words alone rank.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.customer_service.phrases import telling_words
from apps.customer_service.schema import Intent, Service
from apps.customer_service.tracker import Ranking

Embed = Callable[[Sequence[str]], list[list[float]]]
Complete = Callable[[Sequence[Mapping[str, str]], Mapping[str, Any]], str]
"""`complete(messages, json_schema)`: the model's answer, which has the schema's form."""
Choose = Callable[[str, Sequence[str]], str]
"""`choose(text, names)`: the model's pick, or "" for none of them."""

SURE = 0.62
"""From this similarity on, with the margin below, the embedding alone decides."""
STRONG = 0.68
IN_SCOPE = 0.45
MARGIN = 0.05
SURE_WORDS = 0.45
SURE_FOREIGN_WORDS = 0.25
"""For Chinese, which the shipped encoder can't tell apart: pairs of characters."""
FLOOR_WORDS = 0.15
EVIDENCE = 0.1
_FOREIGN = re.compile(r"[\u3400-\u9fff]")
WORD_WEIGHT = 0.25
FLOOR = 0.3


@dataclass(frozen=True)
class Sample:
    intent: str
    text: str
    words: frozenset[str]


@dataclass
class IntentIndex:
    """The samples of one definition, with their vectors once an embedding server has answered."""

    samples: tuple[Sample, ...]
    rarity: dict[str, float]
    vectors: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(cls, service: Service) -> "IntentIndex":
        samples = tuple(
            Sample(intent.name, text, frozenset(telling_words(text)))
            for intent in service.intents
            for text in (intent.title, intent.description, *intent.samples)
        )
        counts = Counter(word for sample in samples for word in sample.words)
        rarity = {word: math.log(1 + len(samples) / count) for word, count in counts.items()}
        return cls(samples=samples, rarity=rarity)

    def by_words(self, text: str) -> dict[str, float]:
        """The cosine of the words, weighted by rarity, with the nearest sample of each intent."""
        spoken = telling_words(text)
        # A word of no sample tells little: it may be a name or a typo.
        unseen = 0.5 * math.log(1 + len(self.samples))
        norm = math.sqrt(sum(self.rarity.get(word, unseen) ** 2 for word in spoken)) or 1.0
        best: dict[str, float] = {}
        for sample in self.samples:
            shared = sum(self.rarity[word] ** 2 for word in spoken & sample.words)
            size = math.sqrt(sum(self.rarity[word] ** 2 for word in sample.words)) or 1.0
            score = shared / (norm * size)
            best[sample.intent] = max(best.get(sample.intent, 0.0), score)
        return best

    def by_meaning(self, text: str, embed: Embed) -> dict[str, float]:
        """Similarity to each intent's samples: the nearest one and the mean of the nearest three."""
        if not self.vectors:
            self.vectors = embed([sample.text for sample in self.samples])
        vector = embed([text])[0]
        likeness: dict[str, list[float]] = {}
        for sample, other in zip(self.samples, self.vectors, strict=True):
            cosine = sum(a * b for a, b in zip(vector, other, strict=True))
            likeness.setdefault(sample.intent, []).append(cosine)
        scores = {}
        for name, values in likeness.items():
            nearest = sorted(values, reverse=True)[:3]
            scores[name] = 0.7 * nearest[0] + 0.3 * sum(nearest) / len(nearest)
        return scores


def rank(
    index: IntentIndex,
    text: str,
    *,
    embed: Embed | None,
    evidence: Collection[str] = (),
    choose: Choose | None = None,
) -> Ranking:
    """The intents that the text may speak of.

    `evidence` names those of whose slots the text gives values. `choose` is asked when neither the
    embedding nor the words decide; without `embed` the words decide alone.
    """
    lexical = index.by_words(text)
    lexical = {name: score + EVIDENCE * (name in evidence) for name, score in lexical.items()}
    if embed is None or _FOREIGN.search(text):
        return _rank_by_words(lexical, foreign=bool(_FOREIGN.search(text)))
    meaning = index.by_meaning(text, embed)
    meaning = {name: score + EVIDENCE * (name in evidence) for name, score in meaning.items()}
    scored = _sorted(meaning)
    if _stands_out(scored, SURE):
        return Ranking(scored=scored, decided=scored[0][0], strong=scored[0][1] >= STRONG)
    both = _sorted({name: meaning[name] + WORD_WEIGHT * lexical[name] for name in meaning})
    if both[0][1] < IN_SCOPE:
        return Ranking(scored=tuple(pair for pair in both if pair[1] >= FLOOR))
    if _stands_out(both, SURE):
        return Ranking(scored=both, decided=both[0][0])
    close = [name for name, score in both[:3] if both[0][1] - score < 3 * MARGIN]
    chosen = choose(text, close) if choose and len(close) > 1 else ""
    return Ranking(scored=both, decided=chosen)


def _rank_by_words(lexical: dict[str, float], *, foreign: bool) -> Ranking:
    scored = tuple(pair for pair in _sorted(lexical) if pair[1] > FLOOR_WORDS)
    least = SURE_FOREIGN_WORDS if foreign else SURE_WORDS
    if not _stands_out(scored, least):
        return Ranking(scored=scored)
    return Ranking(scored=scored, decided=scored[0][0], strong=scored[0][1] >= 1.2 * least)


def _sorted(scores: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(scores.items(), key=lambda pair: (-pair[1], pair[0])))


def _stands_out(scored: Sequence[tuple[str, float]], least: float) -> bool:
    if not scored or scored[0][1] < least:
        return False
    return len(scored) == 1 or scored[0][1] - scored[1][1] >= MARGIN


def choose_intent(text: str, intents: Sequence[Intent], *, complete: Complete) -> str:
    """The model's pick among intents that the embedding could not tell apart; "" for none."""
    names = [intent.name for intent in intents]
    schema = {
        "type": "object",
        "properties": {"intent": {"enum": [*names, "none"]}},
        "required": ["intent"],
        "additionalProperties": False,
    }
    listed = "\n".join(f"{intent.name}: {intent.description}" for intent in intents)
    messages = [
        {"role": "system", "content": f"Which of these does the customer want?\n{listed}\nnone"},
        {"role": "user", "content": f"Message: {text[:400]}\nAnswer as JSON:"},
    ]
    try:
        answer = json.loads(complete(messages, schema))
    except json.JSONDecodeError:
        return ""
    chosen = answer.get("intent") if isinstance(answer, dict) else None
    return chosen if chosen in names else ""
