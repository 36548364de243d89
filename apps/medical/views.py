"""The clinician's review queue and the workspace's emergency numbers."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from apps.medical import assistant, tracking, wording
from apps.medical.access import SHOWN, answers_to_review, get_answer
from apps.medical.forms import CaseReviewForm, EmergencySettingsForm
from apps.medical.models import CaseReview, EmergencySettings
from apps.medical.scope import Status
from praxis.accounts.access import enter_workspace, record
from praxis.accounts.models import Role

PAGE_SIZE = 25


@login_required
def review_list(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    chosen = request.GET.get("show", "open")
    chosen = chosen if chosen in SHOWN else "open"
    answers = answers_to_review(principal, chosen)
    page = Paginator(answers, PAGE_SIZE).get_page(request.GET.get("page"))
    labels = dict(CaseReview.Decision.choices) | {"open": _("Not reviewed"), "all": _("All")}
    return render(
        request,
        "medical/reviews.html",
        {
            "principal": principal,
            "page": page,
            "chosen": chosen,
            "filters": [(value, labels[value]) for value in SHOWN],
            "labels": labels,
            "may_edit_numbers": principal.may(Role.ADMIN),
        },
    )


@login_required
def review_detail(request: HttpRequest, workspace: str, message_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.AGENT)
    answer = get_answer(principal, message_id)
    form = CaseReviewForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        review = form.save(commit=False)
        review.message, review.reviewer = answer, principal.user
        review.save()
        record(principal, "medical.review", answer, decision=review.decision)
        messages.success(
            request, _("Recorded: %(decision)s.") % {"decision": review.get_decision_display()}
        )
        return redirect("medical:reviews", workspace=workspace)
    state = answer.state_after or {}
    return render(
        request,
        "medical/review.html",
        {
            "principal": principal,
            "answer": answer,
            "cards": answer.events_of("card"),
            "understood": [
                (label, [wording.term_label(term) for term in tracking.terms_with(state, status)])
                for status, label in (
                    (Status.PRESENT, _("Present")),
                    (Status.ABSENT, _("Absent")),
                    (Status.UNCERTAIN, _("Unclear")),
                )
            ],
            "versions": assistant.versions(),
            "reviews": answer.case_reviews.select_related("reviewer").order_by(
                "-created_at", "-pk"
            ),
            "form": form,
        },
    )


@login_required
def emergency(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    current = EmergencySettings.objects.filter(workspace=principal.workspace).first()
    form = EmergencySettingsForm(
        request.POST or None, instance=current or EmergencySettings(workspace=principal.workspace)
    )
    if request.method == "POST" and form.is_valid():
        saved = form.save()
        record(principal, "medical.emergency", saved, **form.cleaned_data)
        messages.success(request, _("The emergency numbers are saved."))
        return redirect("medical:reviews", workspace=workspace)
    return render(
        request,
        "medical/emergency.html",
        {
            "principal": principal,
            "form": form,
            "numbers": wording.numbers_of(str(principal.workspace.pk)),
        },
    )
