"""Which span carries a sentence, and what must not pass for carried."""

from dataclasses import replace

import pytest

from praxis.assistants.sentences import figures, split_sentences
from praxis.assistants.support import check_support
from praxis.assistants.tests.fakes import make_passage

POLICY = (
    "Shipping is free from 40.50 euros. Dr. Weber signs for parcels. "
    "You may return an unused item within thirty days. Gift cards can't be returned in Berlin."
)
PASSAGE = replace(make_passage(1, POLICY), start=100, end=100 + len(POLICY))


def test_a_sentence_points_at_its_span_in_the_document() -> None:
    answer = "An unused item may be returned within 30 days. [3]"
    (sentence,) = check_support(answer, [PASSAGE]).sentences
    assert sentence.citation == 1
    assert sentence.quote == "You may return an unused item within thirty days."
    assert sentence.source_start is not None
    assert sentence.source_end is not None
    assert POLICY[sentence.source_start - 100 : sentence.source_end - 100] == sentence.quote


@pytest.mark.parametrize(
    "claim",
    [
        "You may return an unused item within 60 days.",
        "You may not return an unused item within thirty days.",
        "Gift cards can be returned in Berlin.",
        "Gift cards can't be returned in Madrid.",
        "Dr. Meyer signs for parcels.",
        "Whales are mammals.",
    ],
)
def test_a_changed_number_name_or_negation_is_not_carried(claim: str) -> None:
    (sentence,) = check_support(claim, [PASSAGE]).sentences
    assert (sentence.citation, sentence.quote) == (None, "")


def test_what_states_nothing_is_not_judged() -> None:
    assert check_support("[1] And so?", [PASSAGE]).sentences == ()


def test_a_figure_or_a_title_ends_no_sentence() -> None:
    assert [one.text for one in split_sentences(POLICY)][:2] == [
        "Shipping is free from 40.50 euros.",
        "Dr. Weber signs for parcels.",
    ]
    assert figures("thirty, 1,000 and 38.5") == {"30", "1000", "38.5"}
