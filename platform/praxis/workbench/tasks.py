"""Periodic work of this app."""

from celery import shared_task

from praxis.workbench import golden


@shared_task(ignore_result=True)
def score_changed() -> None:
    golden.score_changed()
