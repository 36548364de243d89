"""The periodic sweep for answers whose web process died."""

from celery import shared_task

from praxis.conversations.streams import sweep_interrupted


@shared_task(name="praxis.conversations.tasks.sweep_answers", ignore_result=True, expires=60)
def sweep_answers() -> None:
    sweep_interrupted()
