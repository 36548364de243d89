"""Doorbells of the webhook sender."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from celery import shared_task
from django.db import connections
from django.utils import timezone

from praxis.integrations.models import IdempotentRequest, WebhookDelivery
from praxis.integrations.webhooks import attempt, claim_due

PARALLEL = 8
KEEP_REQUESTS = timedelta(hours=24)


@shared_task(ignore_result=True)
def deliver_due() -> int:
    """Send what is due until nothing is; also rung every few seconds by beat. The number sent."""
    sent = 0
    with ThreadPoolExecutor(PARALLEL) as threads:
        while deliveries := claim_due():
            sent += sum(1 for _attempt in threads.map(_attempt_and_close, deliveries))
    return sent


def _attempt_and_close(delivery: WebhookDelivery) -> None:
    try:
        attempt(delivery)
    finally:
        connections.close_all()


@shared_task(ignore_result=True)
def forget_idempotent_requests() -> int:
    old = IdempotentRequest.objects.filter(created_at__lt=timezone.now() - KEEP_REQUESTS)
    return old.delete()[0]
