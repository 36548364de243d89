"""What Celery carries: doorbells and the sweep, never the work itself.

A ring is acknowledged before it is heard, so a job that outlasts any broker timeout is not rung
into a second run; a ring that is lost comes again with the sweep.
"""

from uuid import UUID

from celery import shared_task

from praxis.jobs.running import run_job
from praxis.jobs.sweeping import sweep as sweep_jobs


@shared_task(name="praxis.jobs.tasks.ring", acks_late=False, ignore_result=True)
def ring(job_id: str) -> None:
    run_job(UUID(job_id))


@shared_task(name="praxis.jobs.tasks.sweep", ignore_result=True, expires=60)
def sweep() -> None:
    sweep_jobs()
