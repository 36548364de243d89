"""Which kind of files an import was given, and what comes out of every kind."""

from collections.abc import Sequence
from typing import Any

import yaml
from django.utils.translation import gettext as _

from apps.customer_service.importing.openapi import from_openapi
from apps.customer_service.importing.rasa import from_rasa
from apps.customer_service.importing.result import Imported, ImportRefused
from apps.customer_service.schema import DefinitionError, parse_service

__all__ = ["ImportRefused", "Imported", "from_files"]
MOST_FILES = 20


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, which can make a small file a huge tree."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} uses an alias (*name)")
        return super().compose_node(parent, index)


def from_files(files: Sequence[tuple[str, bytes]]) -> Imported:
    """Raises `ImportRefused` with a sentence for the person."""
    if len(files) > MOST_FILES:
        raise ImportRefused(_("At most %(limit)s files go together.") % {"limit": MOST_FILES})
    parsed = [_parse(name, content) for name, content in files]
    described = [one for one in parsed if "paths" in one and ("openapi" in one or "swagger" in one)]
    if described:
        if len(parsed) > 1:
            raise ImportRefused(_("Give one OpenAPI description at a time."))
        return from_openapi(described[0])
    if len(parsed) == 1 and "slots" in parsed[0] and isinstance(parsed[0]["slots"], list):
        return _from_export(parsed[0])
    if any({"intents", "forms", "slots", "nlu", "responses"} & set(one) for one in parsed):
        return from_rasa(parsed)
    raise ImportRefused(
        _(
            "These files are neither an OpenAPI description (with “openapi” and “paths”), nor Rasa's "
            "(with “intents”, “slots” or “nlu”), nor an exported service."
        )
    )


def _parse(name: str, content: bytes) -> dict[str, Any]:
    """JSON is YAML too, so one reader does for both."""
    try:
        data = yaml.load(content.decode("utf-8-sig"), Loader=_PlainLoader)  # noqa: S506  (safe)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ImportRefused(
            _("%(file)s is neither YAML nor JSON: %(reason)s") % {"file": name, "reason": reason}
        ) from error
    if not isinstance(data, dict):
        raise ImportRefused(_("%(file)s holds no object at the top.") % {"file": name})
    return data


def _from_export(data: dict[str, Any]) -> Imported:
    try:
        parse_service(data)
    except DefinitionError as error:
        raise ImportRefused(
            _("The definition has problems: %(problems)s") % {"problems": str(error)[:1000]}
        ) from error
    return Imported(definition=data)
