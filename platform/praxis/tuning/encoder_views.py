"""The pages of encoders that are tuned for the workspace's search."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role
from praxis.knowledge.encoders import encoder_in_use, last_switch
from praxis.knowledge.models import Encoder
from praxis.tuning import encoders as registry
from praxis.tuning.access import get_encoder
from praxis.tuning.forms import EncoderForm
from praxis.tuning.pairs import DOCUMENTS, FEEDBACK, GOLDEN
from praxis.tuning.runs import newest_point


@login_required
@require_http_methods(["GET", "POST"])
def encoders(request: HttpRequest, workspace: str) -> HttpResponse:
    """What search uses now, the encoders there are, and a form that starts another."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = EncoderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            started = registry.launch(
                principal=principal, name=form.cleaned_data["name"], choices=form.choices()
            )
        except registry.EncoderRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect(started)
    found = (
        Encoder.objects.filter(workspace=principal.workspace)
        .select_related("workspace", "job", "indexing", "created_by")
        .order_by("-created_at", "pk")
    )
    return render(
        request,
        "tuning/encoders.html",
        {
            "principal": principal,
            "form": form,
            "encoders": found,
            "switch": last_switch(principal.workspace.pk),
        },
        status=400 if form.errors else 200,
    )


@login_required
@require_GET
def encoder(request: HttpRequest, workspace: str, encoder_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    return render(
        request, "tuning/encoder.html", _context(principal, get_encoder(principal, encoder_id))
    )


@login_required
@require_GET
def status(request: HttpRequest, workspace: str, encoder_id: UUID) -> HttpResponse:
    """The fragment of the page that renews itself."""
    principal = enter_workspace(request, workspace)
    context = _context(principal, get_encoder(principal, encoder_id))
    response = render(request, "tuning/_encoder_status.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _context(principal: Principal, shown: Encoder) -> dict[str, object]:
    origins = {
        "all": _("All"),
        GOLDEN: _("Golden questions"),
        FEEDBACK: _("Feedback on answers"),
        DOCUMENTS: _("The documents"),
    }
    learnt, before, after = (
        shown.pairs.get("learnt", {}),
        shown.result.get("before", {}),
        shown.result.get("after", {}),
    )
    rows = [
        {
            "title": title,
            "learnt": sum(learnt.values()) if origin == "all" else learnt.get(origin, 0),
            "before": before.get(origin),
            "after": after.get(origin),
        }
        for origin, title in origins.items()
        if origin == "all" or origin in learnt or origin in before
    ]
    jobs = [job for job in (shown.job, shown.indexing) if job is not None]
    newest = max(jobs, key=lambda job: job.created_at, default=None)
    return {
        "principal": principal,
        "encoder": shown,
        "job": newest,
        "controls": True,
        "rows": rows,
        "in_use": encoder_in_use(principal.workspace.pk) == shown,
        "worse": bool(before)
        and after.get("all", {}).get("ndcg10", 0) < before.get("all", {}).get("ndcg10", 0),
        "figures": newest_point(shown.job_id) if shown.job_id else {},
    }


@login_required
@require_POST
def use(request: HttpRequest, workspace: str, encoder_id: UUID) -> HttpResponse:
    """Let search go over to the encoder, now or when its vectors are made."""
    principal = enter_workspace(request, workspace)
    chosen = get_encoder(principal, encoder_id)
    try:
        registry.search_with(principal=principal, encoder=chosen)
    except registry.EncoderRefused as refusal:
        messages.error(request, str(refusal))
        return redirect(chosen)
    _say_what_happened(request, principal, chosen)
    return redirect(chosen)


@login_required
@require_POST
def go_back(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    try:
        chosen = registry.go_back(principal=principal)
    except registry.EncoderRefused as refusal:
        messages.error(request, str(refusal))
    else:
        _say_what_happened(request, principal, chosen)
    return redirect("tuning:encoders", workspace)


def _say_what_happened(request: HttpRequest, principal: Principal, chosen: Encoder | None) -> None:
    name = chosen.name if chosen else _("the shipped encoder")
    if encoder_in_use(principal.workspace.pk) == chosen:
        messages.success(request, _("Search uses %(name)s from now on.") % {"name": name})
    else:
        messages.success(
            request,
            _("Its vectors are being made beside the old ones; then search goes over to %(name)s.")
            % {"name": name},
        )


@login_required
@require_POST
def retire(request: HttpRequest, workspace: str, encoder_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    chosen = get_encoder(principal, encoder_id)
    try:
        registry.retire(principal=principal, encoder=chosen)
    except registry.EncoderRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("%(name)s is retired.") % {"name": chosen.name})
    return redirect("tuning:encoders", workspace)
