"""Small job kinds for the tests. The effects go to a table of metrics: one row per step."""

import os
import time

from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun, PermanentFailure, Retry


@job_kind("test.steps", queue="ingest", max_attempts=5, lease_seconds=2)
def steps(run: JobRun) -> None:
    """Does `steps` steps of `seconds` each; every step's effect and cursor are stored together."""
    number = run.payload["steps"]
    for step in range(run.cursor.get("next", 0), number):
        run.check()
        time.sleep(run.payload.get("seconds", 0))
        with run.transaction():
            record_step(run, step)
            run.save_cursor({"next": step + 1})
        run.progress(step + 1, number, unit="steps", stage="Stepping")


def record_step(run: JobRun, step: int) -> None:
    """Append to the ledger; fails on a step that was recorded before (the rows are unique)."""
    run.job.metrics.create(step=step, values={"pid": os.getpid(), "token": run.token})


@job_kind("test.refuse", queue="interactive")
def refuse(run: JobRun) -> None:
    raise PermanentFailure("The document is encrypted. Upload it without a password.")


@job_kind("test.later", queue="interactive", max_attempts=2)
def later(run: JobRun) -> None:
    raise Retry("The model server does not answer.", after_seconds=120)


@job_kind("test.broken", queue="interactive", max_attempts=2)
def broken(run: JobRun) -> None:
    raise ZeroDivisionError("secret text of a person")


@job_kind("test.poison", queue="ingest", max_attempts=2, lease_seconds=0.6)
def poison(run: JobRun) -> None:
    """Ends its process as the kernel does when memory runs out."""
    os._exit(137)


@job_kind("test.nothing", queue="interactive")
def nothing(run: JobRun) -> None:
    run.metric(0, pid=os.getpid())
