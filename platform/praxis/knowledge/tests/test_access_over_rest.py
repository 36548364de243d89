"""Access lists and metadata over REST: who finds what, from the first passage on."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.jobs.running import run_job
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
from praxis.knowledge.search import search
from praxis.knowledge.tests.test_api import Api, MakeKey, api_of  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db

SALARIES = "The salary of the harbour master is nine thousand."
QUESTION = {"query": SALARIES}


@pytest.fixture
def owner_api(admin: User, api_of: MakeKey, model_server: object) -> Api:  # noqa: F811
    return api_of(admin)


@pytest.fixture
def member_api(admin: User, api_of: MakeKey) -> Api:  # noqa: F811
    """A key of a member's rights; only administrators make keys."""
    return api_of(admin, "knowledge:read", role=Role.MEMBER)


def upload(api: Api, corpus: Corpus, text: str = SALARIES, **form: Any) -> Document:
    answer = api.upload(corpus, "salaries.txt", text.encode(), **form)
    assert answer.status_code == 202, answer.content
    run_job(answer.json()["versions"][0]["job_id"])
    return Document.objects.get(pk=answer.json()["id"])


def finds(api: Api, **more: Any) -> bool:
    answer = api.post("/search", {**QUESTION, **more})
    assert answer.status_code == 200, answer.content
    return bool(answer.json()["passages"])


def test_an_upload_for_administrators_is_never_found_by_a_member(
    corpus: Corpus, owner_api: Api, member_api: Api
) -> None:
    document = upload(owner_api, corpus, access=["role:admin"])
    assert (finds(owner_api), finds(member_api)) == (True, False)
    assert owner_api.get(f"/documents/{document.pk}").json()["access"] == ["role:admin"]
    assert member_api.get(f"/documents/{document.pk}").status_code == 404
    assert member_api.get(f"/corpora/{corpus.pk}/documents").json() == []
    asked_for = member_api.post("/search", {**QUESTION, "corpus_ids": [str(corpus.pk)]})
    assert asked_for.json()["passages"] == []


def test_a_change_of_the_list_holds_at_once_and_for_the_next_version(
    corpus: Corpus, owner_api: Api, member_api: Api
) -> None:
    document = upload(owner_api, corpus)
    assert finds(member_api)
    changed = owner_api.patch(f"/documents/{document.pk}", {"access": ["role:admin"]})
    assert (changed.status_code, changed.json()["access"]) == (200, ["role:admin"])
    assert not finds(member_api)
    upload(owner_api, corpus, f"{SALARIES} Since May.")
    assert not finds(member_api), "a new version keeps the list of its document"
    assert owner_api.get(f"/documents/{document.pk}").json()["title"] == document.title


def test_a_list_of_one_user_is_found_by_no_other(
    corpus: Corpus,
    admin: User,
    member: User,
    owner_api: Api,
    principal_of: Callable[[User], Principal],
) -> None:
    name = f"user:{member.username}"
    document = upload(owner_api, corpus, access=[name.upper()])
    assert owner_api.get(f"/documents/{document.pk}").json()["access"] == [name]
    assert document.access == [f"user:{member.pk}"]

    def finds(user: User) -> bool:
        return bool(search(principal=principal_of(user), query=SALARIES, limit=3).found)

    assert (finds(member), finds(admin)) == (True, False)
    owner_api.patch(f"/documents/{document.pk}", {"access": [f"user:{admin.username}"]})
    assert (finds(member), finds(admin)) == (False, True)


def test_a_corpus_hands_its_list_down_unless_the_document_has_one(
    corpus: Corpus, owner_api: Api, member_api: Api
) -> None:
    upload(owner_api, corpus)
    path = f"/corpora/{corpus.pk}"
    closed = owner_api.patch(path, {"access": ["role:admin"]})
    assert (closed.status_code, closed.json()["name"]) == (200, corpus.name)
    assert not finds(member_api)
    assert member_api.get(path).status_code == 404
    document = Document.objects.get()
    owner_api.patch(f"/documents/{document.pk}", {"access": ["role:member"]})
    assert finds(member_api)
    assert member_api.get(path).json()["access"] == ["role:admin"]


