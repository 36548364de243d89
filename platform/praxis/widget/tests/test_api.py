"""A program makes widgets, changes them and takes them away."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from praxis.accounts.models import AuditEntry, Role, User
from praxis.knowledge.tests.test_api import Api, MakeKey
from praxis.knowledge.tests.test_api import api_of as api_of
from praxis.widget.models import Widget
from praxis.widget.tests.conftest import SITE
from tests.fakes import ModelServer

SCOPES = ("channels:read", "channels:write")
SHOP = {"name": "Site", "assistant": "sample", "origins": [f"{SITE}/", "https://b.example:443"]}


@pytest.fixture
def api(quick: ModelServer, admin: User, api_of: MakeKey) -> Api:
    return api_of(admin, *SCOPES)


def test_a_widget_is_made_read_changed_and_deleted(api: Api, client: Client) -> None:
    answer = api.post("/widgets", {**SHOP, "colour": "#0A6B5C"})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["origins"], made["colour"]) == ([SITE, "https://b.example"], "#0a6b5c")
    assert client.get(made["script_url"]).status_code == 200
    own = f"/widgets/{made['id']}"
    assert api.get(own).json() == made
    assert api.get("/widgets").json() == [made]
    changed = api.patch(own, {"greeting": "Hello!", "enabled": False}).json()
    assert changed == {**made, "greeting": "Hello!", "enabled": False}
    assert client.get(made["script_url"]).status_code == 404
    assert api.delete(own).status_code == 204
    assert api.get(own).status_code == 404
    assert not Widget.objects.exists()
    kept = AuditEntry.objects.filter(action__startswith="widget.").order_by("pk")
    assert [one.action for one in kept] == ["widget.save", "widget.save", "widget.delete"]
    assert {one.actor for one in kept} != {""}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "Shop"}, "a widget with this name already"),
        ({"name": "a\0b"}, "name"),
        ({"assistant": "astrology"}, "astrology"),
        ({"origins": []}, "origins"),
        ({"origins": ["*"]}, "is no origin"),
        ({"origins": [f"https://a{number}.example" for number in range(21)]}, "at most 20"),
        ({"colour": "red"}, "six digits"),
        ({"language": "xx"}, "language"),
    ],
)
def test_what_the_form_refuses_is_refused_with_a_sentence(
    api: Api, widget: Widget, change: dict[str, Any], said: str
) -> None:
    answers = [api.post("/widgets", {**SHOP, **change})]
    assert Widget.objects.count() == 1
    if "name" not in change:
        answers.append(api.patch(f"/widgets/{widget.pk}", change))
    for answer in answers:
        assert answer.status_code == 422
        assert said in answer.json()["error"]["message"]
    before = (widget.assistant, widget.origins, widget.colour, widget.language)
    widget.refresh_from_db()
    assert (widget.assistant, widget.origins, widget.colour, widget.language) == before


def test_only_administrators_of_the_workspace_with_the_scope_may(
    quick: ModelServer,
    widget: Widget,
    admin: User,
    stranger: User,
    api_of: Callable[..., Api],
) -> None:
    own = f"/widgets/{widget.pk}"

    def statuses(api: Api) -> list[int]:
        asked = (
            api.get("/widgets"), api.post("/widgets", SHOP), api.get(own),
            api.patch(own, {"enabled": False}), api.delete(own),
        )  # fmt: skip
        return [answer.status_code for answer in asked]

    assert statuses(api_of(admin, *SCOPES, role=Role.AGENT)) == [403] * 5
    assert statuses(api_of(admin, "webhooks:read", "webhooks:write")) == [403] * 5
    assert statuses(api_of(admin, "channels:read")) == [200, 403, 200, 403, 403]
    outside = api_of(stranger, *SCOPES)
    assert outside.get("/widgets").json() == []
    assert [
        outside.get(own).status_code,
        outside.patch(own, {"enabled": False}).status_code,
        outside.delete(own).status_code,
    ] == [404] * 3
    widget.refresh_from_db()
    assert widget.enabled
