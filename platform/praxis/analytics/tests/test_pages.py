"""The page, its export and the REST API."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bs4 import BeautifulSoup
from django.test import Client
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.analytics.tests.conftest import Went
from praxis.handoff import services
from praxis.integrations.keys import create_key
from praxis.knowledge.models import Corpus, Document
from tests.fakes import ModelServer

ClientFor = Callable[[User], Client]
PAGE = reverse("analytics:index", args=["north-clinic"])


def text(response: Any) -> str:
    return BeautifulSoup(response.content, "html.parser").get_text(" ", strip=True)


def test_the_page_shows_figures_topics_and_makes_a_draft(
    model_server: ModelServer,
    went: Went,
    me: Principal,
    admin: User,
    corpus: Corpus,
    client_for: ClientFor,
) -> None:
    asked = went("Can I pay by invoice?", outcome="abstained")
    services.ask_for_person(principal=me, conversation=asked, reason="No answer")
    boss = client_for(admin)
    page = boss.get(PAGE)
    assert "Can I pay by invoice?" in text(page)
    assert "No answer" in text(page)
    form = BeautifulSoup(page.content, "html.parser").select_one("form[action$='drafts/']")
    assert form is not None
    fields = {str(one["name"]): str(one["value"]) for one in form.select("input")}
    boss.post(str(form["action"]), {**fields, "corpus": str(corpus.pk)})
    document = Document.objects.get()
    assert document.access == ["role:admin"]
    assert "Can I pay by invoice?" in text(boss.get(PAGE))
    boss.post(reverse("analytics:publish", args=["north-clinic", document.pk]))
    document.refresh_from_db()
    assert document.access == []


def test_figures_are_shown_while_the_model_server_is_down(
    model_server: ModelServer, went: Went, agent: User, client_for: ClientFor
) -> None:
    went("Can I pay by invoice?", outcome="abstained")
    model_server.down()
    page = client_for(agent).get(PAGE)
    assert page.status_code == 200
    assert "Resolved" in text(page)


def test_who_may_see_it(
    model_server: ModelServer,
    workspace: object,
    corpus: Corpus,
    member: User,
    agent: User,
    stranger: User,
    client_for: ClientFor,
) -> None:
    export, draft = (
        reverse(f"analytics:{name}", args=["north-clinic"]) for name in ("export", "draft")
    )
    for address in (PAGE, export):
        assert client_for(member).get(address).status_code == 403
        assert client_for(stranger).get(address).status_code == 404
        assert client_for(agent).get(address).status_code == 200
    assert client_for(agent).post(draft, {"corpus": str(corpus.pk)}).status_code == 403


def test_a_wrong_period_is_refused_with_the_reason(
    workspace: object, agent: User, client_for: ClientFor
) -> None:
    answer = client_for(agent).get(PAGE, {"first": "2026-03-04", "last": "2026-03-02"})
    assert answer.status_code == 422
    assert "must end after it begins" in text(answer)


def test_the_export_has_a_row_for_every_day(went: Went, agent: User, client_for: ClientFor) -> None:
    went("one")
    answer = client_for(agent).get(
        reverse("analytics:export", args=["north-clinic"]), {"days": "3"}
    )
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [row["conversations"] for row in rows] == ["0", "0", "1"]


def test_rest_gives_the_same(
    model_server: ModelServer, went: Went, me: Principal, boss: Principal, corpus: Corpus
) -> None:
    went("Can I pay by invoice?", outcome="abstained")

    def client_of(principal: Principal) -> Client:
        _key, secret = create_key(
            principal=replace(principal, role=Role.OWNER),
            name="figures",
            role=principal.role,
            scopes=["conversations:read", "knowledge:write"],
        )
        return Client(headers={"authorization": f"Bearer {secret}"})

    client = client_of(boss)
    found = client.get("/api/v1/analytics?days=3").json()
    assert (found["conversations"], found["containment"], found["resolution"]) == (1, 1.0, 0.0)
    assert len(found["days"]) == 3
    [topic] = client.get("/api/v1/analytics/unanswered").json()["items"]
    made = client.post(
        "/api/v1/analytics/drafts",
        {"corpus": str(corpus.pk), "title": topic["title"], "questions": topic["message_ids"]},
        content_type="application/json",
    )
    assert made.status_code == 201
    for wrong in ("days=0", "first=2026-03-01", "first=2026-03-04&last=2026-03-01"):
        assert client.get(f"/api/v1/analytics?{wrong}").status_code == 422, wrong
    assert client_of(me).get("/api/v1/analytics").status_code == 403
