from django.apps import AppConfig


class ConversationsConfig(AppConfig):
    name = "praxis.conversations"

    def ready(self) -> None:
        from praxis.celery import app

        app.conf.beat_schedule["sweep-answers"] = {
            "task": "praxis.conversations.tasks.sweep_answers",
            "schedule": 30.0,
        }
