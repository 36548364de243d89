"""The retrieval workbench: try a search and its settings, keep a golden set, watch its scores."""

import csv
import io
import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from praxis.accounts.access import Principal, enter_workspace, record
from praxis.accounts.models import Role
from praxis.jobs.access import may_steer
from praxis.knowledge.access import get_corpus
from praxis.knowledge.models import Chunk, Corpus
from praxis.knowledge.search import search
from praxis.knowledge.search_settings import (
    SearchSettings,
    forget_settings,
    save_settings,
    settings_for,
)
from praxis.workbench import golden
from praxis.workbench.access import get_question, get_run
from praxis.workbench.forms import QuestionForm, SettingsForm
from praxis.workbench.history import chart_of, differences, with_runs_before
from praxis.workbench.models import GoldenQuestion, GoldenRun
from praxis.workbench.scoring import DEPTH
from praxis.workbench.sides import Side, facing, side_of

QUESTIONS_A_PAGE = 50
RUNS_SHOWN = 30


def _enter(request: HttpRequest, workspace: str) -> Principal:
    return enter_workspace(request, workspace, role=Role.ADMIN)


@login_required
@require_GET
def workbench(request: HttpRequest, workspace: str) -> HttpResponse:
    """The form and what it finds; the whole state is in the address. HTMX gets the results alone."""
    principal = _enter(request, workspace)
    form = QuestionForm(request.GET, principal=principal)
    valid = form.is_valid()
    asked: dict[str, Any] = form.cleaned_data
    corpus: Corpus | None = asked.get("corpus")
    stored = settings_for(principal.workspace, [corpus.pk] if corpus else [])
    compare = bool(asked.get("compare"))
    settings_forms = [
        SettingsForm(request.GET, prefix=prefix, stored=stored) for prefix in ("a", "b")
    ]
    used = settings_forms if compare else settings_forms[:1]
    problems = [
        (str(form.fields[name].label), str(text))
        for name in form.errors
        for text in form.errors[name]
    ]
    for each in used:
        problems += each.problems()
    sides: list[Side] = []
    question = _golden_question(principal, asked)
    if valid and not problems and asked["q"]:
        sides = [_side(principal, asked, each, stored, question) for each in used]
        if compare:
            one, two = sides
            one.rows, two.rows = facing(one, two), facing(two, one)
    context = {
        "principal": principal,
        "form": form,
        "form_a": settings_forms[0],
        "form_b": settings_forms[1],
        "compare": compare,
        "corpus": corpus,
        "query": asked.get("q", ""),
        "problems": problems,
        "sides": sides,
        "golden": question,
        "address": request.get_full_path(),
    }
    template = "_results.html" if request.htmx else "index.html"  # type: ignore[attr-defined]
    response = render(request, f"workbench/{template}", context)
    # The fragment and the page share an address.
    response["Vary"] = "HX-Request"
    response["Cache-Control"] = "no-store"
    return response


def _side(
    principal: Principal,
    asked: dict[str, Any],
    form: SettingsForm,
    stored: SearchSettings,
    question: GoldenQuestion | None,
) -> Side:
    reader = principal
    if asked["reader"]:
        reader = Principal(workspace=principal.workspace, role=Role(asked["reader"]))
    result = search(
        principal=reader,
        query=asked["q"],
        limit=DEPTH,
        assistant=asked["assistant"],
        corpora=[asked["corpus"].pk] if asked["corpus"] else None,
        settings=form.cleaned,
        earlier=asked["earlier"],
    )
    key = str(form.prefix)
    return side_of(key, result, stored=stored, workspace=principal.workspace, golden=question)


def _golden_question(principal: Principal, asked: dict[str, Any]) -> GoldenQuestion | None:
    text = " ".join(asked.get("q", "").split())
    return (
        GoldenQuestion.objects.filter(
            workspace=principal.workspace, corpus=asked.get("corpus"), text=text
        )
        .prefetch_related("expected")
        .first()
    )