def test_metadata_is_what_a_search_filters_by(corpus: Corpus, owner_api: Api) -> None:
    document = upload(owner_api, corpus, metadata=json.dumps({"year": 2025}))
    owner_api.patch(f"/corpora/{corpus.pk}", {"metadata": {"kind": "pay", "year": 1999}})
    assert finds(owner_api, filters={"year": 2025, "kind": "pay"})
    assert not finds(owner_api, filters={"year": 1999})
    assert owner_api.patch(f"/documents/{document.pk}", {"metadata": {}}).status_code == 200
    assert finds(owner_api, filters={"year": 1999})
    assert owner_api.get(f"/corpora/{corpus.pk}").json()["metadata"] == {
        "kind": "pay",
        "year": 1999,
    }


def test_a_corpus_is_made_closed(owner_api: Api, member_api: Api) -> None:
    body = {"name": "Pay", "access": ["role:owner"], "metadata": {"kind": "pay"}}
    made = owner_api.post("/corpora", body)
    assert made.status_code == 201, made.content
    assert {name: made.json()[name] for name in body} == body
    assert member_api.get("/corpora").json() == []


def test_a_record_keeps_its_list_until_another_is_sent(
    corpus: Corpus, owner_api: Api, member_api: Api
) -> None:
    path = f"/corpora/{corpus.pk}/records/pay-1"
    record = {"fields": {"salary": SALARIES}}
    made = owner_api.put(path, {**record, "access": ["role:admin"]})
    assert (made.status_code, made.json()["access"]) == (201, ["role:admin"])
    assert not finds(member_api)
    owner_api.put(path, {"fields": {"salary": f"{SALARIES} Gross."}})
    assert not finds(member_api)
    opened = owner_api.put(path, {"fields": {"salary": f"{SALARIES} Gross."}, "access": []})
    assert (opened.status_code, opened.json()["access"]) == (200, [])
    assert finds(member_api)
    assert DocumentVersion.objects.count() == 2


@pytest.mark.parametrize(
    "body",
    [
        {"access": ["everybody"]},
        {"access": ["role:king"]},
        {"access": ["user:nobody"]},
        {"metadata": {"a": "\x00"}},
        {"metadata": {"a": "x" * 20_000}},
        {"title": " "},
    ],
)
def test_what_makes_no_sense_changes_nothing(
    corpus: Corpus, owner_api: Api, stranger: User, body: dict[str, Any]
) -> None:
    document = upload(owner_api, corpus, access=["role:admin"], metadata='{"a": 1}')
    refused = owner_api.patch(f"/documents/{document.pk}", body)
    assert refused.status_code == 422, refused.content
    document.refresh_from_db()
    assert (document.access, document.metadata) == (["role:admin"], {"a": 1})
    foreign = owner_api.patch(
        f"/documents/{document.pk}", {"access": [f"user:{stranger.username}"]}
    )
    assert foreign.status_code == 422, "only members can be named"


def test_an_upload_with_a_wrong_list_is_not_taken(corpus: Corpus, owner_api: Api) -> None:
    for form in ({"access": ["role:king"]}, {"metadata": "[1]"}, {"metadata": "{"}):
        assert owner_api.upload(corpus, "a.txt", b"text", **form).status_code == 422
    assert not Document.objects.exists()


def test_who_may_change_them(
    corpus: Corpus,
    admin: User,
    stranger: User,
    owner_api: Api,
    api_of: MakeKey,  # noqa: F811
) -> None:
    document = upload(owner_api, corpus, access=["role:admin"])
    for api, status in (
        (api_of(admin, "knowledge:read"), 403),
        (api_of(admin, role=Role.MEMBER), 403),
        (api_of(stranger), 404),
    ):
        for path in (f"/corpora/{corpus.pk}", f"/documents/{document.pk}"):
            assert api.patch(path, {"access": []}).status_code == status
        assert api.delete(f"/corpora/{corpus.pk}").status_code == status
    assert Chunk.objects.get().access == ["role:admin"]


def test_a_corpus_is_deleted_with_its_documents(corpus: Corpus, owner_api: Api) -> None:
    upload(owner_api, corpus)
    assert owner_api.delete(f"/corpora/{corpus.pk}").status_code == 204
    assert not Corpus.objects.exists() and not Chunk.objects.exists()
