"""Signed webhooks after Standard Webhooks 1.0.0: at least once, in no order, with a log.

The rows are the queue: a delivery is due at `next_attempt_at`, a sender claims it by moving that
time, and a sender that dies loses nothing.
"""

import base64
import json
import random
import secrets
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop
from standardwebhooks import Webhook

from praxis import guarded_http
from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.integrations.events import send_to
from praxis.integrations.models import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from praxis.sealing import seal, unseal
from praxis.sentences import Sentence, sentence_of

RETRY_SECONDS = (0, 5, 300, 1800, 7200, 18000, 36000, 36000)
"""Waits before each attempt: eight attempts over 27 hours and 35 minutes."""
JITTER = 0.2
TIMEOUT_SECONDS = 15.0
CLAIM_SECONDS = 60
DISABLE_AFTER = timedelta(hours=120)
SENT_AT_ONCE = 20


def create_endpoint(
    *, principal: Principal, url: str, description: str = "", event_names: list[str] | None = None
) -> tuple[WebhookEndpoint, str]:
    """The endpoint and its signing secret (`whsec_…`), which is shown once.

    Raises `AddressRefused` for an address that the platform may not call.
    """
    principal.require(Role.ADMIN)
    guarded_http.resolve(url, settings.WEBHOOK_ALLOWED_NETWORKS)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    endpoint = WebhookEndpoint.objects.create(
        workspace=principal.workspace,
        url=url,
        description=description,
        event_names=event_names or [],
        secret_encrypted=seal(secret),
    )
    record(principal, "webhook.create", endpoint, events=event_names or [])
    return endpoint, secret


def payload_of(event: WebhookEvent) -> dict[str, Any]:
    """The body of a delivery, and how the API shows an event."""
    return {
        "id": event.pk,
        "type": event.name,
        "timestamp": event.created_at.isoformat(),
        "workspace": event.workspace.slug,
        "subject": event.subject,
        "seq": event.seq,
        "data": event.data,
    }


def claim_due(limit: int = SENT_AT_ONCE) -> list[WebhookDelivery]:
    """Due deliveries, at most two per endpoint so that one slow receiver can't hold the others up."""
    with transaction.atomic():
        due = list(
            WebhookDelivery.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("event__workspace", "endpoint")
            .filter(
                state=WebhookDelivery.State.PENDING,
                endpoint__enabled=True,
                next_attempt_at__lte=timezone.now(),
            )
            .order_by("next_attempt_at", "pk")[: limit * 5]
        )
        taken: list[WebhookDelivery] = []
        per_endpoint: dict[Any, int] = {}
        for delivery in due:
            if per_endpoint.get(delivery.endpoint_id, 0) < 2 and len(taken) < limit:
                per_endpoint[delivery.endpoint_id] = per_endpoint.get(delivery.endpoint_id, 0) + 1
                taken.append(delivery)
        until = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
        WebhookDelivery.objects.filter(pk__in=[item.pk for item in taken]).update(
            next_attempt_at=until
        )
    return taken


def attempt(delivery: WebhookDelivery) -> WebhookAttempt:
    """Send once and write down what came of it. Slow work, so outside any transaction."""
    endpoint = delivery.endpoint
    content = json.dumps(payload_of(delivery.event), ensure_ascii=False).encode()
    secret = unseal(endpoint.secret_encrypted)
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "user-agent": f"Praxis/{settings.VERSION}",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery.event_id, now, content.decode()),
    }
    started = time.monotonic()
    status: int | None = None
    error, retry_after = Sentence(""), None
    try:
        response = guarded_http.post(
            endpoint.url,
            content=content,
            headers=headers,
            timeout_seconds=TIMEOUT_SECONDS,
            allowed=settings.WEBHOOK_ALLOWED_NETWORKS,
        )
    except guarded_http.AddressRefused as refusal:
        error = sentence_of(refusal)
    except httpx.TimeoutException:
        error = Sentence(
            gettext_noop("No answer within %(seconds)d seconds."), {"seconds": TIMEOUT_SECONDS}
        )
    except httpx.HTTPError as failure:
        error = Sentence(
            gettext_noop("No connection: %(reason)s."), {"reason": type(failure).__name__}
        )
    else:
        status = response.status
        retry_after = _seconds(response.headers.get("retry-after"), now)
        if 300 <= status < 400:
            error = Sentence(gettext_noop("The receiver redirects; redirects are not followed."))
        elif not 200 <= status < 300:
            error = Sentence(gettext_noop("The receiver answered %(status)d."), {"status": status})
    milliseconds = round((time.monotonic() - started) * 1000)
    return _settle(delivery, status, milliseconds, error, retry_after)


