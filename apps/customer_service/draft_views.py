"""The service editor: a draft changed part by part, talked with beside the page, and published."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from apps.customer_service import drafts
from apps.customer_service.access import get_definition, get_draft
from apps.customer_service.actions import Endpoint
from apps.customer_service.comparison import differences
from apps.customer_service.drafts import DraftRefused
from apps.customer_service.editing import AboutForm, IntentPage, SlotPage, name_from
from apps.customer_service.endpoints import allowed_networks
from apps.customer_service.forms import DefinitionForm, ImportForm, RehearsalForm
from apps.customer_service.importing import Imported, ImportRefused
from apps.customer_service.models import ServiceDefinition, ServiceDraft
from apps.customer_service.rehearsal import Rehearsal, understood
from apps.customer_service.schema import DefinitionError
from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role

P = ParamSpec("P")
DraftView = Callable[Concatenate[HttpRequest, Principal, ServiceDraft, P], HttpResponse]


def on_draft(view: DraftView[P]) -> Callable[..., HttpResponse]:
    """The view gets the principal, an administrator, and the draft."""

    @wraps(view)
    def entered(
        request: HttpRequest, workspace: str, name: str, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        principal = enter_workspace(request, workspace, role=Role.ADMIN)
        return view(request, principal, get_draft(principal, name), *args, **kwargs)

    return login_required(entered)


def _draft_page(draft: ServiceDraft) -> str:
    return reverse("customer_service:draft", args=[draft.workspace.slug, draft.name])


# Beginning a draft ----------------------------------------------------------------------------------


@login_required
def draft_new(request: HttpRequest, workspace: str) -> HttpResponse:
    """A new service: its name and its endpoint; intents and slots follow on the draft's page."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = AboutForm(request.POST or None)
    if form.is_valid():
        fields = form.cleaned_data
        taken = [
            *drafts.RESERVED,
            *ServiceDefinition.objects.filter(workspace=principal.workspace).values_list(
                "name", flat=True
            ),
            *ServiceDraft.objects.filter(workspace=principal.workspace).values_list(
                "name", flat=True
            ),
        ]
        definition = {
            "name": name_from(fields["title"], taken),
            "title": fields["title"],
            "description": fields["description"],
            "intents": [],
            "slots": [],
        }
        draft = drafts.begin_draft(
            principal, definition, base_url=fields["base_url"], secret=fields["secret"], report=[]
        )
        return redirect(_draft_page(draft))
    context = {"principal": principal, "form": form, "title": _("New service")}
    return render(request, "customer_service/part.html", context)


@login_required
@require_POST
def draft_open(request: HttpRequest, workspace: str, name: str, version: int) -> HttpResponse:
    """Edit a version: its draft, or the one that is being edited already."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    return redirect(
        _draft_page(drafts.open_draft(principal, get_definition(principal, name, version)))
    )


@login_required
def draft_import(request: HttpRequest, workspace: str) -> HttpResponse:
    """A draft from an OpenAPI description, from Rasa's files, or from an exported definition."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = ImportForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        try:
            draft = _begin_imported(principal, form.imported(), form.cleaned_data)
        except (ImportRefused, DraftRefused) as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect(_draft_page(draft))
    context = {"principal": principal, "form": form}
    return render(request, "customer_service/import.html", context)


def _begin_imported(
    principal: Principal, imported: Imported, fields: dict[str, Any]
) -> ServiceDraft:
    return drafts.begin_draft(
        principal,
        imported.definition,
        base_url=fields["base_url"] or imported.base_url,
        secret="",
        report=imported.report,
    )


# The draft and its parts ----------------------------------------------------------------------------


