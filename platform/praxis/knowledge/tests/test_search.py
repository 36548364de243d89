"""The right passage first, and never one that the caller may not read."""

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Sum

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.knowledge.models import Chunk, Corpus, DocumentVersion, TermCount
from praxis.knowledge.search import SearchResult, search
from praxis.knowledge.search_settings import SearchSettings, save_settings, settings_for
from praxis.knowledge.services import delete_document
from praxis.knowledge.terms import compact
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
    ).passages
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
    found = search(principal=principal, assistant="any", query="deposit euros", limit=9).passages
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
    found = search(principal=principal, assistant="any", query=secret, limit=50).passages
    assert {passage.version_id for passage in found} <= {str(mine.pk)}
    named = search(principal=principal, corpora=[theirs.pk], query=secret, limit=50)
    assert named.found == () and named.explanation.candidates == ()
    assert search(principal=principal_of(stranger), query=secret, limit=1).found


def test_a_corpus_serves_only_its_assistants(
    corpus: Corpus, workspace: Workspace, add_document: AddDocument, principal: Principal
) -> None:
    corpus.assistants = ["legal"]
    corpus.save()
    add_document("a.txt", "The deposit is ten euros.")
    everyone = Corpus.objects.create(workspace=workspace, name="Everyone")
    shared = add_document("b.txt", "The deposit is shared.", corpus=everyone)

    def found(assistant: str) -> int:
        return len(search(principal=principal, assistant=assistant, query="deposit", limit=9).found)

    assert (found("legal"), found("medical")) == (2, 1)
    (passage,) = search(principal=principal, assistant="medical", query="deposit", limit=9).passages
    assert passage.version_id == str(shared.pk)


def test_chinese_is_found_by_chinese(add_document: AddDocument, principal: Principal) -> None:
    version = add_document(
        "zh.md", "# 退货政策\n\n客户可以在七天之内退货。\n\n# 配送\n\n包裹两天内送达。\n"
    )
    passages = search(
        principal=principal, assistant="any", query="多少天之内可以退货？", limit=2
    ).passages
    assert passages[0].version_id == str(version.pk)
    assert passages[0].text == "客户可以在七天之内退货。"
    assert passages[0].score > passages[1].score


def test_a_question_about_something_that_is_not_there_is_less_relevant(
    add_document: AddDocument, principal: Principal
) -> None:
    add_document("shop.md", SHOP)
    add_document("toaster.md", "# Toaster\n\nThe toaster has a warranty of two years.")

    def best_score(query: str) -> float:
        found = search(principal=principal, assistant="any", query=query, limit=2)
        return found.passages[0].score

    assert best_score("warranty of the zeppelin") < best_score("warranty of the kettle")


def test_a_passage_says_of_which_version_it_is_and_when_that_was_added(
    add_document: AddDocument, principal: Principal
) -> None:
    add_document("shop.md", SHOP)
    version = add_document("shop.md", SHOP + "\nThe lamp has none.\n")
    [passage] = search(
        principal=principal, assistant="any", query="warranty of the kettle", limit=1
    ).passages
    assert passage.version == version.number == 2
    assert passage.dated == version.created_at.date().isoformat()


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
        ).passages
    assert passages[0].text == "The kettle has a warranty of three years."
    assert passages[0].score == 1
    assert "by words only" in caplog.text


def test_word_forms_and_headings_match(
    add_document: AddDocument, principal: Principal, model_server: ModelServer
) -> None:
    add_document("shop.md", SHOP)
    model_server.down()
    for query, begin in (("returning", "Unopened"), ("deliveries abroad", "Parcels")):
        passages = search(principal=principal, assistant="any", query=query, limit=1).passages
        assert passages[0].text.startswith(begin)


@pytest.mark.parametrize(
    "query", ["", "   ", "\x00", "the of and", "' & | ! :* <-> \\", "a" * 9_000]
)
def test_odd_queries_are_answered(
    add_document: AddDocument, principal: Principal, query: str
) -> None:
    add_document("shop.md", SHOP)
    passages = search(principal=principal, assistant="any", query=query, limit=3).passages
    assert len(passages) <= 3


def ask(principal: Principal, query: str, **more: object) -> SearchResult:
    return search(principal=principal, query=query, limit=9, **more)  # type: ignore[arg-type]


def texts(result: SearchResult) -> list[str]:
    return [found.text for found in result.found]