@transaction.atomic
def _settle(
    delivery: WebhookDelivery,
    status: int | None,
    milliseconds: int,
    error: Sentence,
    retry_after: float | None,
) -> WebhookAttempt:
    entry = WebhookAttempt.objects.create(
        delivery=delivery,
        status=status,
        milliseconds=milliseconds,
        error=error.text,
        error_values=error.stored_values(),
    )
    delivery.attempts += 1
    endpoint = WebhookEndpoint.objects.select_for_update().get(pk=delivery.endpoint_id)
    if not error.text:
        delivery.state = WebhookDelivery.State.DELIVERED
        endpoint.failing_since, endpoint.failures = None, 0
    else:
        endpoint.failures += 1
        endpoint.failing_since = endpoint.failing_since or timezone.now()
        if status == 410:
            _disable(endpoint, gettext_noop("The receiver answered 410 Gone."))
        elif endpoint.failures > 3 and timezone.now() - endpoint.failing_since >= DISABLE_AFTER:
            _disable(endpoint, gettext_noop("Every delivery has failed for five days."))
        if delivery.attempts >= len(RETRY_SECONDS):
            delivery.state = WebhookDelivery.State.DEAD
        else:
            delivery.next_attempt_at = timezone.now() + timedelta(
                seconds=wait_before(delivery.attempts, retry_after)
            )
    endpoint.save()
    delivery.save(update_fields=["state", "attempts", "next_attempt_at"])
    return entry


def wait_before(attempts: int, retry_after: float | None = None) -> float:
    """Seconds before the next attempt: the schedule ±20 %.

    A receiver's `Retry-After` counts between one and two times the schedule, so that nobody can
    park a delivery.
    """
    base = RETRY_SECONDS[attempts]
    if retry_after is not None:
        return min(max(retry_after, base), 2 * base)
    return base * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (spread, not secrecy)


def _seconds(header: str | None, now: datetime) -> float | None:
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return (parsedate_to_datetime(header) - now).total_seconds()
    except (TypeError, ValueError):
        return None


def _disable(endpoint: WebhookEndpoint, reason: str) -> None:
    endpoint.enabled, endpoint.disabled_reason = False, reason


def send_test(*, principal: Principal, endpoint: WebhookEndpoint) -> WebhookEvent:
    principal.require(Role.ADMIN)
    return send_to(
        [endpoint], endpoint.workspace, "webhook.test", subject=endpoint.pk, data={"hello": "world"}
    )


def replay(*, principal: Principal, delivery: WebhookDelivery) -> None:
    """Send again, with the same `webhook-id`."""
    replay_all(principal=principal, deliveries=WebhookDelivery.objects.filter(pk=delivery.pk))


def replay_all(*, principal: Principal, deliveries: QuerySet[WebhookDelivery]) -> int:
    """Send many again; the number of them."""
    from praxis.integrations.tasks import deliver_due

    principal.require(Role.ADMIN)
    with transaction.atomic():
        count = deliveries.update(
            state=WebhookDelivery.State.PENDING, attempts=0, next_attempt_at=timezone.now()
        )
        record(principal, "webhook.replay", deliveries=count)
        deliver_due.delay_on_commit()
    return count
