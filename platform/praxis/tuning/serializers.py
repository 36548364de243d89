"""Data sets, runs and adapters as the API, the webhooks and exports show them."""

from typing import Any

from praxis.tuning.datasets import problem_for_people, why_unusable
from praxis.tuning.models import Adapter, Dataset, DatasetVersion, TuningRun


def dataset_to_dict(dataset: Dataset) -> dict[str, Any]:
    """Reads the versions, which are best prefetched."""
    return {
        "id": str(dataset.pk),
        "name": dataset.name,
        "created_at": dataset.created_at.isoformat(),
        "versions": [
            version_to_dict(version)
            for version in sorted(dataset.versions.all(), key=lambda one: -one.number)
        ],
    }


def version_to_dict(version: DatasetVersion, *, report: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": str(version.pk),
        "dataset": str(version.dataset_id),
        "number": version.number,
        "origin": version.origin,
        "file_name": version.file_name,
        "size": version.size,
        "sha256": version.sha256,
        "state": version.state,
        "message": why_unusable(version),
        "rows": version.rows,
        "usable_rows": version.usable_rows,
        "tokens": version.tokens,
        "created_at": version.created_at.isoformat(),
    }
    if report:
        values["report"] = {
            **version.report,
            "problems": [
                problem_for_people(problem) for problem in version.report.get("problems", [])
            ],
        }
    return values


def run_to_dict(run: TuningRun, figures: dict[str, Any]) -> dict[str, Any]:
    """`figures` are the newest measurements (`runs.latest_figures`). Reads the job."""
    job = run.job
    return {
        "id": str(run.pk),
        "name": run.name,
        "adapter_name": run.adapter_name,
        "assistant": run.assistant,
        "dataset_version": str(run.dataset_version_id),
        "recipe": run.recipe,
        "state": job.state,
        "stage": job.stage,
        "message": str(job.reason),
        "step": job.done,
        "steps": job.total,
        "seconds_left": job.time_left.total_seconds() if job.time_left is not None else None,
        "figures": figures,
        "result": run.result,
        "created_at": run.created_at.isoformat(),
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
    }


def adapter_to_dict(adapter: Adapter) -> dict[str, Any]:
    """Reads the evaluations and the assistants that use it, which are best prefetched."""
    return {
        "id": str(adapter.pk),
        "name": adapter.name,
        "run": str(adapter.run_id) if adapter.run_id else None,
        "base_model": adapter.base_model,
        "sha256": adapter.sha256,
        "size": adapter.size,
        "state": adapter.state,
        "figures": adapter.figures,
        "evaluations": [
            {"kind": evaluation.kind, "figures": evaluation.figures}
            for evaluation in adapter.evaluations.all()
        ],
        "assistants": sorted(row.assistant for row in adapter.used_by.all()),
        "created_at": adapter.created_at.isoformat(),
    }
