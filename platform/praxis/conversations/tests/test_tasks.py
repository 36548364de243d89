"""The sweep runs by itself."""

from praxis.celery import app


def test_the_sweep_is_a_known_task_on_the_schedule() -> None:
    entry = app.conf.beat_schedule["sweep-answers"]
    app.loader.import_default_modules()
    assert entry["task"] in app.tasks
