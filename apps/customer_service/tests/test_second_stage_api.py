"""The second stage of intents over REST: train, read, put into use, go back; and its webhooks."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.customer_service import second_stage
from apps.customer_service.models import IntentModel, ServiceDefinition
from apps.customer_service.tests.test_second_stage import _tiny_base as _tiny_base
from apps.customer_service.tests.test_second_stage import definition, trained
from apps.customer_service.tests.test_second_stage import desk as desk
from apps.customer_service.tests.test_second_stage import principal as principal
from apps.customer_service.tests.test_services_api import key_for
from modeling.retrieval.tests.conftest import tiny_encoder as tiny_encoder
from praxis.accounts.access import Principal
from praxis.accounts.models import AuditEntry, Role, User, Workspace
from praxis.integrations.models import WebhookEndpoint, WebhookEvent
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import run_job
from tests.fakes import ModelServer

# The jobs beat their heart from another thread, which sees committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

BASE = "/api/v1/service/second-stages"
SCOPES = ("tuning:read", "tuning:write")
Call = Callable[..., Any]


@pytest.fixture
def call(client: Client, admin: User, workspace: Workspace) -> Call:
    """`call("get" or "post", path)` with an administrator's key."""
    key = key_for(admin, workspace, Role.ADMIN, *SCOPES)

    def send(method: str, path: str = "", **headers: str) -> Any:
        return getattr(client, method)(BASE + path, headers={**key, **headers})

    return send


def refusal(answer: Any) -> str:
    assert answer.status_code == 409, answer.content
    error: dict[str, str] = answer.json()["error"]
    assert error["type"] == "conflict"
    return error["message"]


def test_it_is_started_and_read_until_it_is_in_use(
    call: Call, desk: ServiceDefinition, model_server: ModelServer
) -> None:
    answer = call("post")
    assert answer.status_code == 202, answer.content
    started = answer.json()
    assert (started["state"], started["in_use"], started["better"]) == ("training", False, None)
    assert (started["result"], started["sha256"]) == ({}, None)
    assert started["job"]["state"] == "queued"
    assert call("get", f"/{started['id']}").json() == started
    model_server.encoders.add(started["served_name"])
    run_job(IntentModel.objects.get().job_id)  # type: ignore[arg-type]
    read = call("get", f"/{started['id']}").json()
    assert (read["state"], read["job"]["state"]) == ("trained", "succeeded")
    assert read["in_use"] == read["better"]
    assert read["result"]["held_out"] == 24 and read["result"]["samples"] == 126
    assert read["result"]["before"].keys() == read["result"]["after"].keys()
    listed = call("get").json()
    assert listed["items"] == [read] and listed["count"] == 1
    assert listed["in_use"] == (read["id"] if read["in_use"] else None)


def test_the_list_comes_in_pages_the_newest_first(call: Call, principal: Principal) -> None:
    made = [trained(principal, in_use=number == 1) for number in range(3)]
    page = call("get", "?limit=1&offset=1").json()
    assert (page["count"], page["in_use"]) == (3, str(made[1].pk))
    assert [item["id"] for item in page["items"]] == [str(made[1].pk)]
    assert call("get", "?limit=0").status_code == 422


def test_one_is_put_into_use_and_given_up(call: Call, principal: Principal) -> None:
    earlier, newer = trained(principal, in_use=False), trained(principal)
    promoted = call("post", f"/{earlier.pk}/promote").json()
    assert (promoted["id"], promoted["in_use"]) == (str(earlier.pk), True)
    assert not call("get", f"/{newer.pk}").json()["in_use"]
    assert call("post", "/return").status_code == 204
    assert call("post", "/return").status_code == 204
    assert call("get").json()["in_use"] is None
    assert AuditEntry.objects.filter(action="intents.use").count() == 3


def test_what_can_not_be_used_is_refused_in_a_sentence(
    call: Call, principal: Principal, desk: ServiceDefinition, settings: Any
) -> None:
    training = second_stage.launch(principal=principal)
    assert refusal(call("post", f"/{training.pk}/promote")) == "It is not trained yet."
    old = trained(principal, in_use=False)
    settings.EMBEDDING_MODEL = "another"
    assert "vectors come from another now" in refusal(call("post", f"/{old.pk}/promote"))
    settings.EMBEDDING_MODEL = old.base
    second_stage.directory_of(old).rename(settings.VAR_DIR / "gone")
    assert "Its files are gone" in refusal(call("post", f"/{old.pk}/promote"))
    assert not IntentModel.objects.filter(in_use=True).exists()


def test_one_is_trained_at_a_time_and_a_cancelled_one_makes_way(
    call: Call, desk: ServiceDefinition
) -> None:
    first = call("post").json()
    assert refusal(call("post")) == "It is being trained already."
    cancelled = call("post", f"/{first['id']}/cancel").json()
    assert (cancelled["state"], cancelled["job"]["state"]) == ("failed", "cancelled")
    refusal(call("post", f"/{first['id']}/cancel"))
    second = call("post")
    assert second.status_code == 202 and second.json()["id"] != first["id"]
    assert call("get", f"/{first['id']}").status_code == 404


