from praxis.knowledge.fulltext import cjk_share, searchable


def test_chinese_becomes_pairs_and_the_rest_stays() -> None:
    assert searchable("退货政策 within 30 days").split() == [
        *("退货", "货政", "政策", "within", "30", "days"),
    ]
    assert searchable("问：退").split() == ["问", "退"]


def test_share_of_chinese() -> None:
    assert cjk_share("退货 policy") == 2 / 8
    assert cjk_share("") == 0
