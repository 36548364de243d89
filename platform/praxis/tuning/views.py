"""The fine-tuning pages: data sets and their reports, runs, the registry of adapters."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.models import AssistantSettings
from praxis.assistants.registry import all_assistants, get_assistant
from praxis.tuning import adapters as registry
from praxis.tuning import datasets as data
from praxis.tuning import lens, runs, trainer
from praxis.tuning.access import get_adapter, get_dataset, get_run, get_version
from praxis.tuning.forms import (
    CorrectionsForm,
    LaunchForm,
    LensDataForm,
    LensPromptForm,
    PromoteForm,
    UploadForm,
)
from praxis.tuning.models import Adapter, DatasetVersion, TuningRun

PER_PAGE = 50
PROBLEMS_PER_PAGE = 100
LOG_LINES = 200
METRICS_IN_PAGE = 60


def _enter(request: HttpRequest, workspace: str) -> Principal:
    return enter_workspace(request, workspace, role=Role.ADMIN)


@login_required
@require_GET
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    """The dashboard: the workspace's runs, the newest first."""
    principal = _enter(request, workspace)
    found = (
        TuningRun.objects.filter(workspace=principal.workspace)
        .select_related("job", "dataset_version__dataset", "created_by", "adapter", "workspace")
        .order_by("-created_at", "pk")
    )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    figures = runs.latest_figures([one.job_id for one in page])
    return render(
        request,
        "tuning/index.html",
        {
            "principal": principal,
            "page": page,
            "rows": [(one, figures.get(one.job_id, {})) for one in page],
            "going_on": any(not one.job.is_finished for one in page),
            "titles": _assistant_titles(),
        },
    )


