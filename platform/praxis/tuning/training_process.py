"""A trainer process from the side of its job: its metrics become rows, its end an outcome."""

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from praxis.jobs.models import JobMetric
from praxis.jobs.running import (
    JobCancelled,
    JobPaused,
    JobRun,
    PermanentFailure,
    Retry,
    WorkerStopping,
)
from praxis.sentences import Sentence
from praxis.tuning import trainer

TRAINING = gettext_noop("Training")
LOCK_SECONDS = 150
"""How long the trainer of a killed worker may take to save its last checkpoint and leave."""
# Whether these are tried again by themselves; every other cause needs a person first.
_PASSING_CAUSES = ("unexpected", "")


def run_to_its_end(
    run: JobRun, files: trainer.RunFiles, *, module: str, stages: Mapping[str, str]
) -> None:
    """Have the trainer write its `result.json`, from its last checkpoint if any.

    `stages`: the trainer's phases as people see them. Raises `Retry` or `PermanentFailure` with a
    sentence, or what `run.check` raises; the trainer is dead then.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while (exit_code := _follow(run, files, module, stages)) == trainer.LOCKED:
        if time.monotonic() > deadline:
            raise Retry(_("The trainer of an earlier attempt is still saving its checkpoint."))
        time.sleep(1)
    if exit_code == 0 and files.result.is_file():
        return
    run.check()
    _raise_for(exit_code, trainer.read_failure(files))


def _follow(run: JobRun, files: trainer.RunFiles, module: str, stages: Mapping[str, str]) -> int:
    process = trainer.start(files, module=module, source_root=settings.BASE_DIR)

    def check() -> None:
        try:
            run.check()
        except JobCancelled:
            trainer.cancel(process, files)
            raise
        except JobPaused:
            trainer.stop(process, trainer.PAUSE_SECONDS)
            raise
        except WorkerStopping:
            trainer.stop(process, trainer.STOP_SECONDS)
            raise

    def show(phase: str, message: str) -> None:
        if stage := stages.get(phase):
            run.progress(run.job.done, run.job.total, stage=stage)

    return trainer.follow(
        process,
        files,
        on_metrics=lambda lines: _store_metrics(run, lines),
        on_state=show,
        check=check,
    )


def _store_metrics(run: JobRun, lines: list[dict[str, Any]]) -> None:
    """One row per step. The evaluation after a step has a line of its own, without loss or speed."""
    with run.transaction():
        steps = {line["step"] for line in lines}
        by_step: dict[int, dict[str, Any]] = {step: {} for step in steps}
        by_step |= JobMetric.objects.filter(job=run.job, step__in=steps).values_list(
            "step", "values"
        )
        for line in lines:
            by_step[line["step"]] |= {
                name: value
                for name, value in line.items()
                if name != "step"
                and value is not None
                and not (name == "tokens_per_second" and value == 0)
            }
        JobMetric.objects.bulk_create(
            [JobMetric(job=run.job, step=step, values=values) for step, values in by_step.items()],
            update_conflicts=True,
            unique_fields=["job", "step"],
            update_fields=["values", "at"],
        )
    last = lines[-1]
    run.progress(last["step"], last.get("steps"), unit=gettext_noop("steps"), stage=TRAINING)


def _raise_for(exit_code: int, failure: trainer.Failure) -> None:
    """Turn the trainer's end without a result into what becomes of the job."""
    if exit_code == trainer.STOPPED_TO_RESUME:
        raise Retry(_("The training was interrupted and goes on from its last checkpoint."), 5)
    if exit_code < 0:
        raise Retry(
            Sentence(
                gettext_noop(
                    "The trainer was killed (signal %(signal)d), for example because memory ran out; "
                    "it goes on from its last checkpoint."
                ),
                {"signal": -exit_code},
            )
        )
    reason = failure.message or Sentence(
        gettext_noop("exit code %(code)d, see its log"), {"code": exit_code}
    )
    sentence = Sentence(gettext_noop("The training stopped: %(reason)s"), {"reason": reason})
    if failure.code in _PASSING_CAUSES:
        raise Retry(sentence)
    raise PermanentFailure(sentence)
