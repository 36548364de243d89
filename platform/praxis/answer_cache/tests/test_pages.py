"""The page and the REST endpoints: figures, switch, purge; and who may."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.answer_cache.models import CachedAnswer
from praxis.answer_cache.tests.conftest import QUESTION, Ask
from praxis.integrations.keys import create_key
from praxis.knowledge.models import Corpus

ClientFor = Callable[[User], Client]


@pytest.fixture
def page(workspace: Workspace) -> str:
    return reverse("answer_cache:index", args=[workspace.slug])


def test_the_page_shows_figures_and_entries_and_empties_the_cache(
    returns: Corpus, ask: Ask, admin: User, client_for: ClientFor, page: str, workspace: Workspace
) -> None:
    client = client_for(admin)
    assert "No answer is stored" in client.get(page).content.decode()
    ask(QUESTION)
    ask(QUESTION)
    shown = client.get(page).content.decode()
    assert "50 %" in shown
    assert QUESTION in shown
    entry = CachedAnswer.objects.get()
    client.post(reverse("answer_cache:delete", args=[workspace.slug, entry.pk]))
    assert not CachedAnswer.objects.exists()
    ask(QUESTION)
    purge = reverse("answer_cache:purge", args=[workspace.slug])
    assert client.post(purge, {"assistant": "nobody"}).status_code == 404
    shown = client.post(purge, {"assistant": "desk"}, follow=True).content.decode()
    assert "1 stored answer deleted." in shown
    assert not CachedAnswer.objects.exists()


def test_members_and_strangers_may_not(
    returns: Corpus, ask: Ask, member: User, stranger: User, client_for: ClientFor, page: str,
    workspace: Workspace, other_workspace: Workspace,
) -> None:  # fmt: skip
    ask(QUESTION)
    entry = CachedAnswer.objects.get()
    assert client_for(member).get(page).status_code == 403
    assert client_for(stranger).get(page).status_code == 404
    theirs = reverse("answer_cache:delete", args=[other_workspace.slug, entry.pk])
    assert client_for(stranger).post(theirs).status_code == 404
    assert CachedAnswer.objects.exists()


def test_the_settings_page_switches_it(
    returns: Corpus, ask: Ask, admin: User, client_for: ClientFor, workspace: Workspace
) -> None:
    address = reverse("assistants:edit", args=[workspace.slug, "desk"])
    values = {"enabled": "on", "lower_threshold": "0", "upper_threshold": "0.75"}
    values |= {"documents_threshold": "0", "documents": "model"}
    fields = {f"desk-{name}": value for name, value in values.items()}
    refused = client_for(admin).post(address, {**fields, "desk-cache_hours": "9000"})
    assert "1 to 8760 hours" in refused.content.decode()
    client_for(admin).post(address, {**fields, "desk-cache_hours": "24"})
    ask(QUESTION)
    assert not CachedAnswer.objects.exists()


def test_rest_reads_switches_and_purges(
    returns: Corpus, ask: Ask, admin: User, principal_of: Callable[..., Principal]
) -> None:
    _key, secret = create_key(
        principal=principal_of(admin),
        name="ops",
        role=principal_of(admin).role,
        scopes=["knowledge:read", "knowledge:write"],
    )
    client = Client(headers={"authorization": f"Bearer {secret}"})
    address = "/api/v1/assistants/desk/answer-cache"
    ask(QUESTION)
    ask(QUESTION)
    found = client.get(address).json()
    assert (found["hit_rate"], found["entries"], found["cache_answers"]) == (0.5, 1, True)
    assert client.delete(address).status_code == 204
    assert not CachedAnswer.objects.exists()
    changed = client.patch(
        address, {"cache_answers": False, "cache_hours": 12}, content_type="application/json"
    )
    assert (changed.json()["cache_answers"], changed.json()["cache_hours"]) == (False, 12)
    ask(QUESTION)
    assert not CachedAnswer.objects.exists()
    wrong = client.patch(address, {"cache_hours": 0}, content_type="application/json")
    assert wrong.status_code == 422
    assert client.get("/api/v1/assistants/nobody/answer-cache").status_code == 404
