"""The registry: what may answer for whom, and who may decide it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse

from modeling.weights.manifest import write_manifest
from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.assistants.models import AssistantSettings
from praxis.conversations.services import post_message, start_conversation
from praxis.conversations.tests.conftest import finish, live
from praxis.tuning.adapters import (
    AdapterRefused,
    adapters_directory,
    directory_of,
    go_back,
    promote,
    retire,
    verified,
)
from praxis.tuning.models import Adapter
from praxis.tuning.tests.conftest import SLUG
from tests.fakes import ModelServer

__all__ = ["live"]

MakeAdapter = Callable[..., Adapter]


@pytest.fixture
def make_adapter(workspace: Workspace) -> MakeAdapter:
    """An adapter with its folder, as a finished run leaves it."""

    def make(name: str = "refunds", owner: Workspace | None = None) -> Adapter:
        from modeling.weights.manifest import sha256_of

        of = owner or workspace
        folder = adapters_directory() / f"{of.slug}.{name}"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": 4}))
        (folder / "adapter_model.safetensors").write_bytes(b"weights of " + name.encode())
        write_manifest(
            folder, ["adapter_config.json", "adapter_model.safetensors"], base_model="fake-chat"
        )
        return Adapter.objects.create(
            workspace=of,
            name=folder.name,
            base_model="fake-chat",
            directory=folder.name,
            sha256=sha256_of(folder / "MANIFEST.json"),
            size=100,
        )

    return make


def chosen(workspace: Workspace) -> Adapter | None:
    return AssistantSettings.objects.get(workspace=workspace, assistant=SLUG).adapter


def test_promotion_loads_the_adapter_and_is_recorded(
    admin: User,
    client_for: Callable[[User], Client],
    workspace: Workspace,
    make_adapter: MakeAdapter,
    model_server: ModelServer,
) -> None:
    adapter = make_adapter()
    page = client_for(admin).post(
        reverse("tuning:promote", args=[workspace.slug, adapter.pk]),
        {f"adapter-{adapter.pk}-assistant": SLUG},
        follow=True,
    )
    assert "answers for Tuned assistant from the next message on" in page.content.decode()
    assert chosen(workspace) == adapter
    assert model_server.adapters == {adapter.name: str(directory_of(adapter))}
    adapter.refresh_from_db()
    assert adapter.state == Adapter.State.SERVING
    entry = AuditEntry.objects.get(action="adapter.promote")
    assert (entry.object_id, entry.detail["assistant"]) == (str(adapter.pk), SLUG)


@pytest.mark.django_db(transaction=True)
def test_the_next_turn_asks_the_promoted_adapter(
    principal: Principal,
    member: User,
    principal_of: Callable[..., Principal],
    make_adapter: MakeAdapter,
    live: ModelServer,
) -> None:
    person = principal_of(member)
    conversation = start_conversation(principal=person, assistant=SLUG)

    def model_asked() -> str:
        finish(post_message(principal=person, conversation=conversation, text="Hello"))
        return str(live.chats()[-1]["model"])

    assert model_asked() == live.chat_model
    adapter = make_adapter()
    promote(principal=principal, assistant=SLUG, adapter=adapter)
    assert model_asked() == adapter.name
    go_back(principal=principal, assistant=SLUG)
    assert model_asked() == live.chat_model


def test_one_click_returns_to_what_was_there_before(
    principal: Principal, workspace: Workspace, make_adapter: MakeAdapter, model_server: ModelServer
) -> None:
    first, second = make_adapter("first"), make_adapter("second")
    promote(principal=principal, assistant=SLUG, adapter=first)
    promote(principal=principal, assistant=SLUG, adapter=second)
    go_back(principal=principal, assistant=SLUG)
    assert chosen(workspace) == first
    promote(principal=principal, assistant=SLUG, adapter=None)
    assert chosen(workspace) is None
    go_back(principal=principal, assistant=SLUG)
    assert chosen(workspace) == first


def test_another_workspaces_adapter_is_refused(
    admin: User,
    client_for: Callable[[User], Client],
    principal: Principal,
    workspace: Workspace,
    other_workspace: Workspace,
    make_adapter: MakeAdapter,
    model_server: ModelServer,
) -> None:
    foreign = make_adapter(owner=other_workspace)
    answer = client_for(admin).post(
        reverse("tuning:promote", args=[workspace.slug, foreign.pk]),
        {f"adapter-{foreign.pk}-assistant": SLUG},
    )
    assert answer.status_code == 404
    with pytest.raises(AdapterRefused, match="another workspace"):
        promote(principal=principal, assistant=SLUG, adapter=foreign)
    assert not model_server.adapters
    with pytest.raises(IntegrityError), transaction.atomic():
        AssistantSettings.objects.create(
            workspace=workspace,
            assistant=SLUG,
            lower_threshold=0.3,
            upper_threshold=0.7,
            adapter=foreign,
        )
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_an_adapter_that_the_server_dropped_is_loaded_again(
    principal: Principal, make_adapter: MakeAdapter, model_server: ModelServer
) -> None:
    adapter = make_adapter()
    promote(principal=principal, assistant=SLUG, adapter=adapter)
    promote(principal=principal, assistant=SLUG, adapter=None)
    model_server.adapters.clear()
    promote(principal=principal, assistant=SLUG, adapter=adapter)
    assert adapter.name in model_server.adapters


def test_changed_files_are_refused(
    principal: Principal, make_adapter: MakeAdapter, model_server: ModelServer
) -> None:
    adapter = make_adapter()
    weights = directory_of(adapter) / "adapter_model.safetensors"
    weights.write_bytes(
        b"weights of evil!!"[: weights.stat().st_size].ljust(weights.stat().st_size)
    )
    with pytest.raises(AdapterRefused, match="SHA-256"):
        promote(principal=principal, assistant=SLUG, adapter=adapter)
    # A manifest that was rewritten to match is not the registered one.
    write_manifest(directory_of(adapter), ["adapter_config.json", "adapter_model.safetensors"])
    with pytest.raises(AdapterRefused, match="not the one that was registered"):
        promote(principal=principal, assistant=SLUG, adapter=adapter)
    assert not model_server.adapters


@pytest.mark.parametrize("name", ["payload.bin", "adapter_model.pt", "notes.json"])
def test_a_file_that_the_manifest_does_not_name_is_refused(
    make_adapter: MakeAdapter, name: str
) -> None:
    folder = directory_of(make_adapter())
    (folder / name).write_bytes(b"x")
    with pytest.raises(AdapterRefused, match=name):
        verified(folder)


def test_a_file_that_could_run_code_is_refused_even_when_named(make_adapter: MakeAdapter) -> None:
    folder = directory_of(make_adapter())
    (folder / "optimizer.pt").write_bytes(b"x")
    write_manifest(folder, ["adapter_config.json", "adapter_model.safetensors", "optimizer.pt"])
    with pytest.raises(AdapterRefused, match=r"optimizer\.pt"):
        verified(folder)


def test_promotion_is_refused_with_the_cause_while_the_server_is_away(
    principal: Principal, workspace: Workspace, make_adapter: MakeAdapter, model_server: ModelServer
) -> None:
    adapter = make_adapter()
    model_server.down()
    with pytest.raises(AdapterRefused, match="does not answer"):
        promote(principal=principal, assistant=SLUG, adapter=adapter)
    assert not AssistantSettings.objects.filter(workspace=workspace).exists()


def test_only_an_unused_adapter_is_retired_and_it_never_comes_back(
    principal: Principal, make_adapter: MakeAdapter, model_server: ModelServer
) -> None:
    adapter = make_adapter()
    promote(principal=principal, assistant=SLUG, adapter=adapter)
    with pytest.raises(AdapterRefused, match=SLUG):
        retire(principal=principal, adapter=adapter)
    promote(principal=principal, assistant=SLUG, adapter=None)
    retire(principal=principal, adapter=adapter)
    adapter.refresh_from_db()
    assert adapter.state == Adapter.State.RETIRED
    assert adapter.name not in model_server.adapters
    with pytest.raises(AdapterRefused, match="retired"):
        promote(principal=principal, assistant=SLUG, adapter=adapter)
    with pytest.raises(AdapterRefused, match="retired"):
        go_back(principal=principal, assistant=SLUG)


def test_the_registry_page_shows_figures_and_what_answers(
    admin: User,
    client_for: Callable[[User], Client],
    workspace: Workspace,
    principal: Principal,
    make_adapter: MakeAdapter,
    model_server: ModelServer,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(4):
        make_adapter(f"adapter-{number}")
    promote(principal=principal, assistant=SLUG, adapter=Adapter.objects.first())
    client = client_for(admin)
    with django_assert_max_num_queries(26):
        page = client.get(reverse("tuning:adapters", args=[workspace.slug])).content.decode()
    assert page.count("Let it answer") == 4
    assert "Answers for Tuned assistant" in page
    assert "Return to the base model" in page
