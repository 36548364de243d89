from dataclasses import replace

from praxis.assistants.conflicts import find_conflict
from praxis.assistants.contract import Passage
from praxis.assistants.tests.fakes import make_passage

QUESTION = "How many days do I have to return an item?"


def dated(number: int, text: str, day: str, **more: object) -> Passage:
    return replace(make_passage(number, text), dated=day, **more)  # type: ignore[arg-type]


def test_documents_with_different_figures_conflict_and_the_newest_comes_first() -> None:
    conflict = find_conflict(
        QUESTION,
        [
            dated(1, "Hello. You may return an unused item within 30 days.", "2024-01-10"),
            dated(2, "You may return an item within fourteen days of delivery.", "2025-03-01"),
        ],
    )
    assert conflict is not None
    assert [(claim.citation, claim.value) for claim in conflict.claims] == [
        (2, "14 day"),
        (1, "30 day"),
    ]
    old = conflict.claims[1]
    assert old.quote == "You may return an unused item within 30 days."
    assert (old.source_start, old.source_end) == (7, 7 + len(old.quote))


def test_a_denial_conflicts_with_what_it_denies() -> None:
    conflict = find_conflict(
        "Can gift cards be returned?",
        [
            dated(1, "Gift cards can be returned in the shop.", "2024-01-10"),
            dated(2, "Gift cards cannot be returned in the shop.", "2025-03-01"),
        ],
    )
    assert conflict is not None
    assert len(conflict.claims) == 2


def test_the_same_figure_in_words_is_no_conflict() -> None:
    same = [
        dated(1, "You may return an item within 14 days.", "2024-01-10"),
        dated(2, "You may return an item within fourteen days.", "2025-03-01"),
    ]
    assert find_conflict(QUESTION, same) is None


def test_other_points_are_no_conflict() -> None:
    passages = [
        dated(1, "You may return an unused item within 30 days.", "2024-01-10"),
        dated(2, "The refund is paid within 5 days after the parcel has arrived.", "2025-03-01"),
    ]
    assert find_conflict(QUESTION, passages) is None


def test_one_document_does_not_contradict_itself() -> None:
    first = dated(1, "You may return an item within 30 days.", "2024-01-10")
    second = dated(2, "You may return a sale item within 14 days.", "2024-01-10")
    second = replace(second, document_id=first.document_id)
    assert find_conflict(QUESTION, [first, second]) is None
