"""Which intent a text speaks of, in two stages.

First a classifier of the sentence embedding and the words, trained in milliseconds on the
definition's samples and on what people put right: it says how sure it is, and what is like no
sample is out of scope. Where it is unsure, an encoder tuned on the same samples is asked as well if
the workspace has one (`second_stage.py`), and if both are unsure, the language model may choose among
the top few.
Without an embedding server the words alone rank.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np

from apps.customer_service.phrases import telling_words
from apps.customer_service.schema import Intent, Service
from apps.customer_service.tracker import Ranking
from apps.customer_service.values import without_times
from modeling.intents.classifier import OUT_OF_SCOPE, Floats, IntentClassifier, Prediction
from modeling.intents.head import SURE

Embed = Callable[[Sequence[str]], list[list[float]]]
Complete = Callable[[Sequence[Mapping[str, str]], Mapping[str, Any]], str]
"""`complete(messages, json_schema)`: the model's answer, which has the schema's form."""
Choose = Callable[[str, Sequence[str]], str]
"""`choose(text, names)`: the model's pick, or "" for none of them."""
Second = Callable[[str, Mapping[str, float]], Mapping[str, float]]
"""`second(text, probabilities)`: those of both stages together, likeliest first."""

STRONG = 0.9
STRONG_SCORE = 1.6
"""Sure enough to interrupt a task: from that probability on, so many times the score of the scope."""
POSSIBLE = 0.05
"""Intents less probable than this are not worth a second look."""
MARGIN = 0.05
SURE_WORDS = 0.45
SURE_FOREIGN_WORDS = 0.25
"""For Chinese, which the shipped encoder can't tell apart: pairs of characters."""
FLOOR_WORDS = 0.15
EVIDENCE = 0.1
_FOREIGN = re.compile(r"[\u3400-\u9fff]")


def label(service: str, intent: str) -> str:
    """What an intent is called among those of several services."""
    return f"{service} {intent}"


@dataclass(frozen=True)
class Sample:
    intent: str
    text: str
    words: frozenset[str]


@dataclass
class IntentIndex:
    """What one definition's intents are told by; the classifier, once an embedding server answered."""

    samples: tuple[Sample, ...]
    rarity: dict[str, float]
    corrections: tuple[tuple[str, str], ...] = ()
    _vectors: dict[str, Sequence[float]] = field(default_factory=dict)
    _classifier: IntentClassifier | None = None
    _training: Lock = field(default_factory=Lock)

    @classmethod
    def of(cls, service: Service, corrections: Sequence[tuple[str, str]] = ()) -> "IntentIndex":
        """`corrections` are texts with the intent that people say was meant, "" for none."""
        told = [
            (intent.name, text)
            for intent in service.intents
            for text in (intent.title, intent.description, *intent.samples)
        ]
        told += [(name, text) for text, name in corrections if service.has_intent(name)]
        return cls._of(told, corrections)

    @classmethod
    def joined(cls, parts: Mapping[str, "IntentIndex"]) -> "IntentIndex":
        """One index over the intents of several services, each called "service intent".

        It shares the vectors of its parts, so that no sample is encoded twice.
        """
        told = [
            (label(key, sample.intent), sample.text)
            for key, part in parts.items()
            for sample in part.samples
        ]
        outside = [
            (text, "") for part in parts.values() for text, name in part.corrections if not name
        ]
        joined = cls._of(told, outside)
        for part in parts.values():
            joined._vectors |= part._vectors
            part._vectors = joined._vectors
        return joined

    @classmethod
    def _of(
        cls, told: Sequence[tuple[str, str]], corrections: Sequence[tuple[str, str]]
    ) -> "IntentIndex":
        samples = tuple(Sample(name, text, frozenset(_words(text))) for name, text in told)
        counts = Counter(word for sample in samples for word in sample.words)
        rarity = {word: math.log(1 + len(samples) / count) for word, count in counts.items()}
        return cls(samples=samples, rarity=rarity, corrections=tuple(corrections))

    def by_words(self, text: str) -> dict[str, float]:
        """The cosine of the words, weighted by rarity, with the nearest sample of each intent."""
        spoken = _words(text)
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

    def by_meaning(self, text: str, embed: Embed, evidence: Collection[str]) -> Prediction:
        """What the classifier says; the first call trains it."""
        classifier = self._trained(embed)
        vector = _unit(embed([text]))[0]
        return classifier.predict(text, vector, favoured=dict.fromkeys(evidence, EVIDENCE))

    def _trained(self, embed: Embed) -> IntentClassifier:
        with self._training:
            if self._classifier is None:
                rows = [(sample.text, sample.intent) for sample in self.samples]
                rows += [(text, OUT_OF_SCOPE) for text, name in self.corrections if not name]
                texts = [text for text, _intent in rows]
                new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
                if new:
                    self._vectors |= zip(new, embed(new), strict=True)
                vectors = _unit([self._vectors[text] for text in texts])
                self._classifier = IntentClassifier(
                    texts, [intent for _text, intent in rows], vectors
                )
            return self._classifier

    def corrected(self, service: Service, corrections: Sequence[tuple[str, str]]) -> "IntentIndex":
        """This index if it was made with the same corrections; else one that asks the embedding
        server for the new texts alone."""
        if tuple(corrections) == self.corrections:
            return self
        return replace(IntentIndex.of(service, corrections), _vectors=dict(self._vectors))


