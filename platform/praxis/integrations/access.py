"""Who may see what of the integrations; all of it is for administrators."""

from uuid import UUID

from django.http import Http404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.integrations.models import ApiKey, InboundChannel, WebhookDelivery, WebhookEndpoint


def get_key(principal: Principal, key_id: UUID) -> ApiKey:
    key = ApiKey.objects.filter(pk=key_id, workspace=principal.workspace).first()
    if key is None:
        raise Http404
    principal.require(Role.ADMIN)
    return key


def get_endpoint(principal: Principal, endpoint_id: UUID) -> WebhookEndpoint:
    endpoint = WebhookEndpoint.objects.filter(pk=endpoint_id, workspace=principal.workspace).first()
    if endpoint is None:
        raise Http404
    principal.require(Role.ADMIN)
    return endpoint


def get_delivery(principal: Principal, delivery_id: int) -> WebhookDelivery:
    delivery = (
        WebhookDelivery.objects.select_related("event__workspace", "endpoint")
        .filter(pk=delivery_id, event__workspace=principal.workspace)
        .first()
    )
    if delivery is None:
        raise Http404
    principal.require(Role.ADMIN)
    return delivery


def get_channel(principal: Principal, channel_id: UUID) -> InboundChannel:
    channel = (
        InboundChannel.objects.select_related("workspace", "endpoint")
        .filter(pk=channel_id, workspace=principal.workspace)
        .first()
    )
    if channel is None:
        raise Http404
    principal.require(Role.ADMIN)
    return channel
