"""What load balancers, orchestrators and Prometheus ask for."""

import ipaddress
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from praxis.observability.health import run_checks
from praxis.observability.metrics import PlatformCollector

FORWARDING_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded")


@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers. It asks nothing else: a restart would not mend the database."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, perhaps without the model; 503 when not."""
    checks = run_checks()
    missing = [check for check in checks if not check.ok]
    if any(check.required for check in missing):
        status = "unavailable"
    else:
        status = "degraded" if missing else "ready"
    return JsonResponse(
        {
            "status": status,
            "checks": {
                check.name: {"ok": check.ok, **({"problem": check.problem} if not check.ok else {})}
                for check in checks
            },
        },
        status=503 if status == "unavailable" else 200,
    )


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format; see `may_read_metrics`."""
    if not may_read_metrics(request):
        return HttpResponse(
            "Metrics are given to callers on this machine, or with the bearer token that "
            "PRAXIS_METRICS_TOKEN sets.\n",
            status=403,
            content_type="text/plain",
        )
    platform = CollectorRegistry()
    platform.register(PlatformCollector())
    return HttpResponse(
        generate_latest(REGISTRY) + generate_latest(platform), content_type=CONTENT_TYPE_LATEST
    )


def may_read_metrics(request: HttpRequest) -> bool:
    """With the token where one is set; otherwise only from this machine and not through a proxy."""
    token = settings.METRICS_TOKEN
    if token:
        given = request.headers.get("Authorization", "")
        return secrets.compare_digest(given.encode(), f"Bearer {token}".encode())
    if any(name in request.headers for name in FORWARDING_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
