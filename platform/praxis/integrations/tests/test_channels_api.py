"""A program sets inbound channels up; each secret is shown once."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from praxis.accounts.models import AuditEntry, Role, User
from praxis.conversations.tests.conftest import Capture
from praxis.conversations.tests.conftest import quick as quick
from praxis.conversations.tests.conftest import sample_assistant as sample_assistant
from praxis.guarded_http import AllowedNetwork
from praxis.integrations.models import InboundChannel, WebhookEndpoint
from praxis.integrations.tests.test_channels import Sender, accepted
from praxis.integrations.tests.test_channels import no_wait as no_wait
from praxis.knowledge.tests.test_api import Api, MakeKey
from praxis.knowledge.tests.test_api import api_of as api_of
from tests.fakes import ModelServer

SCOPES = ("channels:read", "channels:write")
SMS = {"name": "sms", "assistant": "sample"}


@pytest.fixture
def api(quick: ModelServer, admin: User, api_of: MakeKey) -> Api:
    return api_of(admin, *SCOPES)


def test_a_channel_is_made_used_rotated_switched_off_and_deleted(
    api: Api, no_wait: None, django_capture_on_commit_callbacks: Capture
) -> None:
    answer = api.post("/channels", SMS)
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["reply_secret"] is None
    channel, own = InboundChannel.objects.get(), f"/channels/{made['id']}"
    sender = Sender(channel, made["secret"], django_capture_on_commit_callbacks)
    assert made["address"].endswith(sender.address)
    accepted(sender.send())
    rotated = api.post(f"{own}/secret", {}).json()
    assert rotated["secret"] not in ("", made["secret"])
    sender.secret = rotated["secret"]
    accepted(sender.send(message_id="m2"))
    for shown in (api.get(own).json(), *api.get("/channels").json()):
        assert shown == {key: made[key] for key in made if key not in ("secret", "reply_secret")}
    assert api.patch(own, {"enabled": False}).json()["enabled"] is False
    assert sender.send(message_id="m3").status_code == 401
    assert api.delete(own).status_code == 204
    assert api.get(own).status_code == 404
    kept = AuditEntry.objects.filter(action__startswith="channel.").order_by("pk")
    assert [one.action.partition(".")[2] for one in kept] == [
        "create", "rotate", "disable", "delete",
    ]  # fmt: skip


def test_the_address_for_replies_comes_and_goes_with_the_channel(
    api: Api, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = [AllowedNetwork.parse("127.0.0.1/32")]
    made = api.post("/channels", {**SMS, "reply_url": "http://127.0.0.1:9/hook"}).json()
    assert made["reply_url"] == "http://127.0.0.1:9/hook"
    assert made["reply_secret"].startswith("whsec_")
    assert made["reply_secret"] != made["secret"]
    assert made["reply_webhook"] == str(WebhookEndpoint.objects.get().pk)
    api.delete(f"/channels/{made['id']}")
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "no spaces"}, "name"),
        ({"name": "x" * 25}, "24"),
        ({"assistant": "astrology"}, "astrology"),
        ({"reply_url": "nonsense"}, "reply_url"),
        ({"reply_url": "https://169.254.169.254/"}, "reply_url"),
        ({"name": "taken"}, "a channel with this name already"),
    ],
)
def test_what_the_form_refuses_is_refused_with_a_sentence(
    api: Api, change: dict[str, Any], said: str
) -> None:
    api.post("/channels", {**SMS, "name": "taken"})
    answer = api.post("/channels", {**SMS, **change})
    assert answer.status_code == 422
    assert said in answer.json()["error"]["message"]
    assert InboundChannel.objects.count() == 1
    assert not WebhookEndpoint.objects.exists()


def test_only_administrators_of_the_workspace_with_the_scope_may(
    api: Api, admin: User, stranger: User, api_of: Callable[..., Api], client: Client
) -> None:
    own = f"/channels/{api.post('/channels', SMS).json()['id']}"

    def statuses(api: Api) -> list[int]:
        asked = (
            api.get("/channels"), api.post("/channels", {**SMS, "name": "b"}), api.get(own),
            api.patch(own, {"enabled": False}), api.post(f"{own}/secret", {}), api.delete(own),
        )  # fmt: skip
        return [answer.status_code for answer in asked]

    assert statuses(api_of(admin, *SCOPES, role=Role.AGENT)) == [403] * 6
    assert statuses(api_of(admin, "webhooks:read", "webhooks:write")) == [403] * 6
    assert statuses(api_of(admin, "channels:read")) == [200, 403, 200, 403, 403, 403]
    outside = api_of(stranger, *SCOPES)
    assert outside.get("/channels").json() == []
    assert [
        outside.get(own).status_code,
        outside.patch(own, {"enabled": False}).status_code,
        outside.post(f"{own}/secret", {}).status_code,
        outside.delete(own).status_code,
    ] == [404] * 4
    assert client.get(f"/api/v1{own}").status_code == 401
    assert InboundChannel.objects.get().enabled