def test_the_weights_change_the_order(add_document: AddDocument, principal: Principal) -> None:
    add_document("shop.md", SHOP)
    words = SearchSettings(vector_weight=0.0, text_weight=1.0)
    found = ask(principal, "warranty", settings=words).found
    assert found[0].text.startswith("The kettle") and found[0].fused == 1
    assert [each.fused for each in found[1:]] == [0, 0]


def test_ranks_can_be_fused_instead_of_scores(
    add_document: AddDocument, principal: Principal
) -> None:
    add_document("shop.md", SHOP)
    found = ask(principal, "warranty of the kettle", settings=SearchSettings(fusion="rank")).found
    assert found[0].text.startswith("The kettle")
    assert (found[0].vector_rank, found[0].text_rank) == (1, 1)
    assert found[0].fused == pytest.approx(1)
    assert found[1].text_rank is None and found[1].fused < 0.7


def test_the_words_are_scored_by_bm25(add_document: AddDocument, principal: Principal) -> None:
    """Against the formula, worked out by hand from the chunks' own words."""
    add_document("a.txt", "Apples and pears. Apples again.")
    add_document("b.txt", "Pears only.")
    add_document("c.txt", "Nothing of the kind.")
    found = {each.title: each for each in ask(principal, "apples pears").found}

    def impact(times: int, length: int) -> float:
        return times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / 80))

    rare, common = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    # Titles count as words too: "a" is a stop word, "b" is not.
    assert found["a"].bm25 == pytest.approx(rare * impact(2, 3) + common * impact(1, 3), rel=1e-3)
    assert found["b"].bm25 == pytest.approx(common * impact(1, 3), rel=0.02)
    assert found["c"].bm25 == 0


def counted(workspace: Workspace) -> dict[int, int]:
    rows = TermCount.objects.filter(workspace=workspace).values_list("term")
    sums = rows.annotate(total=Sum("num_chunks")).values_list("term", "total")
    return {term: total for term, total in sums if total}


def test_the_counts_of_words_follow_the_chunks(
    workspace: Workspace, add_document: AddDocument, corpus: Corpus
) -> None:
    kept = add_document("shop.md", SHOP)
    before = counted(workspace)
    assert before[0] == 3
    other = add_document("b.txt", "Parcels of gold.")
    assert counted(workspace)[0] == 4
    compact(workspace.pk)
    assert counted(workspace)[0] == 4
    Chunk.objects.filter(version=kept).update(page=2)
    delete_document(other.document)
    assert counted(workspace) == before
    compact(workspace.pk)
    assert TermCount.objects.filter(workspace=workspace).count() == len(before)


def test_only_those_on_the_access_list_find_a_chunk(
    add_document: AddDocument,
    principal: Principal,
    owner: User,
    principal_of: PrincipalOf,
) -> None:
    add_document("open.txt", "The safe is green.")
    secret = add_document("secret.txt", "The safe opens with 1234.")
    Chunk.objects.filter(version=secret).update(access=["role:admin"])
    assert texts(ask(principal, "safe")) == ["The safe is green."]
    assert len(texts(ask(principal_of(owner), "safe"))) == 2
    Chunk.objects.filter(version=secret).update(access=[f"user:{principal.user.pk}"])  # type: ignore[union-attr]
    assert len(texts(ask(principal, "safe"))) == 2
    assert len(texts(ask(principal_of(owner), "safe"))) == 1


def test_metadata_filters(add_document: AddDocument, principal: Principal) -> None:
    for name, year in (("old", 2019), ("new", 2024)):
        version = add_document(f"{name}.txt", f"The {name} deposit is ten euros.")
        Chunk.objects.filter(version=version).update(metadata={"year": year, "kind": "terms"})
    add_document("none.txt", "A deposit without metadata.")
    assert texts(ask(principal, "deposit", filters={"year": 2024})) == [
        "The new deposit is ten euros."
    ]
    assert len(texts(ask(principal, "deposit", filters={"year": [2019, 2024]}))) == 2
    assert texts(ask(principal, "deposit", filters={"year": 2024, "kind": "other"})) == []


