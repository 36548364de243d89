from django.apps import AppConfig


class WorkbenchConfig(AppConfig):
    name = "praxis.workbench"

    def ready(self) -> None:
        from praxis.celery import app

        app.conf.beat_schedule["score-changed-golden-sets"] = {
            "task": "praxis.workbench.tasks.score_changed",
            "schedule": 120.0,
        }