@on_draft
@require_GET
def draft(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    problems = drafts.problems_of(draft.definition)
    before = draft.based_on.definition if draft.based_on else {}
    context = {
        "principal": principal,
        "draft": draft,
        "definition": draft.definition,
        "problems": problems,
        "differences": differences(before, draft.definition) if draft.based_on else [],
        "rehearsal": _rehearsal(request, draft, problems_found=bool(problems)),
        "form": RehearsalForm(initial={"against": "dry"}),
    }
    return render(request, "customer_service/draft.html", context)


@on_draft
def draft_about(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    initial = {
        "title": draft.definition.get("title", ""),
        "description": draft.definition.get("description", ""),
        "base_url": draft.base_url,
    }
    form = AboutForm(request.POST or None, initial=initial)
    if form.is_valid():
        fields = form.cleaned_data
        about = {"title": fields["title"], "description": fields["description"]}
        set_endpoint(draft, fields["base_url"], fields["secret"])
        drafts.change(principal, draft, {**draft.definition, **about})
        return redirect(_draft_page(draft))
    context = {
        "principal": principal,
        "draft": draft,
        "form": form,
        "title": _("Name and endpoint"),
    }
    return render(request, "customer_service/part.html", context)


def set_endpoint(draft: ServiceDraft, base_url: str, secret: str) -> None:
    """A new address doesn't get the old one's token."""
    if secret or base_url != draft.base_url:
        draft.secret = secret
    draft.base_url = base_url
    draft.save(update_fields=["base_url", "secret_encrypted"])


_PAGES: dict[str, Callable[..., SlotPage | IntentPage]] = {"slots": SlotPage, "intents": IntentPage}


@on_draft
def draft_part(
    request: HttpRequest, principal: Principal, draft: ServiceDraft, part: str, entry: str = ""
) -> HttpResponse:
    """A slot or an intent of the draft; without a name a new one."""
    known = {one["name"]: one for one in draft.definition.get(part, ())}
    if entry and entry not in known:
        raise Http404
    page = _PAGES[part](draft.definition, known.get(entry), request.POST or None)
    if request.method == "POST" and (found := page.result()) is not None:
        try:
            drafts.replace_part(principal, draft, part, entry, found)
        except DraftRefused as refusal:
            page.form.add_error("name", str(refusal))
        else:
            if "again" in request.POST:
                # The same page with more empty rows.
                return redirect(
                    "customer_service:draft_" + part,
                    draft.workspace.slug,
                    draft.name,
                    found["name"],
                )
            return redirect(f"{_draft_page(draft)}#{part}")
    context = {"principal": principal, "draft": draft, "page": page, "entry": entry, "part": part}
    return render(request, f"customer_service/{part}.html", context)


@on_draft
@require_POST
def draft_part_act(
    request: HttpRequest, principal: Principal, draft: ServiceDraft, part: str, entry: str
) -> HttpResponse:
    """Remove a slot or an intent, or move it up or down."""
    if entry not in [one["name"] for one in draft.definition.get(part, ())]:
        raise Http404
    act = request.POST.get("act", "")
    if act == "remove":
        try:
            drafts.replace_part(principal, draft, part, entry, None)
        except DraftRefused as refusal:
            messages.error(request, str(refusal))
    elif act in ("up", "down"):
        drafts.move(principal, draft, part, entry, -1 if act == "up" else 1)
    return redirect(f"{_draft_page(draft)}#{part}")


@on_draft
def draft_json(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    """The whole definition as JSON, for experts."""
    text = json.dumps(draft.definition, indent=2, ensure_ascii=False)
    form = DefinitionForm(request.POST or None, initial={"definition": text}, only_name=draft.name)
    if form.is_valid():
        drafts.change(principal, draft, form.data_of_definition)
        return redirect(_draft_page(draft))
    context = {"principal": principal, "draft": draft, "form": form}
    return render(request, "customer_service/json.html", context)


# Talking with it, publishing, discarding --------------------------------------------------------------


def _kept_talk(draft: ServiceDraft) -> str:
    return f"rehearsal:{draft.pk}"


def _rehearsal(
    request: HttpRequest, draft: ServiceDraft, *, problems_found: bool, for_real: bool = False
) -> dict[str, Any] | None:
    """What the panel shows; None while the definition has problems."""
    if problems_found:
        return None
    talk = _resumed(request, draft, for_real=for_real)
    return _shown(talk)


def _resumed(request: HttpRequest, draft: ServiceDraft, *, for_real: bool) -> Rehearsal:
    """The talk so far, if the draft has not been changed since."""
    endpoint = Endpoint(
        base_url=draft.base_url, secret=draft.secret, allowed=allowed_networks()
    ) if for_real else None  # fmt: skip
    talk = Rehearsal(service=drafts.service_of(draft), endpoint=endpoint)
    kept = request.session.get(_kept_talk(draft))
    if kept and kept["of"] == draft.updated_at.isoformat():
        talk.state, talk.lines, talk.turn = kept["state"], kept["lines"], kept["turn"]
    return talk


def _shown(talk: Rehearsal) -> dict[str, Any]:
    state = talk.state
    task = talk.service.intent(state["intent"]).title if state["intent"] else ""
    return {
        "lines": talk.lines,
        "task": task,
        "slots": understood(talk.service, state),
        "without_embedding": talk.without_embedding,
    }


@on_draft
@require_POST
def draft_rehearse(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    """Say something to the draft, or begin the talk anew."""
    form = RehearsalForm(request.POST)
    shown = None
    try:
        if "restart" in request.POST:
            request.session.pop(_kept_talk(draft), None)
            shown = _shown(_resumed(request, draft, for_real=False))
            form = RehearsalForm(initial={"against": request.POST.get("against", "dry")})
        elif form.is_valid():
            talk = _resumed(request, draft, for_real=form.cleaned_data["against"] == "endpoint")
            talk.say(form.cleaned_data["message"])
            request.session[_kept_talk(draft)] = {
                "of": draft.updated_at.isoformat(),
                "state": talk.state,
                "lines": talk.lines,
                "turn": talk.turn,
            }
            shown = _shown(talk)
            form = RehearsalForm(initial={"against": form.cleaned_data["against"]})
        else:
            shown = _shown(_resumed(request, draft, for_real=False))
    except DefinitionError:
        shown = None
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{_draft_page(draft)}#rehearsal")
    context = {"principal": principal, "draft": draft, "rehearsal": shown, "form": form}
    return render(request, "customer_service/_rehearsal.html", context)


@on_draft
@require_POST
def draft_publish(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    try:
        made = drafts.publish(principal, draft)
    except (DefinitionError, DraftRefused) as refusal:
        problem = (
            _("The draft still has problems.")
            if isinstance(refusal, DefinitionError)
            else str(refusal)
        )
        messages.error(request, problem)
        return redirect(_draft_page(draft))
    messages.success(
        request, _("The assistant now offers version %(number)s.") % {"number": made.version}
    )
    return redirect("customer_service:service", workspace=principal.workspace.slug, name=made.name)


@on_draft
@require_POST
def draft_discard(request: HttpRequest, principal: Principal, draft: ServiceDraft) -> HttpResponse:
    drafts.discard(principal, draft)
    messages.success(request, _("The draft is discarded."))
    return redirect("customer_service:services", workspace=principal.workspace.slug)
