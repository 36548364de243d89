"""The assistants of the installed domain apps, found through their `AppConfig.assistant`."""

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from praxis.assistants.contract import Assistant

_assistants: dict[str, Assistant] = {}
_app_labels: dict[str, str] = {}


def register(assistant: Assistant, *, app_label: str) -> None:
    """Raises `ImproperlyConfigured` for a second assistant of the same slug or one without chains."""
    if assistant.slug in _assistants:
        raise ImproperlyConfigured(
            f"The assistant {assistant.slug!r} of {app_label} is registered already by "
            f"{_app_labels[assistant.slug]}; give one of them another slug."
        )
    if not assistant.chains:
        raise ImproperlyConfigured(f"The assistant {assistant.slug!r} declares no chain.")
    _assistants[assistant.slug] = assistant
    _app_labels[assistant.slug] = app_label


def register_installed() -> None:
    for config in apps.get_app_configs():
        if path := getattr(config, "assistant", None):
            register(import_string(path), app_label=config.label)


def all_assistants() -> list[Assistant]:
    return list(_assistants.values())


def get_assistant(slug: str) -> Assistant:
    """Raises `KeyError` for an assistant that is not installed."""
    return _assistants[slug]


def title_of(slug: str) -> str:
    """For lists of what was set up; the slug itself when the assistant is installed no more."""
    return str(_assistants[slug].title) if slug in _assistants else slug


def app_label_of(slug: str) -> str:
    """The Django app whose templates draw the assistant's cards."""
    return _app_labels[slug]


def warm_up() -> None:
    """Load what the first turns would wait for; called once in a thread of a web process."""
    for assistant in all_assistants():
        if assistant.warm_up is not None:
            assistant.warm_up()
