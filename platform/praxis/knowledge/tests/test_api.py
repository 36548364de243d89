"""The same objects and rights over REST."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from praxis.accounts.models import Role, User, Workspace
from praxis.integrations.keys import create_key
from praxis.jobs.models import Job
from praxis.jobs.running import run_job
from praxis.knowledge.models import Corpus, Document, DocumentVersion
from praxis.knowledge.tests import files

pytestmark = pytest.mark.django_db

MakeKey = Callable[..., "Api"]


class Api:
    """A test client that sends one API key."""

    def __init__(self, secret: str) -> None:
        self._client = Client(headers={"Authorization": f"Bearer {secret}"})

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(f"/api/v1{path}", query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self._client.post(f"/api/v1{path}", body, content_type="application/json")

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._client.put(f"/api/v1{path}", body, content_type="application/json")

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._client.patch(f"/api/v1{path}", body, content_type="application/json")

    def upload(self, corpus: Corpus, name: str, content: bytes, **form: Any) -> Any:
        file = SimpleUploadedFile(name, content)
        return self._client.post(f"/api/v1/corpora/{corpus.pk}/documents", {"file": file, **form})

    def post_file(self, path: str, name: str, content: bytes) -> Any:
        return self._client.post(f"/api/v1{path}", {"file": SimpleUploadedFile(name, content)})

    def delete(self, path: str) -> Any:
        return self._client.delete(f"/api/v1{path}")


@pytest.fixture
def api_of(principal_of: Callable[..., Any]) -> MakeKey:
    def make(user: User, *scopes: str, role: Role = Role.ADMIN) -> Api:
        chosen = scopes or ("knowledge:read", "knowledge:write")
        _key, secret = create_key(
            principal=principal_of(user), name="test", scopes=chosen, role=role
        )
        return Api(secret)

    return make


def test_from_an_empty_workspace_to_a_citation(
    workspace: Workspace, admin: User, api_of: MakeKey, model_server: object
) -> None:
    api = api_of(admin)
    made = api.post("/corpora", {"name": "Policies"})
    assert made.status_code == 201
    corpus = Corpus.objects.get(pk=made.json()["id"])
    assert api.get("/corpora").json() == [corpus.to_dict()]

    uploaded = api.upload(corpus, "policy.md", files.MARKDOWN, title="Refund policy")
    assert uploaded.status_code == 202
    document = uploaded.json()
    assert (document["title"], document["versions"][0]["state"]) == ("Refund policy", "queued")
    run_job(Job.objects.get().pk)
    read = api.get(f"/documents/{document['id']}").json()
    assert read["versions"][0]["state"] == "ready"
    assert read["current_version_id"] == read["versions"][0]["id"]
    assert api.get(f"/corpora/{corpus.pk}/documents").json() == [read]

    answer = api.post("/search", {"query": "When does money come back?", "limit": 1}).json()
    (passage,) = answer["passages"]
    assert passage["text"].startswith("Money comes back in five days.")
    version = DocumentVersion.objects.get()
    assert version.text[passage["start"] : passage["end"]] == passage["text"]
    by_assistant = api.post(
        "/search", {"query": "When does money come back?", "limit": 1, "assistant": "any"}
    )
    assert by_assistant.json() == answer

    assert api.delete(f"/documents/{document['id']}").status_code == 204
    assert api.get(f"/documents/{document['id']}").status_code == 404
    assert not Document.objects.exists()


def test_a_duplicate_names_the_document_that_has_it(
    corpus: Corpus, admin: User, api_of: MakeKey
) -> None:
    api = api_of(admin)
    first = api.upload(corpus, "a.md", files.MARKDOWN).json()
    again = api.upload(corpus, "b.md", files.MARKDOWN)
    assert again.status_code == 409
    assert again.json()["error"]["document_id"] == first["id"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.exe", b"MZ"), ("a.pdf", b"text"), ("a.txt", b"")]
)
def test_a_refused_file_is_told_why(
    corpus: Corpus, admin: User, api_of: MakeKey, name: str, content: bytes
) -> None:
    response = api_of(admin).upload(corpus, name, content)
    assert response.status_code == 422
    assert response.json()["error"]["message"].endswith(".")
    assert not Document.objects.exists()


def test_a_taken_name_is_refused(corpus: Corpus, admin: User, api_of: MakeKey) -> None:
    response = api_of(admin).post("/corpora", {"name": corpus.name})
    assert response.status_code == 422 and "exists already" in response.json()["error"]["message"]
    unknown = api_of(admin).post("/corpora", {"name": "New", "assistants": ["nobody"]})
    assert unknown.status_code == 422 and "nobody" in unknown.json()["error"]["message"]


def test_scopes_and_roles(corpus: Corpus, admin: User, member: User, api_of: MakeKey) -> None:
    reader = api_of(admin, "knowledge:read")
    assert reader.get("/corpora").status_code == 200
    assert reader.upload(corpus, "a.txt", b"text").status_code == 403
    assert reader.post("/corpora", {"name": "New"}).status_code == 403
    chatter = api_of(admin, "chat")
    assert chatter.get("/corpora").status_code == 403
    assert chatter.post("/search", {"query": "x"}).status_code == 403
    low = api_of(admin, role=Role.MEMBER)
    assert low.upload(corpus, "a.txt", b"text").status_code == 403
    assert low.post("/search", {"query": "x"}).status_code == 200


def test_another_workspace_is_not_found(
    corpus: Corpus, stranger: User, add_document: Callable[..., DocumentVersion], api_of: MakeKey
) -> None:
    document = add_document("a.txt", "Ten days.").document
    api = api_of(stranger)
    assert api.get("/corpora").json() == []
    assert api.get(f"/corpora/{corpus.pk}/documents").status_code == 404
    assert api.upload(corpus, "b.txt", b"text").status_code == 404
    assert api.get(f"/documents/{document.pk}").status_code == 404
    assert api.delete(f"/documents/{document.pk}").status_code == 404
    named = api.post("/search", {"query": "days", "corpus_ids": [str(corpus.pk)]})
    assert named.status_code == 404
    assert api.post("/search", {"query": "Ten days."}).json()["passages"] == []
    assert Document.objects.exists()


def test_reading_is_steered_and_tells_how_far_it_is(
    corpus: Corpus, admin: User, api_of: MakeKey, model_server: object
) -> None:
    api = api_of(admin)
    document = api.upload(corpus, "a.pdf", files.pdf(["One."], ["Two."])).json()
    path = f"/documents/{document['id']}"
    assert document["versions"][0]["progress"]["actions"] == ["pause", "cancel"]

    def after(action: str) -> dict[str, Any]:
        answer = api.post(f"{path}/{action}", {})
        assert answer.status_code == 200, answer.content
        progress: dict[str, Any] = answer.json()["versions"][0]["progress"]
        return progress

    assert (after("pause")["state"], after("resume")["state"]) == ("paused", "queued")
    assert after("cancel")["actions"] == ["retry"]
    refused = api.post(f"{path}/pause", {})
    assert refused.status_code == 409 and "can be paused" in refused.json()["error"]["message"]
    assert after("retry")["state"] == "queued"
    assert api_of(admin, "knowledge:read").post(f"{path}/cancel", {}).status_code == 403
    run_job(Job.objects.get().pk)
    read = api.get(path).json()["versions"][0]
    assert (read["state"], read["progress"]) == ("ready", None)
