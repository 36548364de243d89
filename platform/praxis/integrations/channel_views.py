"""The workspace's channels for messages from elsewhere: made, tried, rotated, switched off."""

import json
import secrets
from typing import Any
from uuid import UUID

from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.integrations import access, channels
from praxis.integrations.forms import ChannelForm
from praxis.integrations.models import InboundChannel

LOG_LENGTH = 100


@login_required
@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """The channels and the form for one more; a made one is shown at once, with its secrets."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = ChannelForm(request.POST or None, workspace=principal.workspace)
    if request.method == "POST" and (
        made := channels.create_from_form(principal=principal, form=form)
    ):
        channel, secret, reply_secret = made
        return _channel_page(request, principal, channel, secret=secret, reply_secret=reply_secret)
    context = {
        "principal": principal,
        "channels": principal.workspace.inbound_channels.order_by("name"),
        "form": form,
    }
    return render(
        request, "integrations/channels.html", context, status=422 if form.errors else 200
    )


@login_required
@require_http_methods(["GET"])
def channel(request: HttpRequest, workspace: str, channel: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    return _channel_page(request, principal, access.get_channel(principal, channel))


def _channel_page(
    request: HttpRequest, principal: Principal, channel: InboundChannel, **shown: Any
) -> HttpResponse:
    context = {
        "principal": principal,
        "channel": channel,
        "address": request.build_absolute_uri(channel.path),
        "received": channel.received.select_related("said__conversation").order_by("-at", "-pk")[
            :LOG_LENGTH
        ],
        **shown,
    }
    return render(request, "integrations/channel.html", context)


@login_required
@require_POST
def rotate(request: HttpRequest, workspace: str, channel: UUID) -> HttpResponse:
    """Answers with the page itself, not a redirect: the secret is shown once."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    found = access.get_channel(principal, channel)
    secret = channels.rotate_secret(principal=principal, channel=found)
    return _channel_page(request, principal, found, secret=secret, rotated=True)


@login_required
@require_POST
def switch(request: HttpRequest, workspace: str, channel: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    found = access.get_channel(principal, channel)
    channels.switch(principal=principal, channel=found, enabled=not found.enabled)
    return redirect("integrations:channel", workspace, found.pk)


@login_required
@require_POST
def delete(request: HttpRequest, workspace: str, channel: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    channels.delete_channel(principal=principal, channel=access.get_channel(principal, channel))
    notes.success(request, _("The channel is deleted."))
    return redirect("integrations:channels", workspace)


@login_required
@require_POST
def test(request: HttpRequest, workspace: str, channel: UUID) -> HttpResponse:
    """A message of the sender “test”, as if it had come in signed; its answer is in the log."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    found = access.get_channel(principal, channel)
    text = request.POST.get("text", "").strip() or _("Hello, this is a test.")
    body = json.dumps({"sender": "test", "text": text}).encode()
    try:
        channels.receive(found, f"test-{secrets.token_hex(8)}", body, address=principal.address)
    except (MessageRefused, NotNow) as refusal:
        notes.error(request, str(refusal))
    else:
        notes.success(request, _("The test message is taken; its answer appears in the log."))
    return redirect("integrations:channel", workspace, found.pk)
