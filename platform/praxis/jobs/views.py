"""The progress of a job as a fragment of its owner's page, and its buttons."""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from praxis.accounts.access import Principal, enter_workspace, record
from praxis.jobs import services
from praxis.jobs.access import get_job, may_steer
from praxis.jobs.models import Job


@login_required
@require_GET
def progress(request: HttpRequest, workspace: str, job_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    return _fragment(request, principal, get_job(principal, job_id))


@login_required
@require_POST
def cancel(request: HttpRequest, workspace: str, job_id: UUID) -> HttpResponse:
    return _steer(request, workspace, job_id, services.request_cancel, "job.cancel")


@login_required
@require_POST
def pause(request: HttpRequest, workspace: str, job_id: UUID) -> HttpResponse:
    return _steer(request, workspace, job_id, services.pause, "job.pause")


@login_required
@require_POST
def resume(request: HttpRequest, workspace: str, job_id: UUID) -> HttpResponse:
    return _steer(request, workspace, job_id, services.resume, "job.resume")


@login_required
@require_POST
def retry(request: HttpRequest, workspace: str, job_id: UUID) -> HttpResponse:
    return _steer(request, workspace, job_id, services.retry, "job.retry")


def _steer(
    request: HttpRequest, slug: str, job_id: UUID, act: Callable[[Job], Job], action: str
) -> HttpResponse:
    principal = enter_workspace(request, slug)
    job = get_job(principal, job_id)
    if not may_steer(principal, job):
        raise PermissionDenied(_("Only an administrator or who started the job may do this."))
    problem = ""
    try:
        job = act(job)
    except services.NotAllowedNow as refusal:
        problem = str(refusal)
        job.refresh_from_db()
    else:
        record(principal, action, job, kind=job.kind)
    if request.headers.get("HX-Request") == "true":
        return _fragment(request, principal, job, problem)
    if problem:
        messages.warning(request, problem)
    return HttpResponseRedirect(_page_before(request))


def _fragment(
    request: HttpRequest, principal: Principal, job: Job, problem: str = ""
) -> HttpResponse:
    response = render(
        request,
        "jobs/_progress.html",
        {"job": job, "controls": may_steer(principal, job), "problem": problem},
    )
    if job.is_finished:
        # The owner's page may listen for it to show the result.
        response["HX-Trigger"] = "job-finished"
    response["Cache-Control"] = "no-store"
    return response


def _page_before(request: HttpRequest) -> str:
    referer = request.headers.get("Referer", "")
    safe = url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return referer if safe else "/"
