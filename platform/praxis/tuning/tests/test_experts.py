"""The page of the routing lens."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from praxis.accounts.models import User, Workspace
from praxis.tuning.models import DatasetVersion
from tests.fakes import ModelServer


@pytest.fixture
def client(admin: User, client_for: Callable[[User], Client]) -> Client:
    return client_for(admin)


@pytest.fixture
def mixture(model_server: ModelServer) -> ModelServer:
    model_server.routed_experts = True
    return model_server


def address(workspace: Workspace) -> str:
    return reverse("tuning:experts", args=[workspace.slug])


def test_a_question_is_drawn_token_by_token(
    client: Client, workspace: Workspace, mixture: ModelServer
) -> None:
    page = client.post(address(workspace), {"question": "cancel my order"})
    text = page.content.decode()
    assert page.status_code == 200
    assert [asked.path for asked in mixture.requests] == ["/v1/models", "/v1/routing"]
    assert mixture.requests[-1].body["messages"] == [{"role": "user", "content": "cancel my order"}]
    # "cancel" has six letters: expert 2 first, and three quarters of eight shades.
    assert '<th scope="row">␣cancel</th><td data-heat="6" title="expert 2: 75 %, expert 3' in text
    # Of six choices in layer 0 expert 2 got three: twice its quarter, the darkest shade.
    use = text.split("percentage of the layer")[1]
    assert '<th scope="row">2</th><td data-heat="8" title="50.0 %' in use
    assert '<th scope="row">0</th><td data-heat="0" title="0.0 %' in use
    assert "style=" not in text


def test_data_sets_are_compared(
    client: Client, workspace: Workspace, version: DatasetVersion, mixture: ModelServer
) -> None:
    assert str(version) in client.get(address(workspace)).content.decode()
    page = client.post(address(workspace), {"compare": "1", "versions": [str(version.pk)]})
    text = page.content.decode()
    sent = mixture.requests[-1].body["texts"][str(version.pk)]
    assert len(sent) == 40
    with version.usable.open("rb") as file:
        assert sent[0].split("\n")[0].encode() in file.readline()
    assert "3.25" in text
    assert 'data-heat="8"' in text


def test_a_long_data_set_is_cut(
    client: Client,
    workspace: Workspace,
    version: DatasetVersion,
    mixture: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("praxis.tuning.lens.TEXT_BYTES", 500)
    client.post(address(workspace), {"compare": "1", "versions": [str(version.pk)]})
    sent = mixture.requests[-1].body["texts"][str(version.pk)]
    assert sum(len(text.encode()) for text in sent) == 500


@pytest.mark.parametrize(
    ("routed_experts", "said"),
    [(False, "is dense: all of its weights work"), (None, "does not say which experts it chooses")],
)
def test_without_a_mixture_it_says_what_to_do(
    client: Client,
    workspace: Workspace,
    model_server: ModelServer,
    routed_experts: bool | None,
    said: str,
) -> None:
    model_server.routed_experts = routed_experts
    text = client.get(address(workspace)).content.decode()
    assert said in text
    assert "<textarea" not in text


def test_what_the_server_refuses_is_shown(
    client: Client, workspace: Workspace, mixture: ModelServer
) -> None:
    mixture.down()
    page = client.get(address(workspace))
    assert "does not answer at the moment" in page.content.decode()


def test_a_set_of_another_workspace_is_no_choice(
    client: Client, workspace: Workspace, mixture: ModelServer
) -> None:
    page = client.post(
        address(workspace),
        {"compare": "1", "versions": ["6f1c6f0e-0000-4000-8000-000000000000"]},
    )
    assert page.status_code == 400
    assert [asked.path for asked in mixture.requests] == ["/v1/models"]


def test_members_below_administrator_are_refused(
    client_for: Callable[[User], Client], member: User, workspace: Workspace
) -> None:
    assert client_for(member).get(address(workspace)).status_code == 403