def test_too_few_samples_are_refused_in_the_reader_s_language(
    call: Call, workspace: Workspace, desk: ServiceDefinition
) -> None:
    workspace.service_definitions.update(definition=definition(delivery=["send"], look=["shade"]))
    said = refusal(call("post"))
    assert "which makes 2 here, and 20 are needed" in said
    assert "英文例句太少" in refusal(call("post", **{"Accept-Language": "zh-hans"}))
    assert not IntentModel.objects.exists() and not Job.objects.exists()


def test_a_repeated_request_starts_one_training(
    call: Call, workspace: Workspace, desk: ServiceDefinition
) -> None:
    whole = desk.definition
    workspace.service_definitions.update(definition=definition(delivery=["send"]))
    refusal(call("post", **{"Idempotency-Key": "k"}))
    workspace.service_definitions.update(definition=whole)
    # What was refused had no effect, so its key starts one now.
    first = call("post", **{"Idempotency-Key": "k"})
    again = call("post", **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert IntentModel.objects.count() == 1


def test_rights(
    client: Client,
    call: Call,
    principal: Principal,
    admin: User,
    stranger: User,
    other_workspace: Workspace,
    workspace: Workspace,
    desk: ServiceDefinition,
) -> None:
    mine = trained(principal, in_use=False)
    theirs = key_for(stranger, other_workspace, Role.ADMIN, *SCOPES)
    agent = key_for(admin, workspace, Role.AGENT, *SCOPES)
    reader = key_for(admin, workspace, Role.ADMIN, "tuning:read")
    other_scope = key_for(admin, workspace, Role.ADMIN, "assistants:read", "assistants:write")
    changing = ["", "/return", f"/{mine.pk}/promote", f"/{mine.pk}/cancel"]
    for headers, status in ((agent, 403), (other_scope, 403), ({}, 401)):
        for path in ("", f"/{mine.pk}"):
            assert client.get(BASE + path, headers=headers).status_code == status
        for path in changing:
            assert client.post(BASE + path, headers=headers).status_code == status
    assert client.get(f"{BASE}/{mine.pk}", headers=reader).status_code == 200
    assert [client.post(BASE + path, headers=reader).status_code for path in changing] == [403] * 4
    assert client.get(BASE, headers=theirs).json() == {"count": 0, "in_use": None, "items": []}
    assert client.get(f"{BASE}/{mine.pk}", headers=theirs).status_code == 404
    for path in changing[2:]:
        assert client.post(BASE + path, headers=theirs).status_code == 404
    assert client.post(f"{BASE}/return", headers=theirs).status_code == 204
    assert not IntentModel.objects.get().in_use


def test_the_description_names_every_answer(client: Client) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    start = paths[BASE]["post"]
    assert start["responses"].keys() == {"202", "409"}
    assert {path.removeprefix(BASE) for path in paths if path.startswith(BASE)} == {
        "", "/{model_id}", "/{model_id}/cancel", "/{model_id}/promote", "/return",
    }  # fmt: skip


# Webhooks -----------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(workspace: Workspace) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(
        workspace=workspace, url="https://hooks.example.com", secret_encrypted=b""
    )


def events_of(model: IntentModel) -> dict[str, dict[str, Any]]:
    events = WebhookEvent.objects.filter(subject=str(model.pk)).order_by("seq")
    return {event.name: event.data for event in events}


def test_webhooks_hear_of_its_start_and_its_end(
    principal: Principal,
    desk: ServiceDefinition,
    model_server: ModelServer,
    endpoint: WebhookEndpoint,
) -> None:
    model = second_stage.launch(principal=principal)
    assert model.job is not None
    # The server doesn't serve it yet: the job waits, and is announced once all the same.
    run_job(model.job.pk)
    assert list(events_of(model)) == ["tuning.started"]
    model_server.encoders.add(model.served_name)
    Job.objects.update(next_attempt_at=model.job.created_at)
    run_job(model.job.pk)
    model = IntentModel.objects.select_related("workspace").get()
    own = {"name": f"intents-{model.pk.hex}", "encoder": model.served_name}
    assert events_of(model) == {
        "tuning.started": own,
        "tuning.finished": {**own, "sha256": model.sha256, "figures": model.result},
    }
    assert WebhookEvent.objects.count() == 2


def test_webhooks_hear_why_it_failed(
    principal: Principal,
    workspace: Workspace,
    desk: ServiceDefinition,
    endpoint: WebhookEndpoint,
) -> None:
    model = second_stage.launch(principal=principal)
    # Its services shrink while it waits.
    workspace.service_definitions.update(definition=definition(delivery=["send"], look=["shade"]))
    assert model.job is not None and run_job(model.job.pk)
    job = Job.objects.get()
    assert job.state == JobState.FAILED
    failed = events_of(model)["tuning.failed"]
    assert failed == {**second_stage.event_data(model), "message": str(job.reason)}


def test_webhooks_hear_of_the_last_attempt(
    principal: Principal,
    desk: ServiceDefinition,
    model_server: ModelServer,
    endpoint: WebhookEndpoint,
) -> None:
    model = second_stage.launch(principal=principal)
    assert model.job is not None
    for attempt in (1, 2, 3):
        assert "tuning.failed" not in events_of(model), attempt
        Job.objects.update(next_attempt_at=model.job.created_at)
        run_job(model.job.pk)
    job = Job.objects.get()
    assert job.state == JobState.DEAD
    assert events_of(model)["tuning.failed"]["message"] == str(job.reason)
