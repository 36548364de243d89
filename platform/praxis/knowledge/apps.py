from django.apps import AppConfig


class KnowledgeConfig(AppConfig):
    name = "praxis.knowledge"

    def ready(self) -> None:
        from praxis.celery import app

        app.conf.beat_schedule["compact-term-counts"] = {
            "task": "praxis.knowledge.tasks.compact_term_counts",
            "schedule": 300.0,
        }
        app.conf.beat_schedule["watch-folder"] = {
            "task": "praxis.knowledge.tasks.watch_folder",
            "schedule": 20.0,
        }
