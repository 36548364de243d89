from django.apps import AppConfig

DELIVER_EVERY_SECONDS = 5.0
FORGET_EVERY_SECONDS = 3600.0


class IntegrationsConfig(AppConfig):
    name = "praxis.integrations"

    def ready(self) -> None:
        from praxis.celery import app

        app.conf.beat_schedule["deliver-webhooks"] = {
            "task": "praxis.integrations.tasks.deliver_due",
            "schedule": DELIVER_EVERY_SECONDS,
        }
        app.conf.beat_schedule["forget-idempotent-requests"] = {
            "task": "praxis.integrations.tasks.forget_idempotent_requests",
            "schedule": FORGET_EVERY_SECONDS,
        }