def test_a_large_workspace_walks_the_index(
    add_document: AddDocument, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_document("shop.md", SHOP)
    compared = ask(principal, "warranty of the kettle")
    monkeypatch.setattr("praxis.knowledge.search.EXACT_UP_TO", 0)
    walked = ask(principal, "warranty of the kettle", settings=SearchSettings(num_candidates=5))
    assert compared.explanation.exact
    assert texts(walked) == texts(compared)


def test_a_follow_up_is_searched_with_what_it_is_about(
    add_document: AddDocument, principal: Principal, model_server: ModelServer
) -> None:
    add_document("shop.md", SHOP)
    earlier = ["How are parcels delivered abroad?", "And inside the country?"]
    result = ask(principal, "and how long does it take?", earlier=earlier)
    assert result.found[0].text.startswith("Parcels travel")
    assert (
        result.explanation.searched
        == "How are parcels delivered abroad? and how long does it take?"
    )
    off = ask(principal, "and how long?", earlier=earlier, settings=SearchSettings(rewrite="off"))
    assert off.explanation.searched == "and how long?"


def test_neighbours_come_along(add_document: AddDocument, principal: Principal) -> None:
    version = add_document("shop.md", SHOP)
    found = ask(principal, "goods returned", settings=SearchSettings(neighbours=1)).found[0]
    assert found.text.startswith("Unopened") and found.text in found.context
    assert found.context.startswith("Parcels travel") and found.context.endswith("three years.")
    assert found.context in version.text


def test_settings_of_the_corpus_win_over_those_of_the_workspace(
    workspace: Workspace, corpus: Corpus
) -> None:
    other = Corpus.objects.create(workspace=workspace, name="Other")
    save_settings(SearchSettings(num_candidates=30), workspace=workspace)
    save_settings(SearchSettings(num_candidates=20), workspace=workspace, corpus=corpus)
    save_settings(SearchSettings(num_candidates=21), workspace=workspace, corpus=corpus)
    chosen = [
        settings_for(workspace, corpora).num_candidates
        for corpora in ([corpus.pk], [other.pk], [corpus.pk, other.pk], [])
    ]
    assert chosen == [21, 30, 30, 30]


@pytest.mark.parametrize(
    "values",
    [
        {"fusion": "magic"},
        {"vector_weight": 2},
        {"vector_weight": 0, "text_weight": 0},
        {"num_candidates": 1.5},
        {"parent": "yes"},
        {"filters": {"a": {"b": 1}}},
        {"unknown": 1},
    ],
)
def test_senseless_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        SearchSettings.from_dict(values)
    assert set(refused.value.message_dict) & {*values, "text_weight"}


def test_the_reranker_has_its_share_in_the_order(
    add_document: AddDocument, principal: Principal, model_server: ModelServer
) -> None:
    add_document("shop.md", SHOP)
    words = {"vector_weight": 0.0, "text_weight": 1.0}
    question = "the warranty, and goods that may be returned after delivery"
    before = ask(principal, question, settings=SearchSettings(**words)).found  # type: ignore[arg-type]
    alone = SearchSettings(**words, rerank=True, rerank_weight=1.0)  # type: ignore[arg-type]
    after = ask(principal, question, settings=alone)
    assert [each.rerank_score for each in before] == [None] * 3
    by_reranker = sorted(after.found, key=lambda each: -(each.rerank_score or 0))
    assert list(after.found) == by_reranker
    assert "rerank" in after.explanation.milliseconds
    none = SearchSettings(**words, rerank=True, rerank_weight=0.0)  # type: ignore[arg-type]
    kept = ask(principal, question, settings=none).found
    assert [each.text for each in kept] == [each.text for each in before]


def test_a_reranker_that_does_not_answer_is_done_without(
    add_document: AddDocument, principal: Principal, model_server: ModelServer, settings: Any
) -> None:
    add_document("shop.md", SHOP)
    settings.RERANK_BASE_URL = "http://127.0.0.1:1/v1"
    result = ask(principal, "warranty of the kettle", settings=SearchSettings(rerank=True))
    assert result.found[0].text.startswith("The kettle")
    assert result.found[0].reranked is None and "rerank" not in result.explanation.milliseconds


def test_the_explanation_can_be_sent(add_document: AddDocument, principal: Principal) -> None:
    add_document("shop.md", SHOP)
    explained = json.loads(json.dumps(ask(principal, "warranty").explanation.to_dict()))
    assert explained["words"][0]["lexeme"] == "warranti"
    assert explained["words"][0]["num_chunks"] == 1
    assert {"embed", "search", "fuse", "context"} == set(explained["milliseconds"])
    assert SearchSettings.from_dict(explained["settings"]) == SearchSettings()