def is_foreign(text: str) -> bool:
    """Whether the shipped encoder, which reads English, can't tell it apart."""
    return bool(_FOREIGN.search(text))


def _words(text: str) -> set[str]:
    if not is_foreign(text):
        return telling_words(text)
    return telling_words(_CHINESE_FILLER.sub("", without_times(text)))


_CHINESE_FILLER = re.compile(r"等一下|稍等|等等|一下")


def _unit(vectors: Sequence[Sequence[float]]) -> Floats:
    array = np.asarray(vectors, dtype=np.float32)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-9)


def rank(
    index: IntentIndex,
    text: str,
    *,
    embed: Embed | None,
    evidence: Collection[str] = (),
    second: Second | None = None,
    choose: Choose | None = None,
) -> Ranking:
    """The intents that the text may speak of.

    `evidence` names those of whose slots the text gives values. `second` is asked where the classifier
    is unsure, `choose` where both are; without `embed` the words decide alone.
    """
    lexical = index.by_words(text)
    lexical = {name: score + EVIDENCE * (name in evidence) for name, score in lexical.items()}
    if embed is None or is_foreign(text):
        return _rank_by_words(lexical, foreign=is_foreign(text))
    said = index.by_meaning(text, embed, evidence)
    scored = _sorted(dict(said.scores))
    ranking = Ranking(scope=said.threshold, confidence=said.confidence)
    if not said.in_scope:
        return ranking
    if second and said.confidence < SURE:
        said = replace(said, probabilities=second(text, said.probabilities))
    ranking = replace(ranking, scored=scored, confidence=said.confidence)
    if said.confidence >= SURE:
        strong = said.confidence >= STRONG and said.score >= STRONG_SCORE * said.threshold
        return replace(ranking, decided=said.label, strong=strong)
    close = [name for name, p in said.probabilities.items() if p >= POSSIBLE][:3]
    chosen = choose(text, close) if choose and len(close) > 1 else ""
    return replace(ranking, decided=chosen)


def _rank_by_words(lexical: dict[str, float], *, foreign: bool) -> Ranking:
    scored = tuple(pair for pair in _sorted(lexical) if pair[1] > FLOOR_WORDS)
    least = SURE_FOREIGN_WORDS if foreign else SURE_WORDS
    ranking = Ranking(scored=scored, scope=FLOOR_WORDS)
    if not _stands_out(scored, least):
        return ranking
    return replace(ranking, decided=scored[0][0], strong=scored[0][1] >= 1.2 * least)


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