@login_required
@require_POST
def save(request: HttpRequest, workspace: str) -> HttpResponse:
    """Store the settings in `values` (JSON) for the workspace, or for `corpus`."""
    principal = _enter(request, workspace)
    settings, corpus = _posted_settings(request), _posted_corpus(request, principal)
    save_settings(settings, workspace=principal.workspace, corpus=corpus, by=principal.user)
    record(principal, "search.settings", corpus, values=settings.to_dict())
    if corpus:
        text = _("Saved. Searches of “%(name)s” alone go by these settings.") % {
            "name": corpus.name
        }
    else:
        text = _("Saved. Searches of this workspace go by these settings.")
    messages.success(request, text)
    golden.settings_changed(principal.workspace, by=principal.user)
    return _back(request, workspace)


@login_required
@require_POST
def forget(request: HttpRequest, workspace: str) -> HttpResponse:
    """Back to the workspace's settings (of `corpus`), or to the defaults (of the workspace)."""
    principal = _enter(request, workspace)
    corpus = _posted_corpus(request, principal)
    forget_settings(workspace=principal.workspace, corpus=corpus)
    record(principal, "search.settings.forget", corpus)
    messages.success(request, _("The stored settings were removed."))
    golden.settings_changed(principal.workspace, by=principal.user)
    query = {"q": request.POST.get("q", ""), "corpus": str(corpus.pk) if corpus else ""}
    address = reverse("workbench:index", args=[workspace])
    return redirect(f"{address}?{urlencode(query)}")


def _posted_settings(request: HttpRequest) -> SearchSettings:
    """404 for what the page never sends."""
    try:
        return SearchSettings.from_dict(json.loads(request.POST.get("values", "")))
    except (ValueError, TypeError, ValidationError):
        raise Http404 from None


def _posted_corpus(request: HttpRequest, principal: Principal) -> Corpus | None:
    """None without `corpus`; 404 for one of another workspace."""
    given = request.POST.get("corpus", "")
    if not given:
        return None
    try:
        return get_corpus(principal, UUID(given))
    except ValueError:
        raise Http404 from None


def _back(request: HttpRequest, workspace: str) -> HttpResponse:
    """To the address that the form came from."""
    address = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(address, allowed_hosts=None):
        address = reverse("workbench:index", args=[workspace])
    return redirect(address)


# The golden set -------------------------------------------------------------------------------------


@login_required
@require_POST
def expect(request: HttpRequest, workspace: str) -> HttpResponse:
    """Expect the passage `chunk` (or with `whole` its document) for the question, or no longer."""
    principal = _enter(request, workspace)
    corpus = _posted_corpus(request, principal)
    chunk_id = request.POST.get("chunk", "")
    chunk = (
        Chunk.objects.select_related("version")
        .filter(workspace=principal.workspace, pk=chunk_id)
        .first()
        if chunk_id.isascii() and chunk_id.isdecimal() and len(chunk_id) < 19
        else None
    )
    if chunk is None:
        raise Http404
    try:
        question = golden.add_question(
            workspace=principal.workspace,
            text=request.POST.get("question", ""),
            corpus=corpus,
            by=principal.user,
        )
        golden.toggle(question, chunk, whole_document="whole" in request.POST)
    except golden.GoldenRefused as refusal:
        messages.error(request, str(refusal))
        return _back(request, workspace)
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponse(status=204, headers={"HX-Trigger": "golden-changed"})
    return _back(request, workspace)


@login_required
@require_GET
def golden_set(request: HttpRequest, workspace: str) -> HttpResponse:
    """The scores over time, and the questions with what each should find."""
    principal = _enter(request, workspace)
    runs = list(
        GoldenRun.objects.filter(workspace=principal.workspace)
        .defer("results")
        .select_related("workspace", "job__workspace", "created_by")
        .order_by("-created_at")[:RUNS_SHOWN]
    )
    questions = (
        GoldenQuestion.objects.filter(workspace=principal.workspace)
        .select_related("corpus")
        .prefetch_related("expected__document")
        .order_by("-created_at", "pk")
    )
    page = Paginator(questions, QUESTIONS_A_PAGE).get_page(request.GET.get("page"))
    going_on = next((run.job for run in runs if run.job and not run.job.is_finished), None)
    return render(
        request,
        "workbench/golden.html",
        {
            "principal": principal,
            "page": page,
            "results": _results_of(next((run for run in runs if run.figures), None)),
            "runs": with_runs_before(runs),
            "chart": chart_of(runs),
            "job": going_on,
            "controls": going_on is not None and may_steer(principal, going_on),
            "content_version": golden.content_version(principal.workspace),
        },
    )


