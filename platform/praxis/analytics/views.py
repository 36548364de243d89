"""The figures of a workspace's conversations, their export, and articles to write."""

import csv
from uuid import UUID

from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role
from praxis.analytics import figures
from praxis.analytics.drafts import draft_article, drafts_of, publish
from praxis.analytics.forms import DEFAULT_DAYS, PRESETS, PeriodForm
from praxis.analytics.questions import MOST_QUESTIONS, Topic, unanswered_topics
from praxis.assistants.contract import ModelUnavailable
from praxis.conversations.refusals import MessageRefused
from praxis.knowledge.access import corpora_of, get_corpus
from praxis.knowledge.services import UploadRefused

SHOWN_TOPICS = 20


@login_required
@require_GET
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    form = PeriodForm(request.GET)
    if not form.is_valid():
        context = {"principal": principal, "form": form, "presets": PRESETS}
        return render(request, "analytics/index.html", context, status=422)
    period, assistant = form.period(), form.cleaned_data["assistant"]
    topics, problem = _topics(principal, period, assistant)
    context = {
        "principal": principal,
        "form": form.filled_in(),
        "period": period,
        "assistant": assistant,
        "presets": PRESETS,
        "figures": figures.figures(principal, period, assistant),
        "days": [day for day in figures.by_day(principal, period, assistant) if day.conversations],
        "reasons": figures.handoff_reasons(principal, period, assistant),
        "understood": figures.understood(principal, period, assistant),
        "topics": topics[:SHOWN_TOPICS],
        "num_topics": len(topics),
        "most_questions": MOST_QUESTIONS,
        "problem": problem,
        "query": f"first={period.first}&last={period.last}&assistant={assistant}",
        "corpora": corpora_of(principal).order_by("name", "pk"),
        "is_admin": principal.may(Role.ADMIN),
        "drafts": drafts_of(principal) if principal.may(Role.ADMIN) else [],
        "default_days": DEFAULT_DAYS,
    }
    return render(request, "analytics/index.html", context)


def _topics(
    principal: Principal, period: figures.Period, assistant: str
) -> tuple[list[Topic], str]:
    """The topics, or why there are none now; the figures don't wait for the model server."""
    try:
        return unanswered_topics(principal, period, assistant), ""
    except ModelUnavailable as error:
        return [], str(error)


@login_required
@require_GET
def export(request: HttpRequest, workspace: str) -> HttpResponse:
    """A row for every day of the period, as CSV."""
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    form = PeriodForm(request.GET)
    if not form.is_valid():
        return HttpResponse(form.errors.as_text(), status=422, content_type="text/plain")
    period = form.period()
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    name = f"{workspace}-{period.first}-{period.last}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    table = csv.writer(response)
    table.writerow("day conversations contained resolved handoffs ratings rating_mean".split())
    for day in figures.by_day(principal, period, form.cleaned_data["assistant"]):
        mean = "" if day.rating_mean is None else f"{day.rating_mean:.2f}"
        table.writerow(
            [
                day.day.isoformat(),
                day.conversations,
                day.contained,
                day.resolved,
                day.handoffs,
                day.ratings,
                mean,
            ]
        )
    return response


@login_required
@require_POST
def draft(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    try:
        corpus = get_corpus(principal, UUID(request.POST.get("corpus", "")))
        questions = [UUID(one) for one in request.POST.getlist("question")]
    except ValueError as error:
        raise Http404 from error
    try:
        document = draft_article(
            principal=principal,
            corpus=corpus,
            title=request.POST.get("title", ""),
            question_ids=questions,
        )
    except (MessageRefused, UploadRefused) as refused:
        notes.error(request, str(refused))
        return redirect("analytics:index", principal.workspace.slug)
    notes.success(
        request,
        _("The draft is in “%(corpus)s”. Only administrators find it until it is published.")
        % {"corpus": corpus.name},
    )
    return redirect(document)


@login_required
@require_POST
def publish_draft(request: HttpRequest, workspace: str, document_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    document = drafts_of(principal).filter(pk=document_id).first()
    if document is None:
        raise Http404
    publish(principal=principal, document=document)
    notes.success(request, _("Published: whoever may search the corpus finds it now."))
    return redirect("analytics:index", principal.workspace.slug)
