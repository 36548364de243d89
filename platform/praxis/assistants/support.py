"""Which span of which document carries each sentence of an answer, and which sentences none does.

The check is lexical and strict on purpose: it runs after every answer, on the same machine as the
model, and may rather doubt a good sentence than vouch for a bad one. A sentence is carried by a run
of at most three neighbouring sentences of one passage that holds most of its content words, all of
its numbers and names, and a negation exactly if the sentence has one. The citation is taken from
there and never from what the model wrote.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from praxis.assistants.contract import Passage, SentenceSupport, Support
from praxis.assistants.sentences import (
    content_words,
    denies,
    figures,
    names,
    split_sentences,
    without_markers,
)

SUPPORT_SHARE = 0.75
"""Of a sentence's content words that its span must hold. Set by hand; `ops/bench.py grounding` tells
how many false sentences pass and how many true ones are doubted."""
LONGEST_RUN = 3
_SURE = 0.999


@dataclass(frozen=True)
class Run:
    """Neighbouring sentences of a passage; the offsets are those of the document's text."""

    passage: Passage
    text: str
    start: int
    end: int
    num_sentences: int

    @cached_property
    def words(self) -> set[str]:
        return set(content_words(self.text))

    @cached_property
    def subject(self) -> set[str]:
        """A passage doesn't repeat in every sentence what it is about; its headings say it."""
        return set(content_words(f"{self.passage.title} {self.passage.heading}"))

    def denies(self, claimed: set[str]) -> bool:
        """Whether the sentence that is nearest to the claimed words holds a negation."""
        parts = [part.text for part in split_sentences(self.text)]
        return denies(max(parts, key=lambda part: len(claimed & set(content_words(part)))))

    @cached_property
    def figures(self) -> set[str]:
        return figures(f"{self.text} {self.passage.title} {self.passage.heading}")


def runs_of(passage: Passage, longest: int = LONGEST_RUN) -> Iterator[Run]:
    """All runs of one to `longest` neighbouring sentences, the shortest first."""
    sentences = split_sentences(passage.text)
    for length in range(1, min(longest, len(sentences)) + 1):
        for first in range(len(sentences) - length + 1):
            start, end = sentences[first].start, sentences[first + length - 1].end
            yield Run(
                passage, passage.text[start:end], passage.start + start, passage.start + end, length
            )


def check_support(answer: str, passages: Sequence[Passage]) -> Support:
    """The span behind each sentence of `answer` that states something."""
    runs = [run for passage in passages for run in runs_of(passage)]
    found = []
    for sentence in split_sentences(answer):
        claim = without_markers(sentence.text)
        if not content_words(claim):
            continue
        run, share = _best_run(claim, runs)
        carried = run is not None and share >= SUPPORT_SHARE
        found.append(
            SentenceSupport(
                start=sentence.start,
                end=sentence.end,
                citation=run.passage.number if run and carried else None,
                source_start=run.start if run and carried else None,
                source_end=run.end if run and carried else None,
                quote=run.text if run and carried else "",
                share=round(share, 4),
            )
        )
    return Support(sentences=tuple(found))


def _best_run(claim: str, runs: Sequence[Run]) -> tuple[Run | None, float]:
    """The shortest run that holds most of the claim; none if each breaks a rule."""
    words, claimed, named, denied = (
        set(content_words(claim)),
        figures(claim),
        names(claim),
        denies(claim),
    )
    best, best_share = None, 0.0
    for run in runs:
        share = len(words & run.words) / len(words)
        # What the headings say counts for a little: the sentence itself must be in the text.
        share = min(len(words & (run.words | run.subject)) / len(words), share + 0.25)
        if share <= best_share + (0.05 if best and run.num_sentences > best.num_sentences else 0):
            continue
        if not claimed <= run.figures or not named <= run.words | run.subject:
            continue
        if denied != run.denies(words):
            continue
        best, best_share = run, share
        if share > _SURE and run.num_sentences == 1:
            break
    return best, best_share
