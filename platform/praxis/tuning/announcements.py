"""What webhooks hear of a training, whichever kind of weights it makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from praxis.accounts.models import Workspace
from praxis.integrations.events import emit
from praxis.jobs.running import Interrupted, JobRun, PermanentFailure


@contextmanager
def announced(
    run: JobRun, workspace: Workspace, *, subject: object, data: dict[str, Any]
) -> Iterator[None]:
    """Send `tuning.started` once, however often the job is attempted, and `tuning.failed` when
    nothing came of it. `tuning.finished` belongs into the transaction that registers the weights."""
    if not run.cursor.get("announced"):
        with run.transaction():
            emit(workspace, "tuning.started", subject=subject, data=data)
            run.save_cursor({"announced": True})
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if isinstance(error, PermanentFailure) or run.job.attempt >= run.job.max_attempts:
            message = str(error) or type(error).__name__
            with run.transaction():
                emit(workspace, "tuning.failed", subject=subject, data={**data, "message": message})
        raise
