"""Services of a workspace: list, versions with what changed, export, putting a version into use."""

import json
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.customer_service import second_stage
from apps.customer_service.access import get_definition, get_intent_model
from apps.customer_service.comparison import differences
from apps.customer_service.models import IntentModel, ServiceDefinition, ServiceDraft
from praxis.accounts.access import Principal, enter_workspace, record
from praxis.accounts.models import Role


@login_required
@require_GET
def service_list(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    definitions = ServiceDefinition.objects.filter(workspace=principal.workspace)
    newest: dict[str, ServiceDefinition] = {}
    published: dict[str, int] = {}
    for definition in definitions.order_by("name", "version"):
        newest[definition.name] = definition
        if definition.published:
            published[definition.name] = definition.version
    drafts = {
        draft.name: draft for draft in ServiceDraft.objects.filter(workspace=principal.workspace)
    }
    rows = [
        {
            "definition": definition,
            "service": definition.service,
            "published": published.get(name),
            "draft": drafts.get(name),
        }
        for name, definition in newest.items()
    ]
    context = {
        "principal": principal,
        "rows": rows,
        "new_drafts": [draft for name, draft in drafts.items() if name not in newest],
        "may_edit": principal.may(Role.ADMIN),
        "second_stages": _second_stages(principal)
        if newest and principal.may(Role.ADMIN)
        else None,
    }
    return render(request, "customer_service/services.html", context)


def _second_stages(principal: Principal) -> dict[str, object]:
    models = list(
        IntentModel.objects.filter(workspace=principal.workspace)
        .select_related("job__workspace", "created_by")
        .order_by("-created_at", "pk")
    )
    rows = [
        {
            "model": model,
            "before": 100 * model.result["before"]["accuracy"],
            "after": 100 * model.result["after"]["accuracy"],
        }
        for model in models
        if model.sha256
    ]
    newest = models[0] if models else None
    return {
        "rows": rows,
        "job": next((model.job for model in models if not model.sha256), None),
        "not_better": bool(
            newest and newest.sha256 and not newest.was_better and not newest.in_use
        ),
    }


@login_required
@require_POST
def intents_train(request: HttpRequest, workspace: str) -> HttpResponse:
    """Train the second stage on the samples of all services in use."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    try:
        second_stage.launch(principal=principal)
    except second_stage.SecondStageRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("customer_service:services", workspace=workspace)
    return _to_second_stages(workspace)


@login_required
@require_POST
def intents_use(request: HttpRequest, workspace: str) -> HttpResponse:
    """Let a trained one decide beside the first stage, or, without its id, the first stage alone."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    chosen = None
    if given := request.POST.get("model"):
        try:
            chosen = get_intent_model(principal, UUID(given))
        except ValueError as error:
            raise Http404 from error
    try:
        second_stage.use(principal=principal, model=chosen)
    except second_stage.SecondStageRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("customer_service:services", workspace=workspace)
    return _to_second_stages(workspace)


def _to_second_stages(workspace: str) -> HttpResponse:
    """They are the last thing on their page, which is long on a phone."""
    return redirect(reverse("customer_service:services", args=[workspace]) + "#second-stages")


@login_required
@require_GET
def service_detail(
    request: HttpRequest, workspace: str, name: str, version: int | None = None
) -> HttpResponse:
    """One version; without a number the one in use, or else the newest."""
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    versions = ServiceDefinition.objects.filter(workspace=principal.workspace, name=name)
    if version is None and (in_use := versions.filter(published=True).first()):
        version = in_use.version
    definition = get_definition(principal, name, version)
    context = {
        "principal": principal,
        "definition": definition,
        "service": definition.service,
        "versions": versions.select_related("created_by").order_by("-version"),
        "draft": ServiceDraft.objects.filter(workspace=principal.workspace, name=name).first(),
        "may_edit": principal.may(Role.ADMIN),
    }
    return render(request, "customer_service/service.html", context)


@login_required
@require_GET
def service_changes(request: HttpRequest, workspace: str, name: str, version: int) -> HttpResponse:
    """What a version changed against the one before it."""
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    definition = get_definition(principal, name, version)
    before = (
        ServiceDefinition.objects.filter(
            workspace=principal.workspace, name=name, version__lt=version
        )
        .order_by("-version")
        .first()
    )
    context = {
        "principal": principal,
        "definition": definition,
        "service": definition.service,
        "before": before,
        "differences": differences(before.definition, definition.definition) if before else [],
        "moved": bool(before and before.base_url != definition.base_url),
        "may_edit": principal.may(Role.ADMIN),
    }
    return render(request, "customer_service/changes.html", context)


@login_required
@require_GET
def service_export(request: HttpRequest, workspace: str, name: str, version: int) -> HttpResponse:
    """The definition as a file that the import takes; the token is not in it."""
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    definition = get_definition(principal, name, version)
    response = HttpResponse(
        json.dumps(definition.definition, indent=2, ensure_ascii=False) + "\n",
        content_type="application/json",
    )
    response["Content-Disposition"] = f'attachment; filename="{name}-{version}.json"'
    return response


@login_required
@require_POST
def service_publish(request: HttpRequest, workspace: str, name: str, version: int) -> HttpResponse:
    """Put a version into use; an older one: roll back."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    definition = get_definition(principal, name, version, role=Role.ADMIN)
    definition.publish()
    record(principal, "service.publish", definition, name=name, version=version)
    messages.success(
        request, _("The assistant now offers version %(number)s.") % {"number": version}
    )
    return redirect("customer_service:service", workspace=workspace, name=name)
