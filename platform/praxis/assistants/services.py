"""What a workspace chose for an assistant, with the assistant's own defaults where it chose nothing."""

from typing import Any

from praxis.accounts.models import Workspace
from praxis.assistants.contract import Assistant
from praxis.assistants.models import AssistantSettings
from praxis.assistants.registry import get_assistant


def settings_for(workspace: Workspace, slug: str) -> AssistantSettings:
    """The saved row, or an unsaved one with defaults. Raises `KeyError` for an unknown assistant."""
    assistant = get_assistant(slug)
    saved = (
        AssistantSettings.objects.select_related("adapter")
        .filter(workspace=workspace, assistant=slug)
        .first()
    )
    return saved or AssistantSettings(
        workspace=workspace,
        assistant=slug,
        **defaults_of(assistant),
    )


def defaults_of(assistant: Assistant) -> dict[str, Any]:
    """The values of a settings row in which a workspace chose nothing."""
    return {
        "lower_threshold": assistant.lower_threshold,
        "upper_threshold": assistant.upper_threshold,
        "documents_threshold": assistant.documents_threshold,
        "cache_answers": not assistant.high_stakes,
    }
