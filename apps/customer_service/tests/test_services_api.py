"""Service definitions over REST: reading, drafting, publishing, importing, rights."""

import copy
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.customer_service.demo_services.restaurant import RESTAURANT
from apps.customer_service.models import ServiceDefinition, ServiceDraft, save_version
from apps.customer_service.tests.test_importing import OPENAPI
from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.integrations.keys import create_key

BASE = "/api/v1/service/services"


def key_for(user: User, workspace: Workspace, role: Role, *scopes: str) -> dict[str, str]:
    principal = Principal(workspace=workspace, role=Role.ADMIN, user=user)
    _key, secret = create_key(principal=principal, name="k", scopes=scopes, role=role)
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def writer(admin: User, workspace: Workspace) -> dict[str, str]:
    return key_for(admin, workspace, Role.ADMIN, "assistants:read", "assistants:write")


@pytest.fixture
def version(workspace: Workspace) -> ServiceDefinition:
    made = save_version(
        workspace=workspace,
        definition=copy.deepcopy(RESTAURANT),
        base_url="https://tables.example.com",
        secret="token",
        created_by=None,
    )
    made.publish()
    return made


def put(client: Client, headers: dict[str, str], name: str, **body: Any) -> Any:
    return client.put(
        f"{BASE}/{name}/draft", json.dumps(body), content_type="application/json", headers=headers
    )


def test_a_service_is_written_published_and_read(
    client: Client, writer: dict[str, str], version: ServiceDefinition
) -> None:
    changed = {**RESTAURANT, "title": "New name"}
    address = "https://tables.example.com"
    answer = put(client, writer, "restaurant", definition=changed, base_url=address)
    assert (answer.status_code, answer.json()["problems"]) == (200, [])
    assert answer.json()["has_secret"]
    published = client.post(f"{BASE}/restaurant/draft/publish", headers=writer)
    assert (published.status_code, published.json()["version"]) == (201, 2)
    read = client.get(f"{BASE}/restaurant", headers=writer).json()
    assert read["definition"]["title"] == "New name"
    assert [(one["version"], one["published"]) for one in read["versions"]] == [
        (2, True),
        (1, False),
    ]
    changes = client.get(f"{BASE}/restaurant/versions/2", headers=writer).json()["changes"]
    assert changes == [{"place": "title", "before": RESTAURANT["title"], "after": "New name"}]
    back = client.post(
        f"{BASE}/restaurant/published",
        {"version": 1},
        content_type="application/json",
        headers=writer,
    )
    assert back.json()["published"]
    listed = client.get(BASE, headers=writer).json()
    assert listed["items"] == [
        {"name": "restaurant", "published": 1, "draft": False, "title": "New name", "newest": 2}
    ]
    assert "token" not in json.dumps(read)


def test_a_draft_tells_its_problems_and_is_not_published_with_them(
    client: Client, writer: dict[str, str], workspace: Workspace
) -> None:
    definition = {"name": "bikes", "title": "Bikes", "description": "Bikes.", "intents": []}
    answer = put(client, writer, "bikes", definition=definition, base_url="https://b.example")
    assert answer.json()["problems"][0]["place"] == "intents"
    refused = client.post(f"{BASE}/bikes/draft/publish", headers=writer)
    assert refused.status_code == 409
    assert "at least one intent" in refused.json()["error"]["message"]
    assert client.delete(f"{BASE}/bikes/draft", headers=writer).status_code == 204
    assert not ServiceDraft.objects.exists()


def test_wrong_input_is_refused_with_the_reason(client: Client, writer: dict[str, str]) -> None:
    other = put(client, writer, "bikes", definition=RESTAURANT, base_url="https://b.example")
    assert "definition.name must be 'bikes'" in other.json()["error"]["message"]
    away = put(client, writer, "restaurant", definition=RESTAURANT, base_url="ftp://b.example")
    assert away.status_code == 422


def test_openapi_is_imported_over_rest(
    client: Client, writer: dict[str, str], workspace: Workspace
) -> None:
    file = SimpleUploadedFile("api.yml", OPENAPI.encode())
    answer = client.post(f"{BASE}/import", {"files": file}, headers=writer)
    assert answer.status_code == 201
    assert answer.json()["name"] == "parcel_desk"
    assert any("deprecated" in line for line in answer.json()["report"])
    in_chinese = {**writer, "Accept-Language": "zh-hans"}
    told = client.get(f"{BASE}/parcel_desk/draft", headers=in_chinese).json()
    assert any("已弃用" in line for line in told["report"]), "whatever the importer spoke"
    again = client.post(
        f"{BASE}/import", {"files": SimpleUploadedFile("api.yml", OPENAPI.encode())}, headers=writer
    )
    assert again.status_code == 409


def test_rights(
    client: Client, admin: User, workspace: Workspace, version: ServiceDefinition
) -> None:
    reader = key_for(admin, workspace, Role.AGENT, "assistants:read")
    assert client.get(f"{BASE}/restaurant", headers=reader).status_code == 200
    assert client.get(f"{BASE}/unknown", headers=reader).status_code == 404
    assert client.delete(f"{BASE}/restaurant/draft", headers=reader).status_code == 403
    chat = key_for(admin, workspace, Role.ADMIN, "chat")
    assert client.get(BASE, headers=chat).status_code == 403
    assert client.get(BASE).status_code == 401
