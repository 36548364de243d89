"""The fragment that pages embed, and its buttons: who sees them, who may press them."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from praxis.accounts.models import AuditEntry, User, Workspace
from praxis.jobs import services
from praxis.jobs.models import Job, JobState
from praxis.jobs.tests import sample_kinds  # noqa: F401  (registers the kinds)

ClientFor = Callable[[User], Client]
ACTS = ("cancel", "pause", "resume", "retry")


@pytest.fixture
def job(workspace: Workspace) -> Job:
    return services.enqueue(kind="test.steps", workspace=workspace, payload={"steps": 3})


@pytest.fixture
def running(job: Job) -> Job:
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(
        state=JobState.RUNNING,
        lease_until=now + timedelta(minutes=1),
        attempt=1,
        stage="Reading pages",
        unit="pages",
        done=30,
        total=120,
        measured_since=now - timedelta(seconds=10),
        progress_at=now,
    )
    job.refresh_from_db()
    return job


def url(act: str, job: Job, workspace: Workspace | None = None) -> str:
    inside = workspace or job.workspace
    assert inside
    return reverse(f"jobs:{act}", args=[inside.slug, job.pk])


def state(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def test_it_shows_stage_amount_speed_and_time_left(
    running: Job, member: User, client_for: ClientFor
) -> None:
    page = client_for(member).get(url("progress", running)).content.decode()
    for part in ("Reading pages", "30 of 120 pages", "3 pages per second", "0:00:30 left"):
        assert part in page
    assert 'value="25"' in page
    assert f'hx-get="{url("progress", running)}"' in page and "every 2s" in page
    assert "<form" not in page, "a member may not steer"


def test_it_stops_asking_when_the_job_has_ended_and_tells_the_page(
    job: Job, admin: User, client_for: ClientFor
) -> None:
    Job.objects.filter(pk=job.pk).update(
        state=JobState.FAILED, finished_at=timezone.now(), message="Page <7> is broken."
    )
    response = client_for(admin).get(url("progress", job))
    page = response.content.decode()
    assert response["HX-Trigger"] == "job-finished"
    assert "every 2s" not in page and "<progress" not in page
    assert "Page &lt;7&gt; is broken." in page
    assert "Try again" in page and ">Cancel<" not in page


def test_a_button_works_as_a_plain_form_and_leads_back(
    job: Job, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    response = client.post(
        url("cancel", job), headers={"referer": "http://testserver/w/north-clinic/tuning/"}
    )
    assert (response.status_code, response["Location"]) == (
        302,
        "http://testserver/w/north-clinic/tuning/",
    )
    assert state(job) == JobState.CANCELLED
    assert AuditEntry.objects.filter(action="job.cancel", object_id=str(job.pk)).count() == 1
    response = client.post(url("retry", job), headers={"referer": "https://elsewhere.test/"})
    assert (response.status_code, response["Location"]) == (302, "/")
    assert state(job) == JobState.QUEUED


def test_with_htmx_a_button_answers_with_the_fragment(
    running: Job, admin: User, client_for: ClientFor
) -> None:
    client = client_for(admin)
    page = client.post(url("pause", running), headers={"hx-request": "true"}).content.decode()
    assert "Pausing" in page and "Go on" in page
    page = client.post(url("retry", running), headers={"hx-request": "true"}).content.decode()
    assert "Only a failed or cancelled job can be tried again." in page
    page = client.post(url("resume", running), headers={"hx-request": "true"}).content.decode()
    assert "Running" in page
    page = client.post(url("cancel", running), headers={"hx-request": "true"}).content.decode()
    assert "Cancelling" in page


def test_who_started_a_job_may_steer_it(
    workspace: Workspace, member: User, agent: User, client_for: ClientFor
) -> None:
    job = services.enqueue(
        kind="test.steps", workspace=workspace, payload={"steps": 1}, created_by=member
    )
    assert client_for(agent).post(url("cancel", job)).status_code == 403
    assert state(job) == JobState.QUEUED
    assert client_for(member).post(url("cancel", job)).status_code == 302
    assert state(job) == JobState.CANCELLED


@pytest.mark.parametrize("act", ["progress", *ACTS])
def test_strangers_learn_nothing(
    act: str, job: Job, stranger: User, other_workspace: Workspace, client_for: ClientFor
) -> None:
    client = client_for(stranger)
    ask = client.get if act == "progress" else client.post
    assert ask(url(act, job)).status_code == 404
    # Their own workspace in the address doesn't open someone else's job either.
    assert ask(url(act, job, other_workspace)).status_code == 404
    unknown = reverse(f"jobs:{act}", args=[other_workspace.slug, uuid.uuid4()])
    assert ask(unknown).status_code == 404
    assert Client().get(url(act, job)).status_code in (302, 405)
    assert state(job) == JobState.QUEUED


@pytest.mark.parametrize("act", ACTS)
def test_nothing_changes_by_a_link(act: str, job: Job, admin: User, client_for: ClientFor) -> None:
    assert client_for(admin).get(url(act, job)).status_code == 405


@pytest.mark.parametrize("name", JobState.values)
def test_every_state_can_be_shown(name: str, job: Job) -> None:
    job.state = name
    page = render_to_string("jobs/_progress.html", {"job": job, "controls": True})
    assert job.get_state_display() in page
