from django.apps import AppConfig


class AssistantsConfig(AppConfig):
    name = "praxis.assistants"

    def ready(self) -> None:
        from praxis.assistants.registry import register_installed

        register_installed()
