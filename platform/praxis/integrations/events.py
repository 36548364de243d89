"""The one door through which the platform tells the outside world that something happened."""

from typing import Any

from django.db import transaction
from django.db.models import Max

from praxis.accounts.models import Workspace
from praxis.integrations.models import WebhookDelivery, WebhookEndpoint, WebhookEvent

EVENT_NAMES = (
    "conversation.created",
    "message.completed",
    "feedback.created",
    "state.changed",
    "handoff.requested",
    "handoff.assigned",
    "handoff.returned",
    "handoff.closed",
    "document.ready",
    "document.failed",
    "tuning.started",
    "tuning.finished",
    "tuning.failed",
    "adapter.promoted",
    "encoder.promoted",
    "webhook.test",
)


def emit(
    workspace: Workspace, name: str, *, subject: object, data: dict[str, Any]
) -> WebhookEvent | None:
    """Record an event for the workspace's webhooks, in the caller's transaction.

    Nothing is written when no endpoint wants it. `subject` is the id of what it happened to; its
    events are numbered in `seq`.
    """
    if name not in EVENT_NAMES:
        raise ValueError(f"event name must be one of {', '.join(EVENT_NAMES)}, got {name!r}")
    endpoints = [
        endpoint
        for endpoint in WebhookEndpoint.objects.filter(workspace=workspace, enabled=True)
        if endpoint.wants(name)
    ]
    if not endpoints:
        return None
    return send_to(endpoints, workspace, name, subject=subject, data=data)


def send_to(
    endpoints: list[WebhookEndpoint],
    workspace: Workspace,
    name: str,
    *,
    subject: object,
    data: dict[str, Any],
) -> WebhookEvent:
    from praxis.integrations.tasks import deliver_due

    with transaction.atomic():
        # The workspace's row orders concurrent events of one subject, so `seq` has no gap.
        Workspace.objects.select_for_update(no_key=True).get(pk=workspace.pk)
        events = WebhookEvent.objects.filter(workspace=workspace, subject=str(subject))
        last = events.aggregate(last=Max("seq"))["last"] or 0
        event = WebhookEvent.objects.create(
            workspace=workspace, name=name, subject=str(subject), seq=last + 1, data=data
        )
        WebhookDelivery.objects.bulk_create(
            WebhookDelivery(event=event, endpoint=endpoint) for endpoint in endpoints
        )
        deliver_due.delay_on_commit()
    return event
