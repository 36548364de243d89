from django.apps import AppConfig


class HandoffConfig(AppConfig):
    name = "praxis.handoff"
