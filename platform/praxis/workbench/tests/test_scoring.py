"""The measures, worked out by hand."""

from dataclasses import dataclass, field
from math import log2
from uuid import UUID, uuid4

import pytest

from praxis.workbench.scoring import holds, mean, score

PASSAGE = "Unopened goods may be returned within thirty days after delivery."


@dataclass
class Item:
    document_id: UUID = field(default_factory=uuid4)
    text: str = ""
    quote: str = ""


def test_places_count_passages_when_passages_are_expected() -> None:
    shop, other = uuid4(), uuid4()
    ranking = [Item(shop, "Parcels travel two days."), Item(other), Item(shop, PASSAGE)]
    found = score(ranking, [Item(shop, quote=PASSAGE), Item(other, quote="Not to be found here.")])
    assert found.places == (3, None)
    assert found.ndcg10 == pytest.approx((1 / log2(4)) / (1 + 1 / log2(3)))
    assert (found.recall10, found.mrr) == (0.5, pytest.approx(1 / 3))


def test_places_count_documents_when_documents_are_expected() -> None:
    first, second = uuid4(), uuid4()
    ranking = [Item(first), Item(first), Item(first), Item(second)]
    assert score(ranking, [Item(second)]).places == (2,)
    assert score(ranking, [Item(first), Item(second)]).ndcg10 == pytest.approx(1)


def test_what_stands_beyond_the_tenth_place_counts_for_recall_at_50_alone() -> None:
    wanted = uuid4()
    found = score([*(Item() for _ in range(19)), Item(wanted)], [Item(wanted)])
    assert (found.ndcg10, found.recall10, found.recall50, found.mrr) == (0, 0, 1, 1 / 20)


def test_two_quotes_in_one_passage_are_no_more_than_everything() -> None:
    shop = uuid4()
    quotes = [Item(shop, quote="Unopened goods may"), Item(shop, quote="days after delivery")]
    assert score([Item(shop, PASSAGE)], quotes).ndcg10 == 1


@pytest.mark.parametrize(
    ("text", "there"),
    [
        (PASSAGE, True),
        (f"Whatever stood before. {PASSAGE} And after.", True),
        ("UNOPENED  goods may\nbe returned within thirty days", True),
        ("Parcels may be delivered within thirty days.", False),
        ("", False),
    ],
)
def test_a_passage_is_known_again_by_its_words(text: str, there: bool) -> None:
    assert holds(text, PASSAGE) is there


def test_chinese_passages_are_known_again_too() -> None:
    assert holds("政策:客户可以在七天之内退货。", "客户可以在七天之内退货。")
    assert not holds("包裹两天内送达。", "客户可以在七天之内退货。")


def test_the_mean_is_over_questions() -> None:
    shop = uuid4()
    hit, miss = score([Item(shop)], [Item(shop)]), score([Item()], [Item(shop)])
    assert mean([hit, miss]) == {"ndcg10": 0.5, "recall10": 0.5, "recall50": 0.5, "mrr": 0.5}
    assert mean([]) == {}
