"""`/live`, `/ready` and `/metrics`."""

import time
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from praxis.accounts.models import Workspace
from praxis.jobs import services
from praxis.jobs.models import Job
from praxis.jobs.tests import sample_kinds  # noqa: F401  (registers the kinds)
from praxis.observability import health
from tests.fakes import ModelServer

NOWHERE = "unix:///nonexistent/valkey.sock?db=0"


def ready(client: Client) -> dict[str, Any]:
    response = client.get("/ready")
    return {"code": response.status_code, **response.json()}


@pytest.mark.django_db
def test_live_asks_nothing(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        response = client.get("/live")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert "no-store" in response["Cache-Control"]


@pytest.mark.django_db
def test_ready_when_every_part_answers(client: Client, model_server: ModelServer) -> None:
    answer = ready(client)
    assert (answer["code"], answer["status"]) == (200, "ready")
    assert {name: check["ok"] for name, check in answer["checks"].items()} == {
        "database": True,
        "broker": True,
        "model_server": True,
    }


@pytest.mark.django_db
def test_without_a_model_it_is_degraded_but_serves(
    client: Client, model_server: ModelServer, settings: Settings
) -> None:
    model_server.down()
    answer = ready(client)
    assert (answer["code"], answer["status"]) == (200, "degraded")
    assert "does not answer" in answer["checks"]["model_server"]["problem"]
    model_server.up()
    settings.LLM_API_KEY = "wrong"
    assert "LLM_API_KEY" in ready(client)["checks"]["model_server"]["problem"]


@pytest.mark.django_db
def test_a_separate_embedding_server_is_asked_too(
    client: Client, model_server: ModelServer, settings: Settings
) -> None:
    settings.EMBEDDING_BASE_URL = "http://127.0.0.1:1/v1"
    checks = ready(client)["checks"]
    assert (checks["model_server"]["ok"], checks["embedding_server"]["ok"]) == (True, False)


@pytest.mark.django_db
def test_without_the_broker_it_is_unavailable(
    client: Client, model_server: ModelServer, settings: Settings
) -> None:
    settings.REDIS_URL = NOWHERE
    answer = ready(client)
    assert (answer["code"], answer["status"]) == (503, "unavailable")
    assert "nonexistent" not in str(answer), "no address is told"


@pytest.mark.django_db
def test_without_the_database_it_says_so_quickly(
    client: Client, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nonexistent")
    began = time.monotonic()
    answer = ready(client)
    assert time.monotonic() - began < 5
    assert (answer["code"], answer["checks"]["database"]["ok"]) == (503, False)


@pytest.mark.django_db(transaction=True)
def test_a_migration_that_is_not_applied_is_named(
    client: Client, model_server: ModelServer
) -> None:
    newest = sorted(key for key in health._newest_migrations() if key[0] == "jobs")[-1]
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied(*newest)
    try:
        answer = ready(client)
    finally:
        recorder.record_applied(*newest)
    assert answer["code"] == 503
    assert "jobs." + newest[1] in answer["checks"]["database"]["problem"]


@pytest.mark.django_db
def test_metrics_tell_queues_jobs_and_the_model(
    client: Client, model_server: ModelServer, workspace: Workspace
) -> None:
    services.enqueue(kind="test.steps", workspace=workspace, payload={"steps": 1})
    Job.objects.update(next_attempt_at="2026-01-01T00:00Z")
    text = client.get("/metrics").content.decode()
    assert 'praxis_jobs{kind="test.steps",state="queued"} 1.0' in text
    assert 'praxis_queue_messages{queue="ingest"}' in text
    assert "praxis_broker_up 1.0" in text and "praxis_model_server_up 1.0" in text
    waiting = next(
        line for line in text.splitlines() if 'oldest_waiting_seconds{queue="ingest"}' in line
    )
    assert float(waiting.split()[-1]) > 1_000_000
    assert "django_http_requests" in text


@pytest.mark.django_db
def test_metrics_survive_a_broker_and_a_model_that_are_down(
    client: Client, model_server: ModelServer, settings: Settings
) -> None:
    settings.REDIS_URL = NOWHERE
    model_server.down()
    text = client.get("/metrics").content.decode()
    assert "praxis_broker_up 0.0" in text and "praxis_model_server_up 0.0" in text
    assert "praxis_queue_messages{" not in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("token", "address", "headers", "code"),
    [
        ("", "127.0.0.1", {}, 200),
        ("", "::1", {}, 200),
        ("", "192.0.2.4", {}, 403),
        ("", "127.0.0.1", {"x-forwarded-for": "192.0.2.4"}, 403),
        ("", "", {}, 403),
        ("a-long-token", "127.0.0.1", {}, 403),
        ("a-long-token", "192.0.2.4", {"authorization": "Bearer a-long-token"}, 200),
        ("a-long-token", "192.0.2.4", {"authorization": "Bearer other"}, 403),
    ],
)
def test_metrics_are_not_for_everyone(
    client: Client,
    model_server: ModelServer,
    settings: Settings,
    token: str,
    address: str,
    headers: dict[str, str],
    code: int,
) -> None:
    settings.METRICS_TOKEN = token
    response = client.get("/metrics", REMOTE_ADDR=address, headers=headers)
    assert response.status_code == code


def test_nothing_is_changed_through_them(client: Client) -> None:
    for path in ("/live", "/ready", "/metrics"):
        assert client.post(path).status_code == 405
