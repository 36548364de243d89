"""Webhooks over REST: endpoints, the log of deliveries, replay."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Query, Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import record
from praxis.accounts.models import Role
from praxis.conversations.services import MessageRefused
from praxis.integrations import webhooks
from praxis.integrations.access import get_delivery, get_endpoint
from praxis.integrations.conversations_api import AuthedRequest, Page
from praxis.integrations.events import EVENT_NAMES
from praxis.integrations.models import WebhookDelivery, WebhookEndpoint
from praxis.sentences import Sentence

router = Router(tags=["webhooks"])


class NewEndpoint(Schema):
    url: str = Field(max_length=500)
    description: str = Field("", max_length=120)
    event_names: list[str] = Field([], description="Empty: every event.")


class ReplayRange(Schema):
    since: datetime
    until: datetime | None = None


def endpoint_to_dict(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": str(endpoint.pk),
        "url": endpoint.url,
        "description": endpoint.description,
        "event_names": endpoint.event_names,
        "enabled": endpoint.enabled,
        "disabled_reason": str(Sentence(endpoint.disabled_reason)),
        "created_at": endpoint.created_at.isoformat(),
    }


def delivery_to_dict(delivery: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": delivery.pk,
        "state": delivery.state,
        "attempts": [
            {
                "at": entry.at.isoformat(),
                "status": entry.status,
                "milliseconds": entry.milliseconds,
                "error": str(entry.reason),
            }
            for entry in delivery.log.all()
        ],
        "next_attempt_at": (
            delivery.next_attempt_at.isoformat()
            if delivery.state == WebhookDelivery.State.PENDING
            else None
        ),
        "event": webhooks.payload_of(delivery.event),
    }


@router.get("/webhooks", summary="Registered endpoints")
def list_webhooks(request: AuthedRequest) -> list[dict[str, Any]]:
    request.auth.require_scope("webhooks:read")
    request.auth.require(Role.ADMIN)
    rows = request.auth.workspace.webhook_endpoints.order_by("-created_at", "pk")
    return [endpoint_to_dict(row) for row in rows]


@router.post("/webhooks", response={201: dict[str, Any]}, summary="Register an endpoint")
def create_webhook(request: AuthedRequest, body: NewEndpoint) -> Status:
    """The answer holds the signing secret; it is shown only here."""
    request.auth.require_scope("webhooks:write")
    if unknown := sorted(set(body.event_names) - set(EVENT_NAMES)):
        raise MessageRefused(
            f"event_names must be among {', '.join(EVENT_NAMES)}, got {', '.join(unknown)}."
        )
    endpoint, secret = webhooks.create_endpoint(principal=request.auth, **body.dict())
    return Status(201, {**endpoint_to_dict(endpoint), "secret": secret})


@router.delete("/webhooks/{uuid:endpoint_id}", response={204: None}, summary="Delete an endpoint")
def delete_webhook(request: AuthedRequest, endpoint_id: UUID) -> Status:
    request.auth.require_scope("webhooks:write")
    endpoint = get_endpoint(request.auth, endpoint_id)
    record(request.auth, "webhook.delete", endpoint)
    endpoint.delete()
    return Status(204, None)


@router.post("/webhooks/{uuid:endpoint_id}/test", response={202: dict[str, Any]})
def test_webhook(request: AuthedRequest, endpoint_id: UUID) -> Status:
    request.auth.require_scope("webhooks:write")
    endpoint = get_endpoint(request.auth, endpoint_id)
    event = webhooks.send_test(principal=request.auth, endpoint=endpoint)
    return Status(202, webhooks.payload_of(event))


@router.get("/webhooks/{uuid:endpoint_id}/deliveries", summary="The log, the newest first")
def list_deliveries(
    request: AuthedRequest, endpoint_id: UUID, page: Query[Page]
) -> list[dict[str, Any]]:
    request.auth.require_scope("webhooks:read")
    endpoint = get_endpoint(request.auth, endpoint_id)
    rows = (
        endpoint.deliveries.select_related("event__workspace")
        .prefetch_related("log")
        .order_by("-event__created_at", "-pk")
    )
    return [delivery_to_dict(row) for row in rows[page.offset : page.offset + page.limit]]


@router.post("/deliveries/{int:delivery_id}/replay", response={202: None}, summary="Send again")
def replay_delivery(request: AuthedRequest, delivery_id: int) -> Status:
    request.auth.require_scope("webhooks:write")
    webhooks.replay(principal=request.auth, delivery=get_delivery(request.auth, delivery_id))
    return Status(202, None)


@router.post("/webhooks/{uuid:endpoint_id}/replay", response={202: dict[str, int]})
def replay_range(request: AuthedRequest, endpoint_id: UUID, body: ReplayRange) -> Status:
    """Send every event of a time range again, each with its own `webhook-id`."""
    request.auth.require_scope("webhooks:write")
    endpoint = get_endpoint(request.auth, endpoint_id)
    rows = endpoint.deliveries.filter(event__created_at__gte=body.since)
    if body.until is not None:
        rows = rows.filter(event__created_at__lte=body.until)
    count = webhooks.replay_all(principal=request.auth, deliveries=rows)
    return Status(202, {"deliveries": count})
