"""Live records over REST: found when the call returns, a version on change, gone when deleted."""

from typing import Any

import pytest

from praxis.accounts.models import Role, User, Workspace
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
from praxis.knowledge.tests.test_api import MakeKey, api_of  # noqa: F401  (a fixture)
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db(transaction=True)

KETTLE: dict[str, Any] = {
    "title": "Kettle",
    "fields": {"name": "Kettle", "price": 30, "colours": ["red", "blue"], "stock": {"Oslo": 4}},
    "metadata": {"kind": "product"},
}


def found(api: Any, query: str, **more: Any) -> list[str]:
    answer = api.post("/search", {"query": query, **more})
    assert answer.status_code == 200, answer.content
    return [passage["text"] for passage in answer.json()["passages"]]


def test_a_record_is_searchable_at_once_and_changes_by_version(
    corpus: Corpus,
    admin: User,
    api_of: MakeKey,  # noqa: F811
    model_server: ModelServer,
) -> None:
    api = api_of(admin)
    path = f"/corpora/{corpus.pk}/records/sku-1"
    made = api.put(path, KETTLE)
    assert made.status_code == 201, made.content
    document = made.json()
    assert (document["key"], document["title"]) == ("sku-1", "Kettle")
    line = "name: Kettle; price: 30; colours: red, blue; stock: Oslo 4"
    assert found(api, "price of the kettle") == [line]
    assert found(api, "price of the kettle", filters={"kind": "order"}) == []

    assert api.put(path, KETTLE).status_code == 200, "nothing has changed"
    dearer = {**KETTLE, "fields": {**KETTLE["fields"], "price": 45}}
    changed = api.put(path, dearer).json()
    assert [version["number"] for version in changed["versions"]] == [2, 1]
    assert found(api, "price of the kettle") == [line.replace("30", "45")]
    before = DocumentVersion.objects.get(number=1)
    assert before.text == line, "a citation of it still opens"
    assert not before.chunks.exists()

    assert api.get(path).json()["id"] == document["id"]
    assert api.delete(path).status_code == 204
    assert found(api, "price of the kettle") == []
    assert not Document.objects.exists() and not Chunk.objects.exists()
    assert api.get(path).status_code == api.delete(path).status_code == 404


def test_a_long_value_is_text_under_its_name(
    corpus: Corpus,
    admin: User,
    api_of: MakeKey,  # noqa: F811
    model_server: ModelServer,
) -> None:
    note = "The kettle boils a litre of water.\n\nIt switches itself off when it is empty."
    api_of(admin).put(f"/corpora/{corpus.pk}/records/a", {"fields": {"id": 7, "Manual": note}})
    version = DocumentVersion.objects.get()
    assert version.text.startswith("id: 7\n\nManual\n\nThe kettle boils")
    assert {chunk.heading for chunk in version.chunks.all()} == {"", "Manual"}


@pytest.mark.parametrize(
    ("key", "body", "words"),
    [
        (" a", {"fields": {"a": 1}}, "A key has"),
        ("a" * 201, {"fields": {"a": 1}}, "A key has"),
        ("a", {"fields": {"a": None}}, "holds no text"),
        ("a", {"fields": {"a": "x" * 70_000}}, "at most 65536"),
    ],
)
def test_a_record_that_is_not_taken_says_why(
    corpus: Corpus,
    admin: User,
    api_of: MakeKey,  # noqa: F811
    model_server: ModelServer,
    key: str,
    body: dict[str, Any],
    words: str,
) -> None:
    answer = api_of(admin).put(f"/corpora/{corpus.pk}/records/{key}", body)
    assert answer.status_code == 422 and words in answer.json()["error"]["message"]
    assert not Document.objects.exists()


def test_without_the_embedding_server_nothing_is_stored(
    corpus: Corpus,
    admin: User,
    api_of: MakeKey,  # noqa: F811
    model_server: ModelServer,
) -> None:
    model_server.down()
    answer = api_of(admin).put(f"/corpora/{corpus.pk}/records/a", KETTLE)
    assert answer.status_code == 503
    assert not Document.objects.exists()


def test_only_administrators_of_the_workspace_write(
    corpus: Corpus,
    other_workspace: Workspace,
    admin: User,
    stranger: User,
    api_of: MakeKey,  # noqa: F811
    model_server: ModelServer,
) -> None:
    path = f"/corpora/{corpus.pk}/records/a"
    assert api_of(stranger).put(path, KETTLE).status_code == 404
    assert api_of(admin, "knowledge:read").put(path, KETTLE).status_code == 403
    assert api_of(admin, role=Role.MEMBER).put(path, KETTLE).status_code == 403
