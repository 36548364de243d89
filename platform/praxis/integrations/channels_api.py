"""Inbound channels over REST, for administrators. Scopes: `channels:read` and `channels:write`."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from praxis.accounts.models import Role
from praxis.conversations.refusals import MessageRefused, sentences_of
from praxis.integrations import channels
from praxis.integrations.access import get_channel
from praxis.integrations.conversations_api import AuthedRequest
from praxis.integrations.forms import ChannelForm
from praxis.integrations.models import InboundChannel
from praxis.sentences import Sentence

router = Router(tags=["channels"])
Answer = dict[str, Any]


class NewChannel(Schema):
    name: str = Field(description="A part of the address: letters, digits, `-` and `_`.")
    assistant: str = Field(description="The slug of an assistant, as GET /assistants lists them.")
    reply_url: str = Field(
        "", description="Gets answers and agents' words as signed webhooks `channel.reply`."
    )


class ChannelSwitch(Schema):
    enabled: bool = Field(description="Switched off, a channel takes nothing and sends nothing.")


def channel_to_dict(request: HttpRequest, channel: InboundChannel) -> Answer:
    endpoint = channel.endpoint
    return {
        "id": str(channel.pk),
        "name": channel.name,
        "assistant": channel.assistant,
        "address": request.build_absolute_uri(channel.path),
        "enabled": channel.enabled,
        "reply_url": endpoint.url if endpoint else "",
        "reply_webhook": str(endpoint.pk) if endpoint else None,
        "num_refused": channel.num_refused,
        "refused_at": channel.refused_at.isoformat() if channel.refused_at else None,
        "refused_reason": str(Sentence(channel.refused_reason)),
        "created_at": channel.created_at.isoformat(),
    }


@router.get("/channels", summary="Inbound channels, by name")
def list_channels(request: AuthedRequest) -> list[Answer]:
    request.auth.require_scope("channels:read")
    request.auth.require(Role.ADMIN)
    rows = request.auth.workspace.inbound_channels.select_related("endpoint").order_by("name")
    return [channel_to_dict(request, row) for row in rows]


@router.post("/channels", response={201: Answer}, summary="Make an inbound channel")
def create_channel(request: AuthedRequest, body: NewChannel) -> Status:
    """The answer holds `secret`, which signs messages, and `reply_secret`, which signs replies (null
    without `reply_url`); both are shown only here."""
    request.auth.require_scope("channels:write")
    request.auth.require(Role.ADMIN)
    form = ChannelForm(body.dict(), workspace=request.auth.workspace)
    made = channels.create_from_form(principal=request.auth, form=form)
    if made is None:
        raise MessageRefused(sentences_of(form))
    channel, secret, reply_secret = made
    secrets = {"secret": secret, "reply_secret": reply_secret or None}
    return Status(201, {**channel_to_dict(request, channel), **secrets})


@router.get("/channels/{uuid:channel_id}", summary="One inbound channel")
def read_channel(request: AuthedRequest, channel_id: UUID) -> Answer:
    request.auth.require_scope("channels:read")
    return channel_to_dict(request, get_channel(request.auth, channel_id))


@router.patch("/channels/{uuid:channel_id}", summary="Switch an inbound channel on or off")
def change_channel(request: AuthedRequest, channel_id: UUID, body: ChannelSwitch) -> Answer:
    request.auth.require_scope("channels:write")
    channel = get_channel(request.auth, channel_id)
    channels.switch(principal=request.auth, channel=channel, enabled=body.enabled)
    return channel_to_dict(request, channel)


@router.post("/channels/{uuid:channel_id}/secret", summary="Make a new secret")
def rotate_secret(request: AuthedRequest, channel_id: UUID) -> Answer:
    """The answer holds `secret`, shown only here; the one before is taken for 24 hours longer."""
    request.auth.require_scope("channels:write")
    channel = get_channel(request.auth, channel_id)
    secret = channels.rotate_secret(principal=request.auth, channel=channel)
    return {**channel_to_dict(request, channel), "secret": secret}


@router.delete("/channels/{uuid:channel_id}", response={204: None}, summary="Delete a channel")
def delete_channel(request: AuthedRequest, channel_id: UUID) -> Status:
    """With its log and the address of its replies; the conversations stay."""
    request.auth.require_scope("channels:write")
    channels.delete_channel(principal=request.auth, channel=get_channel(request.auth, channel_id))
    return Status(204, None)
