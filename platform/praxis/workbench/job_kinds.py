"""The jobs of this app."""

from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun
from praxis.workbench import golden


@job_kind("workbench.score", queue="ingest")
def score(run: JobRun) -> None:
    golden.score_run(run)
