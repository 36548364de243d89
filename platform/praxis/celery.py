"""Celery rings; the job row in PostgreSQL decides (see `praxis.jobs`)."""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_process_init, worker_shutting_down

from praxis.local.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")

app = Celery("praxis")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    # Rings are acknowledged before they are heard, so a broker that comes back finds nothing to
    # give out twice; this says so to Celery, which otherwise warns about it.
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_connect_timeout": 3},
    # A broker that is down must not hold up a web request: the sweep rings again.
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2},
    # Celery would close the pool of connections before and after each task; see below.
    CELERY_DB_REUSE_MAX=sys.maxsize,
)
# The apps add their own periodic tasks in their `AppConfig.ready`.
app.conf.beat_schedule = {
    "sweep-jobs": {"task": "praxis.jobs.tasks.sweep", "schedule": 15.0},
}
app.autodiscover_tasks()


@task_prerun.connect
@task_postrun.connect
def _release_connections(**kwargs: Any) -> None:
    """Into the pool, which looks whether one still works before it gives it out again.

    A new one costs PostgreSQL a process and both sides the key of a password.
    """
    from praxis.database import release_connections  # Django loads after the settings

    release_connections()


@worker_process_init.connect
def _end_with_the_worker(**kwargs: Any) -> None:
    """A pool process whose worker was killed must not go on with a job nobody supervises."""
    die_with_parent()


@worker_shutting_down.connect
def _tell_the_handlers(**kwargs: Any) -> None:
    """SIGTERM waits for the running tasks, so they put their jobs back at their next check.

    Celery's soft shutdown is no help: it sleeps its whole time-out even when they have ended.
    """
    from praxis.jobs.running import note_worker_stopping  # models load after the settings

    note_worker_stopping()
