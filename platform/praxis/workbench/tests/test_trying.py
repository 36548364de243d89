"""The page where a search and its settings are tried."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.knowledge.models import Chunk, Corpus, DocumentVersion, SearchProfile
from praxis.knowledge.search_settings import SearchSettings, save_settings, settings_for
from praxis.knowledge.tests.conftest import AddDocument
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db

SETTINGS = {
    "fusion": "score",
    "vector_weight": "0.6",
    "text_weight": "0.4",
    "rerank_weight": "0.35",
    "num_candidates": "50",
    "ef_search": "100",
    "min_relevance": "0",
    "neighbours": "0",
    "rewrite": "rules",
    "filters": "",
}


def settings_of(prefix: str, **changed: str) -> dict[str, str]:
    return {f"{prefix}-{name}": value for name, value in {**SETTINGS, **changed}.items()}


def page_of(client: Client, workspace: Workspace, **query: Any) -> str:
    """`htmx=True` asks as HTMX does."""
    headers = {"HX-Request": "true"} if query.pop("htmx", False) else {}
    response = client.get(reverse("workbench:index", args=[workspace.slug]), query, headers=headers)
    assert response.status_code == 200
    return unescape(response.content.decode())


def titles(page: str) -> list[str]:
    return re.findall(r'<strong class="place">\d+</strong>.*?<a href="[^"]*">(.*?)</a>', page, re.S)


def test_it_tells_what_each_leg_found(
    browser: Client, workspace: Workspace, shop: DocumentVersion
) -> None:
    page = page_of(browser, workspace, q="How long is the warranty of the kettle?")
    assert titles(page)[0] == "shop › Warranty"
    assert "every vector compared" in page
    assert "warranti" in page, "the word as the index has it"
    assert re.search(r"vector of the question \d", page)
    assert page.count('class="card candidate"') == 3


def test_htmx_gets_the_results_alone(
    browser: Client, workspace: Workspace, shop: DocumentVersion
) -> None:
    page = page_of(browser, workspace, htmx=True, q="warranty")
    assert "<html" not in page and titles(page)[0] == "shop › Warranty"


def test_two_settings_stand_side_by_side(
    browser: Client, workspace: Workspace, add_document: AddDocument
) -> None:
    add_document("a.txt", "Returns, returns, returns.")
    add_document(
        "b.txt", "Goods may be sent back; of returns we say no more and no less than that."
    )
    page = page_of(
        browser,
        workspace,
        q="returns",
        compare="on",
        **settings_of("a", vector_weight="0", text_weight="1"),
        **settings_of("b", fusion="rank", min_relevance="1"),
    )
    assert "First set of settings" in page and "Second set of settings" in page
    assert "vector_weight = 0.0" in page and "fusion = rank" in page
    assert page.count("not relevant enough") == 2


def test_wrong_settings_are_named_and_nothing_is_searched(
    browser: Client, workspace: Workspace, shop: DocumentVersion
) -> None:
    query = settings_of("a", num_candidates="9999", filters="year 2024")
    page = page_of(browser, workspace, q="warranty", **query)
    assert "“year 2024” is not of the form name = value." in page
    page = page_of(browser, workspace, q="warranty", **settings_of("a", num_candidates="9999"))
    assert "Candidates of each leg: Must be from 5 to 200, got 9999." in page
    assert not titles(page)


def test_filters_and_the_readers_rights_hold(
    browser: Client, workspace: Workspace, add_document: AddDocument
) -> None:
    for name, year in (("old", 2019), ("new", 2024)):
        version = add_document(f"{name}.txt", f"The {name} deposit is ten euros.")
        Chunk.objects.filter(version=version).update(metadata={"year": year})
    Chunk.objects.filter(version=version).update(access=["role:admin"])
    assert set(titles(page_of(browser, workspace, q="deposit"))) == {"old", "new"}
    assert titles(page_of(browser, workspace, q="deposit", reader="member")) == ["old"]
    filtered = page_of(browser, workspace, q="deposit", **settings_of("a", filters="year = 2024"))
    assert titles(filtered) == ["new"]


def test_settings_are_saved_for_the_workspace_or_one_corpus(
    browser: Client, workspace: Workspace, corpus: Corpus, shop: DocumentVersion
) -> None:
    page = page_of(browser, workspace, q="kettle", **settings_of("a", num_candidates="20"))
    values = re.search(r'name="values" value="(\{.*?\})"', page)
    assert values
    url = reverse("workbench:save", args=[workspace.slug])
    assert browser.post(url, {"values": values[1], "next": "/evil.example/"}).status_code == 302
    assert settings_for(workspace).num_candidates == 20
    browser.post(url, {"values": values[1].replace("20", "30"), "corpus": str(corpus.pk)})
    assert settings_for(workspace, [corpus.pk]).num_candidates == 30
    assert AuditEntry.objects.filter(action="search.settings").count() == 2
    kept = page_of(browser, workspace, q="kettle", corpus=str(corpus.pk))
    assert 'value="30"' in kept and "nothing: these are the stored settings" in kept
    browser.post(
        reverse("workbench:forget", args=[workspace.slug]), {"corpus": str(corpus.pk), "q": "x"}
    )
    assert settings_for(workspace, [corpus.pk]).num_candidates == 20


def test_the_reranker_has_a_say_and_shows_it(
    browser: Client, workspace: Workspace, shop: DocumentVersion, model_server: ModelServer
) -> None:
    chosen = settings_of("a", rerank="on", rerank_weight="1")
    page = page_of(browser, workspace, q="days after delivery", **chosen)
    assert titles(page)[0] == "shop › Returns"
    assert "Reranked" in page and re.search(r"reranking \d", page)
    assert [asked.body["query"] for asked in model_server.requests if asked.path == "/v1/rerank"]


def test_nobody_is_sent_elsewhere_after_saving(browser: Client, workspace: Workspace) -> None:
    url = reverse("workbench:save", args=[workspace.slug])
    response = browser.post(url, {"values": "{}", "next": "https://evil.example/"})
    assert response.headers["Location"] == reverse("workbench:index", args=[workspace.slug])


def test_a_follow_up_shows_what_was_searched(
    browser: Client, workspace: Workspace, shop: DocumentVersion
) -> None:
    earlier = "How are parcels delivered abroad?"
    page = page_of(browser, workspace, q="and how long does it take?", earlier=earlier)
    assert f"<q>{earlier} and how long does it take?</q>" in page


def test_without_an_embedding_server_the_page_says_so(
    browser: Client, workspace: Workspace, shop: DocumentVersion, model_server: ModelServer
) -> None:
    model_server.down()
    page = page_of(browser, workspace, q="warranty")
    assert "The embedding server does not answer" in page and len(titles(page)) == 1


def test_only_administrators_of_the_workspace_come_in(
    workspace: Workspace,
    other_workspace: Workspace,
    member: User,
    stranger: User,
    client_for: Callable[[User], Client],
) -> None:
    theirs = Corpus.objects.create(workspace=other_workspace, name="Theirs")
    save_settings(SearchSettings(num_candidates=7), workspace=other_workspace, corpus=theirs)
    names = ("index", "golden", "export", "save", "forget", "expect", "import", "score")
    for user, status in ((member, 403), (stranger, 404)):
        for name in names:
            url = reverse(f"workbench:{name}", args=[workspace.slug])
            client = client_for(user)
            reading = name in ("index", "golden", "export")
            response = client.get(url) if reading else client.post(url)
            assert response.status_code == status, name
    assert SearchProfile.objects.count() == 1


def test_a_corpus_of_another_workspace_is_not_there(
    browser: Client, workspace: Workspace, other_workspace: Workspace
) -> None:
    theirs = Corpus.objects.create(workspace=other_workspace, name="Theirs")
    page = page_of(browser, workspace, q="anything", corpus=str(theirs.pk))
    assert "Corpus: Select a valid choice" in page and not titles(page)
    url = reverse("workbench:save", args=[workspace.slug])
    assert browser.post(url, {"values": "{}", "corpus": str(theirs.pk)}).status_code == 404
