"""The service pages: who sees what, errors with lines, versions, publishing, trying."""

import copy
import json
from collections.abc import Callable, Iterator

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse

from apps.customer_service.apps import CustomerServiceConfig
from apps.customer_service.assistant import ASSISTANT
from apps.customer_service.demo_service import DEMO_SERVICE
from apps.customer_service.endpoints import demo_shop
from apps.customer_service.models import ServiceDefinition, save_version
from apps.customer_service.schema import CARDS
from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.assistants.contract import Card
from praxis.knowledge.models import Document

ClientFor = Callable[[User], Client]


@pytest.fixture
def definition(workspace: Workspace) -> ServiceDefinition:
    made = save_version(
        workspace=workspace,
        definition=DEMO_SERVICE,
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
    assert client.get(address("service_edit", workspace, "shop")).status_code == 403
    assert client.post(address("service_publish", workspace, "shop", 1)).status_code == 403
    assert client.get(address("service_new", workspace)).status_code == 403


def test_another_workspaces_service_is_unknown(
    other_workspace: Workspace, definition: ServiceDefinition, stranger: User, client_for: ClientFor
) -> None:
    response = client_for(stranger).get(address("service", other_workspace, "shop"))
    assert response.status_code == 404


def test_an_edit_makes_a_version_that_is_used_once_it_is_published(
    workspace: Workspace, definition: ServiceDefinition, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    changed = copy.deepcopy(DEMO_SERVICE)
    changed["title"] = "Another shop"
    client.post(
        address("service_edit", workspace, "shop"),
        {"definition": json.dumps(changed), "base_url": "https://orders.example.com/api"},
    )
    draft = ServiceDefinition.objects.get(workspace=workspace, version=2)
    assert (draft.published, draft.secret) == (False, "first token")
    client.post(address("service_publish", workspace, "shop", 2))
    in_use = ServiceDefinition.objects.published(str(workspace.pk))
    assert [row.version for row in in_use] == [2]
    acts = AuditEntry.objects.filter(workspace=workspace).order_by("pk")
    assert [entry.action for entry in acts] == ["service.save", "service.publish"]


def test_a_new_address_does_not_get_the_old_addresss_token(
    workspace: Workspace, definition: ServiceDefinition, admin: User, client_for: ClientFor
) -> None:
    client_for(admin).post(
        address("service_edit", workspace, "shop"),
        {"definition": json.dumps(DEMO_SERVICE), "base_url": "https://elsewhere.example.net"},
    )
    assert ServiceDefinition.objects.get(workspace=workspace, version=2).secret == ""


def test_what_is_wrong_is_shown_with_its_line_and_nothing_is_lost(
    workspace: Workspace, definition: ServiceDefinition, admin: User, client_for: ClientFor
) -> None:
    wrong = copy.deepcopy(DEMO_SERVICE)
    wrong["slots"][0]["kind"] = "colour"
    text = json.dumps(wrong, indent=2)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if '"colour"' in row)
    response = client_for(admin).post(
        address("service_edit", workspace, "shop"),
        {"definition": text, "base_url": "https://orders.example.com/api"},
    )
    page = response.content.decode()
    assert f"Line {line}" in page
    assert "must be one of text, categorical" in page
    assert "&quot;colour&quot;" in page
    assert ServiceDefinition.objects.count() == 1


@pytest.mark.parametrize(
    "url", ["ftp://x.example", "https://u:p@x.example", "https://x.example/?a=1", "x"]
)
def test_an_address_that_can_not_be_called_is_refused(
    workspace: Workspace, admin: User, client_for: ClientFor, url: str
) -> None:
    client_for(admin).post(
        address("service_new", workspace), {"definition": json.dumps(DEMO_SERVICE), "base_url": url}
    )
    assert not ServiceDefinition.objects.exists()


def test_the_example_of_a_new_service_is_valid(
    workspace: Workspace, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    form = client.get(address("service_new", workspace)).context["form"]
    client.post(
        address("service_new", workspace),
        {"definition": form.initial["definition"], "base_url": "https://tables.example.com"},
    )
    assert ServiceDefinition.objects.get(workspace=workspace).name == "bookings"


def test_a_message_is_tried_without_calling_anything(
    workspace: Workspace, definition: ServiceDefinition, agent: User, client_for: ClientFor
) -> None:
    response = client_for(agent).post(
        address("service", workspace, "shop"),
        {"message": "track my order HP-10422, ben@example.com"},
    )
    page = response.content.decode()
    assert "Order status" in page
    assert "HP-10422" in page
    assert "only the words were compared" in page


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
    row = ServiceDefinition.objects.get(workspace=workspace)
    assert row.published
    assert (row.base_url, row.secret) == (demo_shop().url, demo_shop().token)
    titles = Document.objects.filter(corpus__workspace=workspace).values_list("title", flat=True)
    assert set(titles) == {
        "Returns and refunds",
        "Shipping and delivery",
        "Warranty and repairs",
        "Privacy",
    }


def test_the_supervisor_learns_how_to_start_the_shop(var_directory: None) -> None:
    config = apps.get_app_config("customer_service")
    assert isinstance(config, CustomerServiceConfig)
    process = config.local_processes[0]
    assert process.ready_url == f"{demo_shop().url}/health"
    assert str(django_settings.VAR_DIR) in " ".join(process.argv)
