"""The service pages: who sees what, errors with lines, versions, publishing, trying."""

from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from apps.customer_service.apps import CustomerServiceConfig
from apps.customer_service.assistant import ASSISTANT
from apps.customer_service.demo_services.shop import SHOP
from apps.customer_service.endpoints import demo_place, demo_url
from apps.customer_service.models import ServiceDefinition, save_version
from apps.customer_service.schema import CARDS
from praxis.accounts.models import User, Workspace
from praxis.assistants.contract import Card
from praxis.knowledge.models import Document

ClientFor = Callable[[User], Client]


@pytest.fixture
def definition(workspace: Workspace) -> ServiceDefinition:
    made = save_version(
        workspace=workspace,
        definition=SHOP,
        base_url="https://orders.example.com/api",
        secret="first token",
        created_by=None,
    )
    made.publish()
    return made


def address(name: str, workspace: Workspace, *args: object) -> str:
    return reverse(f"customer_service:{name}", args=[workspace.slug, *args])


def test_an_agent_reads_services_and_a_member_does_not(
    workspace: Workspace,
    definition: ServiceDefinition,
    agent: User,
    member: User,
    stranger: User,
    client_for: ClientFor,
) -> None:
    for page in (address("services", workspace), address("service", workspace, "shop")):
        response = client_for(agent).get(page)
        assert "Harbour &amp; Pine" in response.content.decode()
        assert "first token" not in response.content.decode()
        assert client_for(member).get(page).status_code == 403
        assert client_for(stranger).get(page).status_code == 404


def test_only_an_administrator_edits_and_publishes(
    workspace: Workspace, definition: ServiceDefinition, agent: User, client_for: ClientFor
) -> None:
    client = client_for(agent)
    assert client.post(address("service_edit", workspace, "shop", 1)).status_code == 403
    assert client.post(address("service_publish", workspace, "shop", 1)).status_code == 403
    assert client.get(address("service_new", workspace)).status_code == 403
    assert client.get(address("service_import", workspace)).status_code == 403
    assert client.get(address("draft", workspace, "shop")).status_code == 403


def test_another_workspaces_service_is_unknown(
    other_workspace: Workspace, definition: ServiceDefinition, stranger: User, client_for: ClientFor
) -> None:
    response = client_for(stranger).get(address("service", other_workspace, "shop"))
    assert response.status_code == 404


def test_the_secret_is_not_readable_in_the_database(definition: ServiceDefinition) -> None:
    stored = ServiceDefinition.objects.values_list("secret_encrypted", flat=True).get()
    assert b"first token" not in bytes(stored)


def test_every_card_has_a_template() -> None:
    data = {
        "number": "HP-1", "items": [{"name": "<b>Vase</b>", "quantity": 2}], "return_number": "R-1",
        "products": [{"name": "Mug", "price": "3", "stock": 1}], "rows": [["free", 3]],
        "address": {"street": "1 Elm", "city": "Bath", "postcode": "BA1 1AA"},
    }  # fmt: skip
    for name in CARDS:
        card = Card(type=name, title="Title", data=data)
        page = render_to_string(f"customer_service/cards/{name}.html", {"card": card})
        assert "Title" in page
        assert "<b>" not in page


@pytest.fixture
def var_directory(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, settings: pytest.FixtureRequest
) -> Iterator[None]:
    settings.VAR_DIR = tmp_path  # type: ignore[attr-defined]
    settings.MEDIA_ROOT = tmp_path  # type: ignore[attr-defined]
    yield


def test_the_demos_data_is_put_in_once(workspace: Workspace, var_directory: None) -> None:
    assert ASSISTANT.seed
    for _time in range(2):
        ASSISTANT.seed(workspace)
    rows = ServiceDefinition.objects.filter(workspace=workspace)
    assert {(row.name, row.published, row.base_url, row.secret) for row in rows} == {
        (name, True, demo_url(name), demo_place().token)
        for name in ("shop", "restaurant", "clinic")
    }
    titles = Document.objects.filter(corpus__workspace=workspace).values_list("title", flat=True)
    assert set(titles) == {
        "Returns and refunds",
        "Shipping and delivery",
        "Warranty and repairs",
        "Privacy",
        "Your visit at Salt & Sorrel",
        "The Linden Street practice",
    }


def test_the_supervisor_learns_how_to_start_the_businesses(var_directory: None) -> None:
    config = apps.get_app_config("customer_service")
    assert isinstance(config, CustomerServiceConfig)
    process = config.local_processes[0]
    assert process.ready_url == f"{demo_place().url}/health"
    assert str(django_settings.VAR_DIR) in " ".join(process.argv)
