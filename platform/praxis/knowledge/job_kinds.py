"""The jobs of this app."""

from praxis.jobs.registry import job_kind
from praxis.jobs.running import JobRun
from praxis.knowledge import imports, ingestion


@job_kind(
    "knowledge.ingest",
    queue="ingest",
    max_attempts=ingestion.MAX_ATTEMPTS,
    given_up=ingestion.given_up,
)
def ingest(run: JobRun) -> None:
    ingestion.ingest(run)


@job_kind(
    imports.KIND,
    queue="ingest",
    given_up=imports.forget_archive,
    cancelled=imports.forget_archive,
)
def import_documents(run: JobRun) -> None:
    imports.import_documents(run)
