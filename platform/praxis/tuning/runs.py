"""Launching a fine-tuning run and reading how it goes."""

import uuid
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from modeling.training.recipe import EXPERT_PARAMETERS, Lora, Recipe, Schedule
from praxis.accounts.access import Principal, record
from praxis.jobs.models import JobMetric
from praxis.jobs.services import enqueue, request_cancel
from praxis.tuning.bases import is_mixture
from praxis.tuning.models import Adapter, DatasetVersion, TuningRun
from praxis.tuning.trainer import RunFiles

POINTS_AT_ONCE = 2000
EVALUATE_EVERY_STEPS = 20
SAVE_EVERY_STEPS = 5
"""A step takes a minute or two on a laptop; this much is done again after a kill."""


class LaunchRefused(Exception):
    """The run can't be started so; the text is a sentence for the person."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a person decides about a run; the rest of the recipe is ours."""

    rank: int = 16
    alpha: int = 32
    epochs: float = 3.0
    steps: int = 0
    """0 follows `epochs`."""
    learning_rate: float = 2e-4
    schedule: str = "cosine"
    max_tokens: int = 1024
    evaluation_share: float = 0.05
    experts: bool = False
    """Whether the adapter changes a mixture's routed experts too."""


def recipe_of(choices: Choices, *, model_path: str, data_path: str, output_dir: str) -> Recipe:
    """The whole recipe of a run. Raises `ValueError` with a sentence for a value out of range."""
    return Recipe.from_dict(
        {
            "model_path": model_path,
            "data_path": data_path,
            "output_dir": output_dir,
            "model_name": settings.LLM_MODEL,
            "lora": asdict(
                Lora(
                    rank=choices.rank,
                    alpha=choices.alpha,
                    target_parameters=EXPERT_PARAMETERS if choices.experts else (),
                )
            ),
            "schedule": {
                **asdict(Schedule(learning_rate=choices.learning_rate)),
                "kind": choices.schedule,
            },
            "epochs": choices.epochs,
            "steps": choices.steps,
            "max_tokens": choices.max_tokens,
            "evaluation_share": choices.evaluation_share,
            "evaluate_every_steps": EVALUATE_EVERY_STEPS if choices.evaluation_share else 0,
            "save_every_steps": SAVE_EVERY_STEPS,
            "threads": settings.TUNING_THREADS,
        }
    )


def launch(
    *,
    principal: Principal,
    version: DatasetVersion,
    assistant: str,
    name: str,
    choices: Choices,
) -> TuningRun:
    """A run and its job, in one transaction. Raises `LaunchRefused`."""
    if version.dataset.workspace_id != principal.workspace.pk:
        raise LaunchRefused(_("The data set belongs to another workspace."))
    if version.state != DatasetVersion.State.READY:
        raise LaunchRefused(
            _("The data set %(name)s is not ready; wait for its report or choose another one.")
            % {"name": version}
        )
    if choices.experts and not is_mixture():
        raise LaunchRefused(
            _("%(model)s has no routed experts to adapt; start the run without them.")
            % {"model": settings.LLM_MODEL}
        )
    try:
        recipe_of(choices, model_path="base", data_path="data", output_dir="output")
    except ValueError as error:
        raise LaunchRefused(str(error)) from error
    run_id = uuid.uuid4()
    try:
        with transaction.atomic():
            job = enqueue(
                kind="tuning.train",
                workspace=principal.workspace,
                payload={"run": str(run_id)},
                created_by=principal.user,
            )
            run = TuningRun.objects.create(
                id=run_id,
                workspace=principal.workspace,
                dataset_version=version,
                job=job,
                assistant=assistant,
                name=name,
                recipe=asdict(choices),
                created_by=principal.user,
            )
            record(principal, "tuning.start", run, dataset_version=str(version.pk))
    except IntegrityError as error:
        raise LaunchRefused(
            _("A run named %(name)s exists already; choose another name.") % {"name": name}
        ) from error
    return run


def cancel(*, principal: Principal, run: TuningRun) -> None:
    """Ask the run to stop. Raises `praxis.jobs.services.NotAllowedNow` when it has ended."""
    request_cancel(run.job)
    record(principal, "tuning.cancel", run)


def files_of(run: TuningRun) -> RunFiles:
    return RunFiles(Path(settings.VAR_DIR) / "tuning" / str(run.pk))


def estimated_time(version: DatasetVersion, choices: Choices) -> timedelta | None:
    """From the speed that the newest run on this base reached; None before the first run."""
    figures = (
        Adapter.objects.filter(base_model=settings.LLM_MODEL, figures__tokens_per_second__gt=0)
        .order_by("-created_at")
        .values_list("figures", flat=True)
        .first()
    )
    if figures is None:
        return None
    if choices.steps:
        tokens = choices.steps * choices.max_tokens * Recipe.sequences_per_step
    else:
        tokens = round(version.tokens * choices.epochs)
    return timedelta(seconds=round(tokens / figures["tokens_per_second"]))


def points_after(run: TuningRun, after: int) -> tuple[list[dict[str, Any]], bool]:
    """What was measured at the steps above `after`, and whether there is more than fits."""
    rows = list(
        JobMetric.objects.filter(job_id=run.job_id, step__gt=after)
        .order_by("step")
        .values_list("step", "values")[: POINTS_AT_ONCE + 1]
    )
    points = [{"step": step, **values} for step, values in rows[:POINTS_AT_ONCE]]
    return points, len(rows) > POINTS_AT_ONCE


def latest_figures(job_ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
    """The newest measurement of each job, in one query; the losses are the newest known ones."""
    newest = (
        JobMetric.objects.filter(job_id__in=job_ids)
        .order_by("job_id", "-step")
        .distinct("job_id")
        .values_list("job_id", "step", "values")
    )
    figures = {job_id: {"step": step, **values} for job_id, step, values in newest}
    evaluated = (
        JobMetric.objects.filter(job_id__in=job_ids, values__has_key="eval_loss")
        .order_by("job_id", "-step")
        .distinct("job_id")
        .values_list("job_id", "values")
    )
    for job_id, values in evaluated:
        figures[job_id]["eval_loss"] = values["eval_loss"]
    return figures


def progress_of(run: TuningRun, after: int) -> dict[str, Any]:
    """What the chart needs to go on: the points after a step, and whether to ask again."""
    points, more = points_after(run, after)
    return {
        "points": points,
        "steps": run.job.total or (points[-1]["step"] if points else 0),
        "finished": run.job.is_finished,
        "more": more,
    }


def newest_point(job_id: uuid.UUID) -> dict[str, Any]:
    """What a job measured last; empty before the first time."""
    newest = JobMetric.objects.filter(job=job_id).order_by("-step").first()
    return {"step": newest.step, **newest.values} if newest else {}
