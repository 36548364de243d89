"""The draft of a service: opened from a version, changed part by part, published as the next version."""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from apps.customer_service.models import ServiceDefinition, ServiceDraft, save_version
from apps.customer_service.schema import (
    DefinitionError,
    Problem,
    Service,
    parse_service,
    uses_of_slot,
)
from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role, Workspace
from praxis.sentences import Sentence

Definition = dict[str, Any]
RESERVED = ("new", "import")
"""Names that are addresses of pages."""


class DraftRefused(ValueError):
    """The argument is a sentence for the person."""


def open_draft(principal: Principal, version: ServiceDefinition) -> ServiceDraft:
    """The draft of the version's service; made from the version if nobody edits it yet."""
    principal.require(Role.ADMIN)
    draft, made = ServiceDraft.objects.get_or_create(
        workspace=principal.workspace,
        name=version.name,
        defaults={
            "definition": version.definition,
            "base_url": version.base_url,
            "secret_encrypted": version.secret_encrypted,
            "based_on": version,
            "updated_by": principal.user,
        },
    )
    if made:
        record(principal, "service.draft", draft, name=draft.name, based_on=version.version)
    return draft


def begin_draft(
    principal: Principal,
    definition: Definition,
    *,
    base_url: str,
    secret: str,
    report: list[Sentence],
) -> ServiceDraft:
    """A new draft, of a new service or of one that exists. Raises `DraftRefused` while it is edited."""
    principal.require(Role.ADMIN)
    name = definition["name"]
    if name in RESERVED:
        raise DraftRefused(_("A service can't be called “%(name)s”.") % {"name": name})
    if ServiceDraft.objects.filter(workspace=principal.workspace, name=name).exists():
        raise DraftRefused(
            _("“%(name)s” is being edited. Publish or discard that draft first.") % {"name": name}
        )
    draft = ServiceDraft(
        workspace=principal.workspace,
        name=name,
        definition=definition,
        base_url=base_url,
        based_on=newest_version(principal.workspace, name),
        report=[sentence.to_json() for sentence in report],
        updated_by=principal.user,
    )
    draft.secret = secret
    draft.save()
    record(principal, "service.draft", draft, name=name)
    return draft


def newest_version(workspace: Workspace, name: str) -> ServiceDefinition | None:
    versions = ServiceDefinition.objects.filter(workspace=workspace, name=name)
    return versions.order_by("-version").first()


def problems_of(definition: Definition) -> list[Problem]:
    try:
        parse_service(definition)
    except DefinitionError as error:
        return error.problems
    return []


def change(principal: Principal, draft: ServiceDraft, definition: Definition) -> None:
    draft.definition = definition
    draft.updated_by = principal.user
    draft.save(update_fields=["definition", "updated_by", "updated_at"])


def replace_part(
    principal: Principal, draft: ServiceDraft, part: str, name: str, entry: Definition | None
) -> None:
    """Put a slot or an intent (`part` is "slots" or "intents") in place of the one named `name`.

    "" adds it, None removes it. A new name is carried into everything that names the old one.
    Raises `DraftRefused` for a name that another one has, and for removing what is in use.
    """
    definition = dict(draft.definition)
    entries = list(definition.get(part, []))
    names = [one["name"] for one in entries]
    if entry is None:
        if users := _users(definition, part, name):
            raise DraftRefused(
                _("“%(name)s” can't be removed: it is used by %(users)s.")
                % {"name": name, "users": ", ".join(users)}
            )
        definition[part] = [one for one in entries if one["name"] != name]
        return change(principal, draft, definition)
    if entry["name"] != name and entry["name"] in names:
        raise DraftRefused(_("There is another “%(name)s” already.") % {"name": entry["name"]})
    if name:
        entries[names.index(name)] = entry
    else:
        entries.append(entry)
    definition[part] = entries
    if name and entry["name"] != name:
        definition = _renamed(definition, part, name, entry["name"])
    return change(principal, draft, definition)


def move(principal: Principal, draft: ServiceDraft, part: str, name: str, step: int) -> None:
    """One place up (-1) or down (1) in the list."""
    entries = list(draft.definition.get(part, []))
    place = [one["name"] for one in entries].index(name)
    other = min(max(place + step, 0), len(entries) - 1)
    entries[place], entries[other] = entries[other], entries[place]
    change(principal, draft, {**draft.definition, part: entries})


def publish(principal: Principal, draft: ServiceDraft) -> ServiceDefinition:
    """Make the draft the next version and put it into use. Raises `DefinitionError`."""
    principal.require(Role.ADMIN)
    parse_service(draft.definition)
    if not draft.base_url:
        raise DraftRefused(_("Give the address of the endpoint first."))
    with transaction.atomic():
        made = save_version(
            workspace=principal.workspace,
            definition=draft.definition,
            base_url=draft.base_url,
            secret=draft.secret,
            created_by=principal.user,
        )
        made.publish()
        draft.delete()
        record(principal, "service.publish", made, name=made.name, version=made.version)
    return made


def discard(principal: Principal, draft: ServiceDraft) -> None:
    record(principal, "service.discard", draft, name=draft.name)
    draft.delete()


def _users(definition: Definition, part: str, name: str) -> list[str]:
    if part == "slots":
        return uses_of_slot(definition, name)
    return [
        slot["name"]
        for slot in definition.get("slots", [])
        if (slot.get("values_from") or {}).get("intent") == name
    ]


def _renamed(definition: Definition, part: str, old: str, new: str) -> Definition:
    """The definition with the new name wherever the slot or intent is named."""
    if part == "intents":
        slots = [
            {**slot, "values_from": {**slot["values_from"], "intent": new}}
            if (slot.get("values_from") or {}).get("intent") == old
            else slot
            for slot in definition.get("slots", [])
        ]
        return {**definition, "slots": slots}
    intents = [_with_slot_renamed(intent, old, new) for intent in definition.get("intents", [])]
    return {**definition, "intents": intents}


def _with_slot_renamed(intent: Definition, old: str, new: str) -> Definition:
    def names(values: list[str]) -> list[str]:
        return [new if value == old else value for value in values]

    def mapping(values: dict[str, str]) -> dict[str, str]:
        return {key: new if value == old else value for key, value in values.items()}

    def text(value: str) -> str:
        return value.replace(f"{{{old}}}", f"{{{new}}}")

    renamed = dict(intent)
    for key in ("required", "optional"):
        if key in intent:
            renamed[key] = names(intent[key])
    if "summary" in intent:
        renamed["summary"] = text(intent["summary"])
    if action := intent.get("action"):
        action = dict(action)
        action["path"] = text(action.get("path", ""))
        for key in ("query", "body", "echoes"):
            if key in action:
                action[key] = mapping(action[key])
        action["replies"] = {
            key: {
                **reply,
                "text": text(reply.get("text", "")),
                **({"ask_again": names(reply["ask_again"])} if "ask_again" in reply else {}),
            }
            for key, reply in action.get("replies", {}).items()
        }
        if (action.get("listing") or {}).get("slot") == old:
            action["listing"] = {**action["listing"], "slot": new}
        renamed["action"] = action
    return renamed


def service_of(draft: ServiceDraft) -> Service:
    """Raises `DefinitionError` while the draft has problems."""
    return parse_service(draft.definition)
