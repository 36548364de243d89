"""Strangers learn nothing, members may not, administrators may."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.models import User, Workspace
from praxis.knowledge.models import Encoder
from praxis.tuning.models import Adapter, TuningRun

ClientFor = Callable[[User], Client]


@pytest.fixture
def addresses(make_run: Callable[..., TuningRun], workspace: Workspace) -> list[tuple[str, str]]:
    """Every page and act, on real objects."""
    run = make_run()
    adapter = Adapter.objects.create(
        workspace=workspace, name=run.adapter_name, run=run, directory=run.adapter_name, size=1
    )
    encoder = Encoder.objects.create(workspace=workspace, name="nearer", recipe={}, base="b")
    version = run.dataset_version
    objects: dict[str, list[Any]] = {
        "index": [],
        "datasets": [],
        "upload": [],
        "corrections": [],
        "launch": [],
        "adapters": [],
        "experts": [],
        "dataset": [version.dataset_id],
        "version": [version.pk],
        "usable_lines": [version.pk],
        "run": [run.pk],
        "run_status": [run.pk],
        "run_metrics": [run.pk],
        "run_log": [run.pk],
        "promote": [adapter.pk],
        "retire": [adapter.pk],
        "go_back": [run.assistant],
        "encoders": [],
        "encoder_return": [],
        "encoder": [encoder.pk],
        "encoder_status": [encoder.pk],
        "encoder_use": [encoder.pk],
        "encoder_retire": [encoder.pk],
    }
    posts = {"promote", "retire", "go_back", "encoder_return", "encoder_use", "encoder_retire"}
    return [
        ("post" if name in posts else "get", reverse(f"tuning:{name}", args=[workspace.slug, *ids]))
        for name, ids in objects.items()
    ]


def test_every_route_is_in_the_list(addresses: list[tuple[str, str]]) -> None:
    from praxis.tuning.urls import urlpatterns

    assert len(addresses) == len(urlpatterns)


def test_strangers_get_404(
    stranger: User, client_for: ClientFor, addresses: list[tuple[str, str]]
) -> None:
    client = client_for(stranger)
    answers = {path: getattr(client, method)(path).status_code for method, path in addresses}
    assert set(answers.values()) == {404}, answers


def test_members_and_agents_get_403(
    member: User, agent: User, client_for: ClientFor, addresses: list[tuple[str, str]]
) -> None:
    for person in (member, agent):
        client = client_for(person)
        answers = {path: getattr(client, method)(path).status_code for method, path in addresses}
        assert set(answers.values()) == {403}, answers


def test_visitors_are_sent_to_sign_in(addresses: list[tuple[str, str]]) -> None:
    client = Client()
    answers = {path: getattr(client, method)(path).status_code for method, path in addresses}
    assert set(answers.values()) == {302}, answers


def test_an_id_of_another_workspace_is_not_found_in_ones_own(
    stranger: User,
    other_workspace: Workspace,
    client_for: ClientFor,
    addresses: list[tuple[str, str]],
    workspace: Workspace,
) -> None:
    client = client_for(stranger)
    with_ids = [
        (method, path.replace(f"/w/{workspace.slug}/", f"/w/{other_workspace.slug}/"))
        for method, path in addresses
        if any(len(part) == 36 for part in path.split("/"))
    ]
    assert len(with_ids) == 13
    answers = {path: getattr(client, method)(path).status_code for method, path in with_ids}
    assert set(answers.values()) == {404}, answers
