"""The model server's list of adapters: what is loaded, load one, unload one.

The two endpoints are vLLM's; the embedded server has the same, and keeps its list over restarts.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.language_model import served_models

# Loading may start a second engine beside the one that serves.
TIMEOUT = httpx.Timeout(120.0, connect=3.0)


class LoadRefused(Exception):
    """The model server won't have the adapter; the text says why."""


def ensure_loaded(name: str, directory: Path) -> None:
    """Load the adapter unless the server has it. Raises `ModelUnavailable` or `LoadRefused`."""
    if name in served_models():
        return
    answer = post("load_lora_adapter", {"lora_name": name, "lora_path": str(directory)})
    # Another worker may have been faster; what counts is that it is there.
    if answer.is_error and name not in served_models():
        raise LoadRefused(
            _("The model server refused the adapter %(name)s: %(reason)s")
            % {"name": name, "reason": reason(answer)}
        )


def unload(name: str) -> None:
    """Remove the adapter from the server if it has it. Raises `ModelUnavailable`."""
    answer = post("unload_lora_adapter", {"lora_name": name})
    if answer.is_error and answer.status_code != HTTPStatus.NOT_FOUND and name in served_models():
        raise ModelUnavailable(
            _("The model server did not unload the adapter: %(reason)s")
            % {"reason": reason(answer)}
        )


def post(act: str, body: Mapping[str, Any], *, timeout: httpx.Timeout = TIMEOUT) -> httpx.Response:
    """What the server answers to one of its own endpoints. Raises `ModelUnavailable`."""
    try:
        return httpx.post(
            f"{settings.LLM_BASE_URL.rstrip('/')}/{act}",
            json=body,
            headers={"Authorization": f"Bearer {settings.LLM_API_KEY}"},
            timeout=timeout,
        )
    except httpx.TransportError as error:
        raise ModelUnavailable(_("The model server does not answer at the moment.")) from error


def reason(answer: httpx.Response) -> str:
    """The server's own words, from either shape of error that vLLM and OpenAI use."""
    try:
        body = answer.json()
    except ValueError:
        return f"HTTP {answer.status_code}"
    error = body.get("error", body) if isinstance(body, dict) else {}
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or f"HTTP {answer.status_code}")[:500]
