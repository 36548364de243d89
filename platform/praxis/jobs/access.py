"""Who may see and steer a job."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.jobs.models import Job


def jobs_of(principal: Principal) -> QuerySet[Job]:
    return Job.objects.filter(workspace=principal.workspace)


def get_job(principal: Principal, job_id: UUID) -> Job:
    """The job, or 404 when it is none of the principal's workspace."""
    job = jobs_of(principal).select_related("workspace").filter(pk=job_id).first()
    if job is None:
        raise Http404
    return job


def may_steer(principal: Principal, job: Job) -> bool:
    """Whether the principal may cancel, pause or retry: an administrator, or who started it."""
    started_it = principal.user is not None and job.created_by_id == principal.user.pk
    return started_it or principal.may(Role.ADMIN)