@login_required
@require_GET
def datasets(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = _enter(request, workspace)
    found = (
        DatasetVersion.objects.filter(dataset__workspace=principal.workspace)
        .select_related("dataset__workspace", "created_by")
        .order_by("-created_at", "pk")
    )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "tuning/datasets.html",
        {
            "principal": principal,
            "page": page,
            "upload_form": UploadForm(),
            "corrections_form": CorrectionsForm(auto_id="corrections_%s"),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def upload(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = _enter(request, workspace)
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            version = data.store_upload(
                principal=principal,
                name=form.cleaned_data["name"],
                file=form.cleaned_data["file"],
            )
        except data.DatasetRefused as refusal:
            form.add_error("file", str(refusal))
        else:
            return redirect(version)
    return render(
        request,
        "tuning/form.html",
        {
            "principal": principal,
            "form": form,
            "title": _("Upload a data set"),
            "act": _("Upload and examine"),
            "multipart": True,
        },
        status=400 if form.errors else 200,
    )


@login_required
@require_http_methods(["GET", "POST"])
def corrections(request: HttpRequest, workspace: str) -> HttpResponse:
    """Collect the corrections that people wrote in the chat."""
    principal = _enter(request, workspace)
    form = CorrectionsForm(request.POST or None, auto_id="corrections_%s")
    if request.method == "POST" and form.is_valid():
        try:
            version = data.store_corrections(principal=principal, **form.cleaned_data)
        except data.DatasetRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            return redirect(version)
    return render(
        request,
        "tuning/form.html",
        {
            "principal": principal,
            "form": form,
            "title": _("Make a data set from corrections"),
            "act": _("Collect corrections"),
        },
        status=400 if form.errors else 200,
    )


@login_required
@require_GET
def dataset(request: HttpRequest, workspace: str, dataset_id: UUID) -> HttpResponse:
    """The newest version's report; the page lists the others."""
    principal = enter_workspace(request, workspace)
    newest = get_dataset(principal, dataset_id).versions.order_by("-number").first()
    if newest is None:
        raise Http404
    return redirect("tuning:version", workspace, newest.pk)


@login_required
@require_GET
def version(request: HttpRequest, workspace: str, version_id: UUID) -> HttpResponse:
    """What is wrong with the data set, line by line."""
    principal = enter_workspace(request, workspace)
    shown = get_version(principal, version_id)
    problems = Paginator(shown.report.get("problems", []), PROBLEMS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    return render(
        request,
        "tuning/version.html",
        {
            "principal": principal,
            "version": shown,
            "why_unusable": data.why_unusable(shown),
            "problems": problems,
            "rows": [data.problem_for_people(problem) for problem in problems],
            "totals": data.totals_for_people(shown.report),
            "histogram": data.histogram_for_people(shown.report),
            "versions": shown.dataset.versions.order_by("-number"),
            "runs": shown.runs.select_related("job", "workspace").order_by("-created_at"),
        },
    )


@login_required
@require_GET
def usable_lines(request: HttpRequest, workspace: str, version_id: UUID) -> StreamingHttpResponse:
    """The lines without an error, as they were uploaded."""
    principal = enter_workspace(request, workspace)
    shown = get_version(principal, version_id)
    response = StreamingHttpResponse(data.usable_chunks(shown), content_type="application/jsonl")
    response["Content-Disposition"] = (
        f'attachment; filename="dataset-{shown.pk}-v{shown.number}-usable.jsonl"'
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


@login_required
@require_http_methods(["GET", "POST"])
def launch(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = _enter(request, workspace)
    form = LaunchForm(
        request.POST or None,
        workspace=principal.workspace,
        initial={"dataset_version": request.GET.get("version")},
    )
    estimate, longer = None, 0
    if request.method == "POST" and form.is_valid():
        chosen: DatasetVersion = form.cleaned_data["dataset_version"]
        estimate = runs.estimated_time(chosen, form.choices())
        longer = data.longer_than(chosen, form.choices().max_tokens)
        if "estimate" not in request.POST:
            try:
                started = runs.launch(
                    principal=principal,
                    version=chosen,
                    assistant=form.cleaned_data["assistant"],
                    name=form.cleaned_data["name"],
                    choices=form.choices(),
                )
            except runs.LaunchRefused as refusal:
                form.add_error(None, str(refusal))
            else:
                return redirect(started)
    return render(
        request,
        "tuning/launch.html",
        {
            "principal": principal,
            "form": form,
            "has_data": form.has_data,
            "asked_estimate": request.method == "POST" and form.is_valid(),
            "estimate": estimate,
            "longer": longer,
        },
        status=400 if form.errors else 200,
    )


@login_required
@require_GET
def run(request: HttpRequest, workspace: str, run_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    shown = get_run(principal, run_id)
    points, _more = runs.points_after(shown, -1)
    every = max(1, len(points) // METRICS_IN_PAGE)
    return render(
        request,
        "tuning/run.html",
        {
            **_status_context(principal, shown),
            "points": [
                point
                for number, point in enumerate(points)
                if number % every == 0 or "eval_loss" in point or number == len(points) - 1
            ],
            "assistant_title": _assistant_titles().get(shown.assistant, shown.assistant),
            "estimate": runs.estimated_time(shown.dataset_version, runs.Choices(**shown.recipe)),
        },
    )


@login_required
@require_GET
def run_status(request: HttpRequest, workspace: str, run_id: UUID) -> HttpResponse:
    """The fragment of the run's page that renews itself."""
    principal = enter_workspace(request, workspace)
    shown = get_run(principal, run_id)
    response = render(request, "tuning/_run_status.html", _status_context(principal, shown))
    response["Cache-Control"] = "no-store"
    return response


def _status_context(principal: Principal, shown: TuningRun) -> dict[str, object]:
    return {
        "principal": principal,
        "run": shown,
        "job": shown.job,
        "controls": True,
        "figures": runs.latest_figures([shown.job_id]).get(shown.job_id, {}),
        "adapter": Adapter.objects.filter(run=shown).first(),
    }


@login_required
@require_GET
def run_metrics(request: HttpRequest, workspace: str, run_id: UUID) -> JsonResponse:
    """The points of the chart after a step: `{"points": […], "steps", "finished", "more"}`."""
    principal = enter_workspace(request, workspace)
    shown = get_run(principal, run_id)
    try:
        after = int(request.GET.get("after", "-1"))
    except ValueError:
        return JsonResponse(
            {"error": f"after must be a whole number, got {request.GET['after']!r}."}, status=400
        )
    response = JsonResponse(runs.progress_of(shown, after))
    response["Cache-Control"] = "no-store"
    return response


@login_required
@require_GET
def run_log(request: HttpRequest, workspace: str, run_id: UUID) -> HttpResponse:
    """The end of the trainer's own output."""
    principal = enter_workspace(request, workspace)
    shown = get_run(principal, run_id)
    return render(
        request,
        "tuning/_log.html" if request.headers.get("HX-Request") == "true" else "tuning/log.html",
        {
            "principal": principal,
            "run": shown,
            "log": trainer.log_tail(runs.files_of(shown), lines=LOG_LINES),
        },
    )


@login_required
@require_GET
def adapters(request: HttpRequest, workspace: str) -> HttpResponse:
    """The registry, and what is behind each assistant now."""
    principal = _enter(request, workspace)
    found = (
        Adapter.objects.filter(workspace=principal.workspace)
        .select_related("run__dataset_version__dataset", "run__workspace", "workspace")
        .prefetch_related("evaluations", "used_by")
        .order_by("-created_at", "pk")
    )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    titles = _assistant_titles()
    rows = [
        {
            "adapter": adapter,
            "used_by": [titles.get(row.assistant, row.assistant) for row in adapter.used_by.all()],
            "form": PromoteForm(
                initial={"assistant": adapter.run.assistant} if adapter.run else None,
                prefix=f"adapter-{adapter.pk}",
            ),
        }
        for adapter in page
    ]
    return render(
        request,
        "tuning/adapters.html",
        {
            "principal": principal,
            "page": page,
            "rows": rows,
            "assistants": _what_answers(principal),
        },
    )


def _what_answers(principal: Principal) -> list[dict[str, object]]:
    """Each assistant with the adapter behind it and what one click returns to."""
    chosen = {
        row.assistant: row.adapter
        for row in AssistantSettings.objects.filter(workspace=principal.workspace).select_related(
            "adapter"
        )
    }
    return [
        {
            "assistant": assistant,
            "adapter": chosen.get(assistant.slug),
            "promotion": registry.last_promotion(principal.workspace.pk, assistant.slug),
        }
        for assistant in all_assistants()
    ]


@login_required
@require_POST
def promote(request: HttpRequest, workspace: str, adapter_id: UUID) -> HttpResponse:
    """Put the adapter behind an assistant; the next turn uses it."""
    principal = enter_workspace(request, workspace)
    adapter = get_adapter(principal, adapter_id)
    form = PromoteForm(request.POST, prefix=f"adapter-{adapter.pk}")
    if not form.is_valid():
        messages.error(request, _("Choose an assistant from the list."))
        return _to_registry(workspace)
    assistant = form.cleaned_data["assistant"]
    try:
        registry.promote(principal=principal, assistant=assistant, adapter=adapter)
    except registry.AdapterRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(
            request,
            _("%(adapter)s answers for %(assistant)s from the next message on.")
            % {"adapter": adapter.name, "assistant": get_assistant(assistant).title},
        )
    return _to_registry(workspace)


@login_required
@require_POST
def go_back(request: HttpRequest, workspace: str, assistant: str) -> HttpResponse:
    """Return an assistant to what answered before the newest promotion."""
    principal = _enter(request, workspace)
    if assistant not in _assistant_titles():
        raise Http404
    try:
        chosen = registry.go_back(principal=principal, assistant=assistant)
    except registry.AdapterRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(
            request,
            _("%(adapter)s answers for %(assistant)s from the next message on.")
            % {
                "adapter": chosen.adapter.name if chosen.adapter else _("The base model"),
                "assistant": get_assistant(assistant).title,
            },
        )
    return _to_registry(workspace)


@login_required
@require_POST
def retire(request: HttpRequest, workspace: str, adapter_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    adapter = get_adapter(principal, adapter_id)
    try:
        registry.retire(principal=principal, adapter=adapter)
    except registry.AdapterRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("%(name)s is retired.") % {"name": adapter.name})
    return _to_registry(workspace)


@login_required
@require_http_methods(["GET", "POST"])
def experts(request: HttpRequest, workspace: str) -> HttpResponse:
    """The routing lens: where a question goes, and how data sets use the experts.

    Questions come by POST, so that they stand in no log of addresses.
    """
    principal = _enter(request, workspace)
    asked, compared = ("question" in request.POST, "compare" in request.POST)
    prompt = LensPromptForm(request.POST if asked else None)
    data_form = LensDataForm(
        request.POST if compared else None, workspace=principal.workspace, auto_id="data_%s"
    )
    shown: dict[str, object] = {}
    try:
        shown["model"] = lens.mixture()
        if asked and prompt.is_valid():
            shown["routing"] = lens.of_prompt(prompt.cleaned_data["question"])
        elif compared and data_form.is_valid():
            shown["uses"] = lens.of_datasets(data_form.cleaned_data["versions"])
    except lens.NoLens as refusal:
        shown["refusal"] = str(refusal)
    except ModelUnavailable as problem:
        shown["problem"] = str(problem)
    return render(
        request,
        "tuning/experts.html",
        {
            "principal": principal,
            "prompt": prompt,
            "data_form": data_form,
            "shown_tokens": lens.SHOWN_TOKENS,
            **shown,
        },
        status=400 if prompt.errors or data_form.errors else 200,
    )


def _to_registry(workspace: str) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("tuning:adapters", args=[workspace]))


def _assistant_titles() -> dict[str, str]:
    return {assistant.slug: str(assistant.title) for assistant in all_assistants()}
