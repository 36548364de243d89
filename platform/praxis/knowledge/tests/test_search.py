"""The right passage first, and never one that the caller may not read."""

import logging
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.knowledge.models import Corpus, DocumentVersion
from praxis.knowledge.search import SearchSettings, search, search_corpora
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db

AddDocument = Callable[..., DocumentVersion]
PrincipalOf = Callable[[User], Principal]

SHOP = """# Delivery

Parcels travel two working days inside the country and five abroad.

# Returns

Unopened goods may be returned within thirty days after delivery.

# Warranty

The kettle has a warranty of three years.
"""


@pytest.fixture
def principal(member: User, principal_of: PrincipalOf) -> Principal:
    return principal_of(member)


def test_the_passage_that_answers_comes_first(
    add_document: AddDocument, principal: Principal
) -> None:
    version = add_document("shop.md", SHOP)
    passages = search(
        principal=principal, assistant="any", query="When may goods be returned?", limit=2
    )
    best = passages[0]
    assert [passage.number for passage in passages] == [1, 2]
    assert best.text == version.text[best.start : best.end]
    assert best.text.startswith("Unopened goods")
    assert (best.document_id, best.version_id) == (str(version.document_id), str(version.pk))
    assert 0 <= best.score <= 1
    assert f"version={version.pk}&start={best.start}&end={best.end}#passage" in best.url


def test_only_the_current_version_is_searched(
    add_document: AddDocument, principal: Principal
) -> None:
    add_document("a.txt", "The deposit is ten euros.")
    current = add_document("a.txt", "The deposit is twenty euros.")
    add_document("a.txt", "The deposit is thirty euros.", read=False)
    found = search(principal=principal, assistant="any", query="deposit euros", limit=9)
    assert [passage.version_id for passage in found] == [str(current.pk)]


def test_another_workspace_is_never_searched(
    add_document: AddDocument,
    principal: Principal,
    stranger: User,
    principal_of: PrincipalOf,
    other_workspace: Workspace,
) -> None:
    """The foreign corpus holds the better text for every query, in both legs."""
    theirs = Corpus.objects.create(workspace=other_workspace, name="Theirs")
    secret = "The canary password is swordfish."
    for number in range(5):
        add_document(f"secret{number}.txt", f"{secret} Copy {number}.", corpus=theirs)
    mine = add_document("mine.txt", "Nothing about birds.")
    found = search(principal=principal, assistant="any", query=secret, limit=50)
    assert {passage.version_id for passage in found} <= {str(mine.pk)}
    named = search_corpora(
        workspace=principal.workspace, corpora=[theirs.pk], query=secret, limit=50
    )
    assert named == []
    assert search(principal=principal_of(stranger), assistant="any", query=secret, limit=1)


def test_a_corpus_serves_only_its_assistants(
    corpus: Corpus, workspace: Workspace, add_document: AddDocument, principal: Principal
) -> None:
    corpus.assistants = ["legal"]
    corpus.save()
    add_document("a.txt", "The deposit is ten euros.")
    everyone = Corpus.objects.create(workspace=workspace, name="Everyone")
    shared = add_document("b.txt", "The deposit is shared.", corpus=everyone)

    def found(assistant: str) -> int:
        return len(search(principal=principal, assistant=assistant, query="deposit", limit=9))

    assert (found("legal"), found("medical")) == (2, 1)
    (passage,) = search(principal=principal, assistant="medical", query="deposit", limit=9)
    assert passage.version_id == str(shared.pk)


def test_chinese_is_found_by_chinese(add_document: AddDocument, principal: Principal) -> None:
    version = add_document(
        "zh.md", "# 退货政策\n\n客户可以在七天之内退货。\n\n# 配送\n\n包裹两天内送达。\n"
    )
    passages = search(principal=principal, assistant="any", query="多少天之内可以退货？", limit=2)
    assert passages[0].version_id == str(version.pk)
    assert passages[0].text == "客户可以在七天之内退货。"
    assert passages[0].score > passages[1].score


def test_words_alone_decide_without_an_embedding_server(
    add_document: AddDocument,
    principal: Principal,
    model_server: ModelServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_document("shop.md", SHOP)
    model_server.down()
    with caplog.at_level(logging.WARNING, logger="praxis.knowledge.search"):
        passages = search(
            principal=principal, assistant="any", query="warranty of the kettle", limit=3
        )
    assert passages[0].text == "The kettle has a warranty of three years."
    assert passages[0].score == 1
    assert "by words only" in caplog.text


def test_word_forms_and_headings_match(
    add_document: AddDocument, principal: Principal, model_server: ModelServer
) -> None:
    add_document("shop.md", SHOP)
    model_server.down()
    for query, begin in (("returning", "Unopened"), ("deliveries abroad", "Parcels")):
        passages = search(principal=principal, assistant="any", query=query, limit=1)
        assert passages[0].text.startswith(begin)


@pytest.mark.parametrize(
    "query", ["", "   ", "\x00", "the of and", "' & | ! :* <-> \\", "a" * 9_000]
)
def test_odd_queries_are_answered(
    add_document: AddDocument, principal: Principal, query: str
) -> None:
    add_document("shop.md", SHOP)
    passages = search(principal=principal, assistant="any", query=query, limit=3)
    assert len(passages) <= 3


def test_the_weights_change_the_order(
    corpus: Corpus, workspace: Workspace, add_document: AddDocument
) -> None:
    add_document("shop.md", SHOP)
    by_words = search_corpora(
        workspace=workspace,
        corpora=[corpus.pk],
        query="warranty",
        limit=3,
        settings=SearchSettings(vector_weight=0, text_weight=1),
    )
    assert by_words[0].text.startswith("The kettle") and by_words[0].fused == 1
    assert [found.fused for found in by_words[1:]] == [0, 0]


def test_one_statement_searches(
    corpus: Corpus, workspace: Workspace, add_document: AddDocument
) -> None:
    add_document("shop.md", SHOP)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        search_corpora(workspace=workspace, corpora=[corpus.pk], query="warranty", limit=3)
    reads = [query["sql"] for query in queries if "knowledge_chunk" in query["sql"]]
    assert len(reads) == 1
