"""Fine-tuning over REST."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.test import Client

from modeling.training.tests.conftest import conversation
from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.integrations.keys import create_key
from praxis.jobs.models import JobMetric, JobState
from praxis.jobs.running import run_job
from praxis.tuning.models import Adapter, TuningRun
from praxis.tuning.tests.conftest import SLUG, jsonl, make_trained
from tests.fakes import ModelServer

MakeClient = Callable[..., Client]
BOTH = ("tuning:read", "tuning:write")


@pytest.fixture
def api(principal: Principal) -> MakeClient:
    def make(
        scopes: Iterable[str] = BOTH, *, of: Principal = principal, role: Role = Role.ADMIN
    ) -> Client:
        _key, secret = create_key(principal=of, name="test", scopes=tuple(scopes), role=role)
        return Client(headers={"Authorization": f"Bearer {secret}"})

    return make


def upload(client: Client, lines: list[Any]) -> Any:
    return client.post("/api/v1/datasets", {"name": "talk", "file": jsonl(lines)})


def test_a_program_uploads_reads_the_report_and_starts_a_run(api: MakeClient) -> None:
    client = api()
    lines: list[Any] = [conversation(seed) for seed in range(20)]
    lines[16] = "broken\n"
    uploaded = upload(client, lines)
    assert uploaded.status_code == 201
    version = uploaded.json()
    assert (version["state"], version["usable_rows"], version["rows"]) == ("ready", 19, 20)
    report = client.get(f"/api/v1/datasets/versions/{version['id']}").json()["report"]
    [problem] = report["problems"]
    assert (problem["line"], problem["severity"], problem["code"]) == (17, "error", "invalid_json")
    assert "Not valid JSON" in problem["message"]
    listed = client.get("/api/v1/datasets").json()
    assert listed["count"] == 1
    assert listed["items"][0]["versions"][0]["id"] == version["id"]

    started = client.post(
        "/api/v1/tuning/runs",
        {"dataset_version": version["id"], "assistant": SLUG, "name": "first", "steps": 4},
        content_type="application/json",
    )
    assert started.status_code == 201
    run = started.json()
    assert (run["state"], run["recipe"]["steps"]) == ("queued", 4)

    row = TuningRun.objects.get(pk=run["id"])
    JobMetric.objects.create(job_id=row.job_id, step=1, values={"loss": 2.5})
    address = f"/api/v1/tuning/runs/{run['id']}"
    assert client.get(address).json()["figures"] == {"step": 1, "loss": 2.5}
    assert client.get(f"{address}/metrics?after=0").json()["points"] == [{"step": 1, "loss": 2.5}]

    assert client.post(f"{address}/cancel").json()["state"] == JobState.CANCELLED
    again = client.post(f"{address}/cancel")
    assert again.status_code == 409
    assert again.json()["error"]["type"] == "conflict"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"assistant": "nobody"}, "assistant must be one of"),
        ({"rank": 0}, "rank"),
        ({"name": "Not A Name"}, "name"),
        ({"schedule": "linear"}, "schedule"),
    ],
)
def test_a_wrong_value_is_422_and_named(
    api: MakeClient, make_run: Callable[..., TuningRun], changes: dict[str, Any], said: str
) -> None:
    version = make_run("other").dataset_version
    body = {"dataset_version": str(version.pk), "assistant": SLUG, "name": "first", **changes}
    answer = api().post("/api/v1/tuning/runs", body, content_type="application/json")
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
    assert TuningRun.objects.count() == 1


def test_scopes_roles_and_workspaces_are_kept_apart(
    api: MakeClient,
    make_run: Callable[..., TuningRun],
    stranger: User,
    principal_of: Callable[..., Principal],
) -> None:
    run = make_run()
    adapter = Adapter.objects.create(
        workspace=run.workspace, name=run.adapter_name, run=run, directory="x", size=1
    )
    reads = [
        f"/api/v1/datasets/{run.dataset_version.dataset_id}",
        f"/api/v1/datasets/versions/{run.dataset_version_id}",
        f"/api/v1/tuning/runs/{run.pk}",
        f"/api/v1/tuning/runs/{run.pk}/metrics",
        f"/api/v1/adapters/{adapter.pk}",
    ]
    lists = ["/api/v1/datasets", "/api/v1/tuning/runs", "/api/v1/adapters"]
    writes = [
        f"/api/v1/tuning/runs/{run.pk}/cancel",
        f"/api/v1/adapters/{adapter.pk}/promote",
    ]

    def answers(client: Client) -> tuple[set[int], set[int]]:
        return (
            {client.get(path).status_code for path in (*reads, *lists)},
            {
                client.post(path, {"assistant": SLUG}, content_type="application/json").status_code
                for path in writes
            },
        )

    assert answers(Client()) == ({401}, {401})
    assert answers(api(["chat"])) == ({403}, {403})
    assert answers(api(role=Role.AGENT)) == ({403}, {403})
    read_only = api(["tuning:read"])
    assert answers(read_only) == ({200}, {403})
    foreign = api(of=principal_of(stranger))
    assert {foreign.get(path).status_code for path in reads} == {404}
    assert {foreign.get(path).json()["count"] for path in lists} == {0}
    assert answers(foreign)[1] == {404}


def test_an_adapter_is_promoted_over_rest(
    api: MakeClient, make_run: Callable[..., TuningRun]
) -> None:
    run = make_run()
    adapter = Adapter.objects.create(
        workspace=run.workspace, name=run.adapter_name, run=run, directory="gone", size=1
    )
    refused = api().post(
        f"/api/v1/adapters/{adapter.pk}/promote",
        {"assistant": SLUG},
        content_type="application/json",
    )
    assert refused.status_code == 409
    assert "MANIFEST.json" in refused.json()["error"]["message"]


def test_a_program_tunes_an_encoder_and_lets_search_go_over(
    api: MakeClient, principal: Principal, model_server: ModelServer, settings: Any
) -> None:
    settings.ENCODER_FOLDER = "base"
    client = api()
    body = {"name": "nearer", "from_documents": 100}
    started = client.post("/api/v1/tuning/encoders", body, content_type="application/json")
    assert started.status_code == 201
    made = started.json()
    assert (made["state"], made["job"]["state"], made["in_use"]) == ("training", "queued", False)
    again = client.post("/api/v1/tuning/encoders", body, content_type="application/json")
    assert again.status_code == 422 and "exists already" in again.json()["error"]["message"]
    address = f"/api/v1/tuning/encoders/{made['id']}"
    refused = client.post(f"{address}/promote")
    assert refused.status_code == 409 and "not trained yet" in refused.json()["error"]["message"]
    assert client.post(f"{address}/cancel").json()["job"]["state"] == "cancelled"

    trained = make_trained(principal, model_server, settings, "further")
    address = f"/api/v1/tuning/encoders/{trained.pk}"
    assert client.post(f"{address}/promote").json()["indexing"]["state"] == "queued"
    trained.refresh_from_db()
    assert trained.indexing_id is not None
    run_job(trained.indexing_id)
    listed = client.get("/api/v1/tuning/encoders").json()
    assert listed["in_use"]["encoder"] == str(trained.pk)
    assert [(one["name"], one["in_use"]) for one in listed["items"]] == [
        ("further", True),
        ("nearer", False),
    ]
    assert client.post(f"{address}/retire").status_code == 409
    assert client.post("/api/v1/tuning/encoders/return").json()["encoder"] is None
    assert client.post(f"{address}/retire").json()["state"] == "retired"


def test_encoders_ask_for_the_scope_and_the_role(api: MakeClient) -> None:
    for client in (api(["chat"]), api(role=Role.MEMBER)):
        assert client.get("/api/v1/tuning/encoders").status_code == 403
        body = {"name": "nearer"}
        answer = client.post("/api/v1/tuning/encoders", body, content_type="application/json")
        assert answer.status_code == 403
        assert client.post("/api/v1/tuning/encoders/return").status_code == 403