def _results_of(run: GoldenRun | None) -> dict[str, dict[str, Any]]:
    """Question id to its figures in the newest run."""
    if run is None:
        return {}
    return {each["id"]: each for each in run.results}


@login_required
@require_POST
def import_golden(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = _enter(request, workspace)
    file = request.FILES.get("file")
    if file is None or (file.size or 0) > golden.MAX_CSV_BYTES:
        messages.error(
            request,
            _("Choose a CSV file of at most %(limit)d MB, then import it.")
            % {"limit": golden.MAX_CSV_BYTES // 1048576},
        )
        return redirect("workbench:golden", workspace=workspace)
    try:
        taken, problems = golden.import_csv(
            workspace=principal.workspace, content=file.read(), by=principal.user
        )
    except golden.GoldenRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("workbench:golden", workspace=workspace)
    record(principal, "golden.import", lines=taken)
    if taken:
        messages.success(
            request,
            ngettext("%(count)d line was imported.", "%(count)d lines were imported.", taken)
            % {"count": taken},
        )
    for problem in problems[:10]:
        messages.warning(request, _("Line %(problem)s") % {"problem": problem})
    if len(problems) > 10:
        messages.warning(
            request,
            _("%(count)d further lines were not imported.") % {"count": len(problems) - 10},
        )
    return redirect("workbench:golden", workspace=workspace)


@login_required
@require_GET
def export_golden(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = _enter(request, workspace)
    written = io.StringIO()
    writer = csv.writer(written)
    for row in golden.csv_rows(principal.workspace):
        writer.writerow(row)
    return HttpResponse(
        written.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="golden-{workspace}.csv"',
            "Cache-Control": "private, no-store",
        },
    )


@login_required
@require_POST
def score(request: HttpRequest, workspace: str) -> HttpResponse:
    """Score the golden set, with `values` (JSON) if given, else with the stored settings."""
    principal = _enter(request, workspace)
    tried = _posted_settings(request) if "values" in request.POST else None
    try:
        golden.start_run(
            workspace=principal.workspace,
            origin=GoldenRun.Origin.ASKED,
            by=principal.user,
            tried=tried,
        )
    except golden.GoldenRefused as refusal:
        messages.warning(request, str(refusal))
    return redirect("workbench:golden", workspace=workspace)


@login_required
@require_GET
def run(request: HttpRequest, workspace: str, run_id: UUID) -> HttpResponse:
    """One run question by question, against the scored run before it."""
    principal = _enter(request, workspace)
    found = get_run(principal, run_id)
    before = (
        GoldenRun.objects.filter(
            workspace=principal.workspace, created_at__lt=found.created_at, figures__isnull=False
        )
        .order_by("-created_at")
        .first()
    )
    return render(
        request,
        "workbench/run.html",
        {
            "principal": principal,
            "run": found,
            "before": before,
            "settings": differences(found),
            "rows": _compared(found, _results_of(before)),
            "controls": found.job is not None and may_steer(principal, found.job),
        },
    )


def _compared(
    run: GoldenRun, before: dict[str, dict[str, Any]]
) -> list[tuple[dict[str, Any], float | None]]:
    """Each question with the change of its nDCG, the worst first."""
    rows = [
        (each, each["ndcg10"] - before[each["id"]]["ndcg10"] if each["id"] in before else None)
        for each in run.results
    ]
    return sorted(rows, key=lambda row: (row[0]["ndcg10"], row[0]["question"]))


@login_required
@require_POST
def delete_question(request: HttpRequest, workspace: str, question_id: UUID) -> HttpResponse:
    principal = _enter(request, workspace)
    get_question(principal, question_id).delete()
    messages.success(request, _("The question was taken out of the golden set."))
    return redirect("workbench:golden", workspace=workspace)
