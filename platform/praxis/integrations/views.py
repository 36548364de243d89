"""The workspace's page of API keys and webhooks."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from praxis.accounts.access import Principal, enter_workspace, record
from praxis.accounts.models import Role
from praxis.guarded_http import AddressRefused
from praxis.integrations import access, keys, webhooks
from praxis.integrations.forms import ApiKeyForm, WebhookForm
from praxis.integrations.models import WebhookDelivery

LOG_LENGTH = 100


def _page(
    request: HttpRequest,
    principal: Principal,
    *,
    key_form: ApiKeyForm | None = None,
    webhook_form: WebhookForm | None = None,
    secret: str = "",
    shown: str = "",
) -> HttpResponse:
    context = {
        "principal": principal,
        "keys": principal.workspace.api_keys.select_related("owner").order_by("-created_at", "pk"),
        "endpoints": principal.workspace.webhook_endpoints.order_by("-created_at", "pk"),
        "key_form": key_form or ApiKeyForm(),
        "webhook_form": webhook_form or WebhookForm(),
        "secret": secret,
        "shown": shown,
        "base_url": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "integrations/index.html", context)


@login_required
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    return _page(request, enter_workspace(request, workspace, role=Role.ADMIN))


@login_required
@require_POST
def create_key(request: HttpRequest, workspace: str) -> HttpResponse:
    """Answers with the page itself, not a redirect: the secret is shown once and stored nowhere."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = ApiKeyForm(request.POST)
    if not form.is_valid():
        return _page(request, principal, key_form=form)
    data = form.cleaned_data
    _key, secret = keys.create_key(
        principal=principal,
        name=data["name"],
        scopes=data["scopes"],
        role=Role(data["role"]),
        expires_at=data["expires_at"],
    )
    return _page(request, principal, secret=secret, shown="key")


@login_required
@require_POST
def revoke_key(request: HttpRequest, workspace: str, key: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    keys.revoke(principal=principal, key=access.get_key(principal, key))
    messages.success(request, _("The key was revoked; requests with it are refused from now on."))
    return redirect("integrations:index", workspace=workspace)


@login_required
@require_POST
def create_webhook(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return _page(request, principal, webhook_form=form)
    try:
        _endpoint, secret = webhooks.create_endpoint(principal=principal, **form.cleaned_data)
    except AddressRefused as refusal:
        form.add_error("url", str(refusal))
        return _page(request, principal, webhook_form=form)
    return _page(request, principal, secret=secret, shown="webhook")


@login_required
def webhook(request: HttpRequest, workspace: str, endpoint: UUID) -> HttpResponse:
    """One endpoint with the log of its deliveries; POST tests, switches or deletes it."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    row = access.get_endpoint(principal, endpoint)
    if request.method == "POST":
        if "test" in request.POST:
            webhooks.send_test(principal=principal, endpoint=row)
            messages.success(request, _("A test event is on its way."))
        elif "enable" in request.POST:
            row.enabled, row.disabled_reason = True, ""
            row.failing_since, row.failures = None, 0
            row.save()
            record(principal, "webhook.enable", row)
        elif "delete" in request.POST:
            record(principal, "webhook.delete", row)
            row.delete()
            return redirect("integrations:index", workspace=workspace)
        return redirect("integrations:webhook", workspace=workspace, endpoint=endpoint)
    deliveries = (
        row.deliveries.select_related("event")
        .prefetch_related("log")
        .order_by("-event__created_at", "-pk")[:LOG_LENGTH]
    )
    context = {"principal": principal, "endpoint": row, "deliveries": deliveries}
    return render(request, "integrations/webhook.html", context)


@login_required
@require_POST
def replay(request: HttpRequest, workspace: str, delivery: int) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    row: WebhookDelivery = access.get_delivery(principal, delivery)
    webhooks.replay(principal=principal, delivery=row)
    messages.success(request, _("The event is sent again."))
    return redirect("integrations:webhook", workspace=workspace, endpoint=row.endpoint_id)
