"""The registry of adapters: take one in, put it behind an assistant, go back, retire it."""

import os
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from modeling.weights.manifest import MANIFEST_NAME, ManifestError, sha256_of, verify_manifest
from praxis.accounts.access import Principal, record
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.models import AssistantSettings
from praxis.assistants.registry import get_assistant
from praxis.assistants.services import defaults_of
from praxis.integrations.events import emit
from praxis.sentences import Sentence
from praxis.tuning import serving
from praxis.tuning.models import Adapter, Evaluation, Promotion, TuningRun, figures_of

REQUIRED_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Formats that can't execute code when they are read.
ALLOWED_SUFFIXES = (".json", ".safetensors", ".gguf", ".md")


class AdapterRefused(Exception):
    """The adapter can't be taken in or used so; the text is a sentence for the person."""


def adapters_directory() -> Path:
    return Path(settings.VAR_DIR) / "adapters"


def directory_of(adapter: Adapter) -> Path:
    return adapters_directory() / adapter.directory


def verified(directory: Path) -> dict[str, Any]:
    """The manifest of a complete adapter folder that holds nothing but what it names."""
    try:
        manifest = verify_manifest(directory, REQUIRED_FILES)
    except ManifestError as error:
        raise AdapterRefused(
            Sentence(
                gettext_noop("The adapter's files are not what the trainer wrote: %(reason)s."),
                {"reason": str(error)},
            )
        ) from error
    named = {*manifest["files"], MANIFEST_NAME}
    for path in directory.iterdir():
        if path.name not in named or path.suffix not in ALLOWED_SUFFIXES:
            raise AdapterRefused(
                Sentence(
                    gettext_noop(
                        "The adapter's folder holds %(name)s, which is not part of an adapter."
                    ),
                    {"name": path.name},
                )
            )
    return manifest


