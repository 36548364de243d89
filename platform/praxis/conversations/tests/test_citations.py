"""One citation object: what the page links, an export holds and the APIs and webhooks say is equal."""

from collections.abc import Callable

import pytest
from django.test import Client

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.conversations.models import Conversation, Message
from praxis.integrations.keys import create_key
from praxis.integrations.models import WebhookEndpoint, WebhookEvent
from praxis.integrations.openai_api import ChatMessage, ChatRequest, _extension
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db


def test_page_api_openai_export_and_webhook_agree(
    quick: ModelServer,
    ask: Callable[..., Message],
    me: Principal,
    member: User,
    admin: User,
    principal_of: Callable[[User], Principal],
    conversation: Conversation,
    client_for: Callable[[User], Client],
) -> None:
    WebhookEndpoint.objects.create(
        workspace=me.workspace, url="https://hooks.example.test/", secret_encrypted=b"unused"
    )
    _key, secret = create_key(
        principal=principal_of(admin), name="reader", scopes=["conversations:read"], role=Role.ADMIN
    )
    answer = ask("cite the rule")

    (citation,) = answer.citations
    (sentence,) = citation["sentences"]
    assert sentence["quote"] == citation["text"][sentence["source_start"] : sentence["source_end"]]
    assert answer.text[sentence["start"] : sentence["end"]].strip() == sentence["quote"]

    browser = client_for(member)
    export = browser.get(f"{conversation.get_absolute_url()}export.json").json()
    rest = browser.get(
        f"/api/v1/messages/{answer.pk}", headers={"authorization": f"Bearer {secret}"}
    ).json()
    body = ChatRequest(model="sample", messages=[ChatMessage(role="user", content="cite the rule")])
    webhook = WebhookEvent.objects.get(name="message.completed")
    assert (
        rest["citations"]
        == export["messages"][-1]["citations"]
        == webhook.data["citations"]
        == _extension(body, answer)["citations"]
        == [citation]
    )
    page = browser.get(conversation.get_absolute_url()).content.decode()
    source = page.split(f'id="source-{answer.pk}-1"')[1].split("</li>")[0]
    assert f'href="{citation["url"]}"' in source
    assert f"<q>{sentence['quote']}</q>" in source
