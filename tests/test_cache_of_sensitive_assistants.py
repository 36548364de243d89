"""Assistants whose answers weigh much keep none, unless an administrator has them kept."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.models import User, Workspace
from praxis.answer_cache.models import CachedAnswer
from praxis.answer_cache.tests.conftest import Ask
from praxis.answer_cache.tests.conftest import ask as ask
from praxis.answer_cache.tests.conftest import me as me
from praxis.assistants.models import AssistantSettings
from praxis.conversations.tests.conftest import quick as quick
from praxis.knowledge.tests.conftest import AddDocument
from praxis.knowledge.tests.conftest import _files_of_this_test as _files_of_this_test
from praxis.knowledge.tests.conftest import add_document as add_document
from praxis.knowledge.tests.conftest import corpus as corpus

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick")]

TEXT = "# Archive\n\nThe archive keeps each paper record for eleven years in the basement."
QUESTION = "How long does the archive keep each paper record?"


def save_settings(client: Client, workspace: Workspace, slug: str, **values: object) -> None:
    form = {
        "enabled": "on",
        "lower_threshold": 0,
        "upper_threshold": 0.99,
        "documents_threshold": 0,
        "documents": "quote",
        "cache_hours": 24,
        **values,
    }
    answer = client.post(
        reverse("assistants:edit", args=[workspace.slug, slug]),
        {f"{slug}-{name}": value for name, value in form.items()},
    )
    assert answer.status_code == 302, answer.content.decode()


@pytest.mark.parametrize("slug", ["medical", "legal"])
def test_they_are_cached_only_where_an_administrator_asks_for_it(
    slug: str,
    workspace: Workspace,
    admin: User,
    client_for: Callable[[User], Client],
    add_document: AddDocument,
    ask: Ask,
) -> None:
    add_document("archive.md", TEXT)
    client = client_for(admin)
    save_settings(client, workspace, slug)
    for _ in range(2):
        answer = ask(QUESTION, assistant=slug)
        assert answer.receipt["chain"] == "quote" and "cached" not in answer.receipt
    assert not CachedAnswer.objects.exists()

    save_settings(client, workspace, slug, cache_answers="on")
    assert AssistantSettings.objects.get(assistant=slug).cache_answers
    first, again = (ask(QUESTION, assistant=slug) for _ in range(2))
    assert "cached" not in first.receipt and again.receipt["cached"]["tier"] == "exact"
    assert again.text == first.text and "eleven years" in again.text
    # Another question of the same words that is not one for the documents gets no stored answer.
    assert "cached" not in ask("What does the basement cost?", assistant=slug).receipt
