"""The same over REST."""

from collections.abc import Callable

import pytest

from praxis.accounts.models import Role, User, Workspace
from praxis.jobs.running import run_job
from praxis.knowledge.models import Corpus, DocumentVersion
from praxis.knowledge.tests.test_api import Api
from praxis.knowledge.tests.test_api import api_of as api_of
from praxis.workbench.models import GoldenRun

pytestmark = pytest.mark.django_db

MakeKey = Callable[..., Api]


def test_from_a_question_to_its_score(
    admin: User, api_of: MakeKey, shop: DocumentVersion, workspace: Workspace
) -> None:
    api = api_of(admin)
    expected = [{"document_id": str(shop.document_id), "passage": "The kettle has a warranty"}]
    made = api.post("/golden-questions", {"question": "How long?", "expected": expected})
    assert made.status_code == 201, made.content
    assert api.get("/golden-questions").json() == [made.json()]
    started = api.post("/golden-runs", {"settings": {"fusion": "rank"}})
    assert started.status_code == 202 and started.json()["tried"]["fusion"] == "rank"
    run_job(GoldenRun.objects.get().job_id)  # type: ignore[arg-type]
    run = api.get(f"/golden-runs/{started.json()['id']}").json()
    assert run["state"] == "succeeded" and set(run["figures"]) >= {"ndcg10", "recall10", "mrr"}
    assert [each["question"] for each in run["results"]] == ["How long?"]
    assert api.get("/golden-runs").json()[0]["id"] == run["id"]
    assert api.delete(f"/golden-questions/{made.json()['id']}").status_code == 204
    assert api.post("/golden-runs", {}).status_code == 422


def test_stored_settings_are_read_changed_and_forgotten(
    admin: User, api_of: MakeKey, corpus: Corpus, shop: DocumentVersion
) -> None:
    api = api_of(admin)
    path = f"/search/settings?corpus_id={corpus.pk}"
    assert api.put(path, {"num_candidates": 20}).json()["num_candidates"] == 20
    assert api.get(path).json()["num_candidates"] == 20
    assert api.get("/search/settings").json()["num_candidates"] == 50
    refused = api.put(path, {"num_candidates": 1})
    assert refused.status_code == 422 and "from 5 to 200" in refused.json()["error"]["message"]
    assert api.delete(path).status_code == 204
    assert api.get(path).json()["num_candidates"] == 50


def test_a_search_can_try_settings(admin: User, api_of: MakeKey, shop: DocumentVersion) -> None:
    api = api_of(admin)
    body = {"query": "warranty", "settings": {"min_relevance": 1.0}}
    assert api.post("/search", body).json()["passages"] == []
    wrong = api.post("/search", {"query": "warranty", "settings": {"fusion": "magic"}})
    assert wrong.status_code == 422


def test_members_and_strangers_are_kept_out(
    workspace: Workspace,
    admin: User,
    stranger: User,
    api_of: MakeKey,
    shop: DocumentVersion,
) -> None:
    low = api_of(admin, role=Role.MEMBER)
    other = api_of(stranger)
    body = {"question": "?", "expected": [{"document_id": str(shop.document_id)}]}
    assert low.post("/golden-questions", body).status_code == 403
    assert other.post("/golden-questions", body).status_code == 404
    assert low.get("/search/settings").status_code == 403
    assert low.post("/search", {"query": "a", "settings": {}}).status_code == 403
    run = GoldenRun.objects.create(workspace=workspace, origin="asked")
    assert other.get(f"/golden-runs/{run.pk}").status_code == 404
    assert other.get("/golden-runs").json() == []