def place(source: Path, name: str) -> Path:
    """Verify what the trainer wrote and copy it to where the model server reads adapters.

    Safe to repeat after a death at any point: the folder appears whole or not at all.
    """
    target = adapters_directory() / name
    if not target.exists():
        verified(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".part-{name}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        verified(part)
        os.rename(part, target)
    verified(target)
    return target


def register(run: TuningRun, directory: Path) -> Adapter:
    """The rows of a finished run: the adapter, and its held-out loss beside the base's."""
    manifest = verified(directory)
    adapter = Adapter.objects.create(
        run=run,
        workspace_id=run.workspace_id,
        name=run.adapter_name,
        base_model=str(manifest["base_model"]),
        directory=directory.name,
        sha256=sha256_of(directory / MANIFEST_NAME),
        size=sum(entry["size"] for entry in manifest["files"].values()),
        figures=figures_of(run.result),
    )
    base_loss, adapter_loss = run.result["first_eval_loss"], run.result["eval_loss"]
    if base_loss is not None and adapter_loss is not None:
        Evaluation.objects.create(
            adapter=adapter,
            dataset_version=run.dataset_version,
            kind=Evaluation.Kind.HELD_OUT,
            figures={
                "base_loss": base_loss,
                "adapter_loss": adapter_loss,
                "conversations": run.result["evaluation_conversations"],
            },
        )
    return adapter


def ensure_served(adapter: Adapter) -> None:
    """Have the model server serve the adapter, after its files were checked once more.

    Raises `AdapterRefused` with a sentence; the adapter stays in the registry.
    """
    if adapter.state == Adapter.State.RETIRED:
        raise AdapterRefused(
            _("The adapter %(name)s is retired; choose another one.") % {"name": adapter.name}
        )
    directory = directory_of(adapter)
    verified(directory)
    if sha256_of(directory / MANIFEST_NAME) != adapter.sha256:
        raise AdapterRefused(
            _("The manifest of %(name)s is not the one that was registered.")
            % {"name": adapter.name}
        )
    try:
        serving.ensure_loaded(adapter.name, directory)
    except (ModelUnavailable, serving.LoadRefused) as error:
        raise AdapterRefused(str(error)) from error
    Adapter.objects.filter(pk=adapter.pk, state=Adapter.State.REGISTERED).update(
        state=Adapter.State.SERVING
    )


def promote(*, principal: Principal, assistant: str, adapter: Adapter | None) -> AssistantSettings:
    """Put the adapter (None: the base model) behind the assistant of the principal's workspace.

    The next turn uses it; nothing restarts. What was behind it before is remembered.
    """
    declared = get_assistant(assistant)
    workspace = principal.workspace
    if adapter is not None:
        if adapter.workspace_id != workspace.pk:
            raise AdapterRefused(_("The adapter belongs to another workspace."))
        ensure_served(adapter)
    with transaction.atomic():
        if adapter is not None:
            # Retiring locks the same row, so no retired adapter slips behind an assistant.
            adapter = Adapter.objects.select_for_update().get(pk=adapter.pk)
            if adapter.state == Adapter.State.RETIRED:
                raise AdapterRefused(
                    _("The adapter %(name)s is retired; choose another one.")
                    % {"name": adapter.name}
                )
        AssistantSettings.objects.get_or_create(
            workspace=workspace,
            assistant=assistant,
            defaults=defaults_of(declared),
        )
        chosen = AssistantSettings.objects.select_for_update().get(
            workspace=workspace, assistant=assistant
        )
        previous_id = chosen.adapter_id
        if previous_id == (adapter.pk if adapter else None):
            return chosen
        chosen.adapter = adapter
        chosen.save(update_fields=["adapter", "updated_at"])
        Promotion.objects.create(
            workspace=workspace,
            assistant=assistant,
            adapter=adapter,
            previous_id=previous_id,
            by=principal.user,
        )
        record(
            principal,
            "adapter.promote",
            adapter,
            assistant=assistant,
            previous=str(previous_id or ""),
        )
        emit(
            workspace,
            "adapter.promoted",
            subject=adapter.pk if adapter else "base",
            data={
                "assistant": assistant,
                "adapter": adapter.name if adapter else None,
                "sha256": adapter.sha256 if adapter else None,
            },
        )
    return chosen


def last_promotion(workspace_id: UUID, assistant: str) -> Promotion | None:
    """What is behind the assistant now, and what one click returns to."""
    return (
        Promotion.objects.filter(workspace_id=workspace_id, assistant=assistant)
        .select_related("adapter", "previous", "by")
        .order_by("-at", "-pk")
        .first()
    )


def go_back(*, principal: Principal, assistant: str) -> AssistantSettings:
    """Undo the newest promotion of the assistant."""
    promotion = last_promotion(principal.workspace.pk, assistant)
    if promotion is None:
        raise AdapterRefused(
            _("Nothing was put behind this assistant yet, so there is nothing to return to.")
        )
    return promote(principal=principal, assistant=assistant, adapter=promotion.previous)


def retire(*, principal: Principal, adapter: Adapter) -> None:
    """Take an unused adapter out of the model server; its files and figures are kept."""
    with transaction.atomic():
        locked = Adapter.objects.select_for_update().get(pk=adapter.pk)
        users = AssistantSettings.objects.filter(adapter=locked).values_list("assistant", flat=True)
        if users:
            raise AdapterRefused(
                _("The adapter %(name)s is behind %(assistants)s; put another one there first.")
                % {"name": locked.name, "assistants": ", ".join(sorted(users))}
            )
        if locked.state == Adapter.State.RETIRED:
            return
        locked.state = Adapter.State.RETIRED
        locked.save(update_fields=["state"])
        record(principal, "adapter.retire", locked)
    try:
        serving.unload(adapter.name)
    except ModelUnavailable as error:
        raise AdapterRefused(
            _("The adapter is retired, but the model server still holds it: %(reason)s")
            % {"reason": error}
        ) from error
