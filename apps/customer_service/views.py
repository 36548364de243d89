"""Services of a workspace: list, versions, editing as JSON, publishing, trying a message."""

import json

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.customer_service.access import get_definition
from apps.customer_service.forms import DefinitionForm, TryForm
from apps.customer_service.intents import IntentIndex, rank
from apps.customer_service.models import ServiceDefinition, save_version
from apps.customer_service.policy import advance
from apps.customer_service.replies import shown, translate
from apps.customer_service.schema import Service
from apps.customer_service.tracker import Ranking, empty_state, read
from praxis.accounts.access import enter_workspace, record
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import embed


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
    rows = [
        {
            "definition": definition,
            "service": definition.service,
            "published": published.get(name),
        }
        for name, definition in newest.items()
    ]
    context = {"principal": principal, "rows": rows, "may_edit": principal.may(Role.ADMIN)}
    return render(request, "customer_service/services.html", context)


@login_required
def service_detail(
    request: HttpRequest, workspace: str, name: str, version: int | None = None
) -> HttpResponse:
    """One version, and what it makes of a message that is posted to try it."""
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    definition = get_definition(principal, name, version)
    service = definition.service
    form = TryForm(request.POST or None)
    tried = _try(service, form.cleaned_data["message"]) if form.is_valid() else None
    context = {
        "principal": principal,
        "definition": definition,
        "service": service,
        "slots": {slot.name: slot for slot in service.slots},
        "versions": ServiceDefinition.objects.filter(
            workspace=principal.workspace, name=name
        ).order_by("-version"),
        "form": form,
        "tried": tried,
        "may_edit": principal.may(Role.ADMIN),
    }
    return render(request, "customer_service/service.html", context)


@login_required
def service_edit(request: HttpRequest, workspace: str, name: str = "") -> HttpResponse:
    """A new service, or the next version of one. Saving does not publish."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    current = get_definition(principal, name, role=Role.ADMIN) if name else None
    initial = {
        "definition": json.dumps(current.definition, indent=2, ensure_ascii=False),
        "base_url": current.base_url,
    } if current else {"definition": json.dumps(_EXAMPLE, indent=2)}  # fmt: skip
    form = DefinitionForm(request.POST or None, initial=initial, only_name=name)
    if form.is_valid():
        saved = save_version(
            workspace=principal.workspace,
            definition=form.data_of_definition,
            base_url=form.cleaned_data["base_url"],
            secret=form.cleaned_data["secret"] or _kept_secret(current, form),
            created_by=principal.user,
        )
        record(principal, "service.save", saved, name=saved.name, version=saved.version)
        messages.success(request, _("Version %(number)s is saved.") % {"number": saved.version})
        return redirect(
            "customer_service:service_version",
            workspace=workspace,
            name=saved.name,
            version=saved.version,
        )
    context = {"principal": principal, "form": form, "current": current}
    return render(request, "customer_service/edit.html", context)


def _kept_secret(current: ServiceDefinition | None, form: DefinitionForm) -> str | None:
    """None keeps the token. A new address doesn't get the old one's token."""
    moved = current is not None and current.base_url != form.cleaned_data["base_url"]
    return "" if moved else None


@login_required
@require_POST
def service_publish(request: HttpRequest, workspace: str, name: str, version: int) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    definition = get_definition(principal, name, version, role=Role.ADMIN)
    definition.publish()
    record(principal, "service.publish", definition, name=name, version=version)
    messages.success(
        request, _("The assistant now offers version %(number)s.") % {"number": version}
    )
    return redirect("customer_service:service", workspace=workspace, name=name)


def _try(service: Service, text: str) -> dict[str, object]:
    """What the tracker reads from one message, without calling any action."""
    index = IntentIndex.of(service)
    degraded = False

    def recognise(part: str, evidence: frozenset[str]) -> Ranking:
        nonlocal degraded
        if not degraded:
            try:
                return rank(index, part, embed=embed, evidence=evidence)
            except ModelUnavailable:
                degraded = True
        return rank(index, part, embed=None, evidence=evidence)

    state = empty_state()
    reading = read(service, state, text, today=timezone.localdate(), recognise=recognise)
    ranking = recognise(text[:600], frozenset())
    state = advance(service, state, reading, turn=1, text=text)
    return {
        "intent": translate(service.intent(state["intent"]).title) if state["intent"] else "",
        "values": [
            (
                translate(service.slot(name).title),
                shown(service.slot(name), entry),
                entry["confidence"],
            )
            for name, entry in state["slots"].items()
        ],
        "ranking": [(translate(service.intent(n).title), score) for n, score in ranking.scored[:3]],
        "move": state["move"]["kind"],
        "degraded": degraded,
    }


_EXAMPLE = {
    "name": "bookings",
    "title": "Bookings",
    "description": "Tables at our restaurant.",
    "slots": [
        {
            "name": "day",
            "title": "Day",
            "description": "The day of the visit.",
            "kind": "date",
            "question": "On which day?",
        }
    ],
    "intents": [
        {
            "name": "free_tables",
            "title": "Free tables",
            "description": "How many tables are free on a day.",
            "required": ["day"],
            "samples": ["Do you have a table on Friday?", "Is there a table free tomorrow?"],
            "action": {
                "method": "GET",
                "path": "/tables",
                "query": {"day": "day"},
                "result": {"free": "number"},
                "replies": {"ok": {"text": "On {day}, {free} tables are free."}},
            },
        }
    ],
}
