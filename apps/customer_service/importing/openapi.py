"""OpenAPI 3 (and Swagger 2 parameters): paths become intents, parameters become slots."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from apps.customer_service.importing.result import (
    Definition,
    Imported,
    ImportRefused,
    identifier,
    in_words,
    one_line,
    unused,
)
from apps.customer_service.schema import METHODS, problems_of_slot
from praxis.sentences import Sentence, sentence_of

MOST_INTENTS = 60
MOST_VALUES = 200
_TYPES = {
    "string": "text", "integer": "number", "number": "number", "boolean": "flag",
    "array": "list", "object": "object",
}  # fmt: skip
_SENT_AS = {"boolean": "flag", "integer": "number", "number": "number"}
"""Of choices, which a slot stores as text."""
_FORMATS = {"date": "date", "time": "time", "email": "email", "phone": "phone", "tel": "phone"}
_PHONE_NAME = re.compile(r"phone|mobile|(?:^|_)tel(?:$|_)")


def from_openapi(document: dict[str, Any]) -> Imported:
    """Raises `ImportRefused` when no operation can be taken over."""
    return _Reader(document).read()


class _NotMapped(Exception):
    """An operation can't be called with what a person says; the argument says why."""


class _Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.report: list[Sentence] = []
        self.slots: dict[str, Definition] = {}
        self.meanings: dict[str, Definition] = {}
        """Slot → the schema that it was made from, to tell whether another one is the same."""
        self.intent_names: set[str] = set()

    def read(self) -> Imported:
        info = self._object(self.document.get("info"))
        title = one_line(info.get("title"), 120) or _("Imported service")
        intents: list[Definition] = []
        for path, item in self._object(self.document.get("paths")).items():
            shared = self._object(item).get("parameters", [])
            for method, operation in self._object(item).items():
                if method.upper() not in METHODS or not isinstance(operation, dict):
                    continue
                where = f"{method.upper()} {path}"
                if operation.get("deprecated"):
                    self.report.append(
                        Sentence(
                            gettext_noop("%(place)s is deprecated and was left out."),
                            {"place": where},
                        )
                    )
                    continue
                if len(intents) == MOST_INTENTS:
                    self.report.append(
                        Sentence(
                            gettext_noop("Only the first %(limit)s operations were taken over."),
                            {"limit": MOST_INTENTS},
                        )
                    )
                    break
                known = dict(self.slots), dict(self.meanings)
                try:
                    intents.append(self._intent(method.upper(), str(path), operation, shared))
                except _NotMapped as reason:
                    self.slots, self.meanings = known
                    self.report.append(
                        Sentence(
                            gettext_noop("%(place)s was left out: %(reason)s"),
                            {"place": where, "reason": sentence_of(reason)},
                        )
                    )
        if not intents:
            raise ImportRefused(
                _("The description has no operation that can be called with what a person says.")
                + " "
                + " ".join(map(str, self.report))[:1000]
            )
        self._note_security()
        return Imported(
            definition={
                "name": identifier(title),
                "title": title,
                "description": one_line(info.get("description")) or title,
                "slots": list(self.slots.values()),
                "intents": intents,
            },
            report=self.report,
            base_url=self._base_url(),
        )

    def _object(self, value: Any) -> dict[str, Any]:
        """The object, with a local reference followed; {} for anything else."""
        for _step in range(20):
            if not isinstance(value, dict):
                return {}
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            if not reference.startswith("#/"):
                self.report.append(
                    Sentence(
                        gettext_noop("The reference %(reference)s points outside of the file."),
                        {"reference": reference[:200]},
                    )
                )
                return {}
            value = self.document
            for part in reference[2:].split("/"):
                part = part.replace("~1", "/").replace("~0", "~")
                value = value.get(part) if isinstance(value, dict) else None
        return {}

    def _schema(self, value: Any) -> dict[str, Any]:
        """A schema with the parts of `allOf` put together."""
        own = dict(self._object(value))
        schema: dict[str, Any] = {}
        for part in [*map(self._schema, own.pop("allOf", [])), own]:
            schema = {
                **schema,
                **part,
                "properties": {**schema.get("properties", {}), **part.get("properties", {})},
                "required": [*schema.get("required", []), *part.get("required", [])],
            }
        kind = schema.get("type")
        if isinstance(kind, list):  # OpenAPI 3.1: ["string", "null"]
            schema["type"] = next((one for one in kind if one != "null"), "string")
        return schema

    def _intent(
        self, method: str, path: str, operation: dict[str, Any], shared: list[Any]
    ) -> Definition:
        name = unused(
            identifier(operation.get("operationId") or f"{method} {path}"), self.intent_names
        )
        title = one_line(operation.get("summary"), 120) or in_words(name)
        action: Definition = {"method": method, "path": path}
        required: list[str] = []
        optional: list[str] = []
        parameters = {}
        for given in [*shared, *operation.get("parameters", [])]:
            parameter = self._object(given)
            if "name" not in parameter:
                self.report.append(
                    Sentence(
                        gettext_noop("%(intent)s: a parameter could not be read."),
                        {"intent": title},
                    )
                )
                continue
            parameters[parameter.get("in"), parameter.get("name")] = parameter
        for (place, label), parameter in parameters.items():
            self._parameter(str(place), str(label), parameter, action, required, optional, title)
        self._body(operation, action, required, optional, title)
        if unfilled := set(re.findall(r"\{([^{}]+)\}", action["path"])) - set(required):
            raise _NotMapped(
                Sentence(
                    gettext_noop("the path names %(names)s, which no parameter describes."),
                    {"names": ", ".join(sorted(unfilled))},
                )
            )
        self._answers(operation, action, required, title)
        intent: Definition = {
            "name": name,
            "title": title,
            "description": one_line(operation.get("description")) or title,
            "samples": [title],
            "action": action,
        }
        if required:
            intent["required"] = list(dict.fromkeys(required))
        if rest := [slot for slot in dict.fromkeys(optional) if slot not in required]:
            intent["optional"] = rest
        if method != "GET":
            intent |= {"confirm": True, "summary": self._summary(title, intent)}
        return intent

    def _summary(self, title: str, intent: Definition) -> str:
        named = [f"{self.slots[slot]['title']}: {{{slot}}}" for slot in intent.get("required", ())]
        named += [
            f"[{self.slots[slot]['title']}: {{{slot}}}]" for slot in intent.get("optional", ())
        ]
        return f"{title}. {' '.join(named)}".strip()

    def _parameter(
        self,
        place: str,
        label: str,
        parameter: dict[str, Any],
        action: Definition,
        required: list[str],
        optional: list[str],
        title: str,
    ) -> None:
        needed = bool(parameter.get("required")) or place == "path"
        if place == "body":  # Swagger 2
            schema = self._schema(parameter.get("schema"))
            self._properties(schema, action, required, optional, title)
            return
        if place not in ("path", "query"):
            if needed:
                raise _NotMapped(
                    Sentence(
                        gettext_noop("it needs “%(name)s” in the %(place)s, which can't be sent."),
                        {"name": label, "place": place},
                    )
                )
            self.report.append(
                Sentence(
                    gettext_noop(
                        "%(intent)s: the parameter “%(name)s” in the %(place)s was left out."
                    ),
                    {"intent": title, "name": label, "place": place},
                )
            )
            return
        described = {**self._schema(parameter.get("schema") or parameter)}
        described["description"] = parameter.get("description") or described.get("description")
        slot = self._slot(label, described)
        if slot is None:
            self._note_unmapped(title, label, described, needed=needed)
            return
        if place == "path":
            action["path"] = action["path"].replace(f"{{{label}}}", f"{{{slot}}}")
        else:
            action.setdefault("query", {})[label] = slot
        (required if needed else optional).append(slot)

    def _body(
        self,
        operation: dict[str, Any],
        action: Definition,
        required: list[str],
        optional: list[str],
        title: str,
    ) -> None:
        body = self._object(operation.get("requestBody"))
        if not body:
            return
        content = self._object(body.get("content"))
        media = next((self._object(content[key]) for key in content if "json" in key), None)
        if media is None:
            if body.get("required"):
                raise _NotMapped(
                    Sentence(
                        gettext_noop("its body is %(kinds)s; only JSON can be sent."),
                        {"kinds": ", ".join(content) or _("of no known kind")},
                    )
                )
            self.report.append(
                Sentence(
                    gettext_noop("%(intent)s: the optional body is not JSON and was left out."),
                    {"intent": title},
                )
            )
            return
        if action["method"] == "GET":
            raise _NotMapped(Sentence(gettext_noop("a GET has no body.")))
        self._properties(self._schema(media.get("schema")), action, required, optional, title)

    def _properties(
        self,
        schema: dict[str, Any],
        action: Definition,
        required: list[str],
        optional: list[str],
        title: str,
    ) -> None:
        if schema.get("type", "object") != "object":
            raise _NotMapped(Sentence(gettext_noop("its body is no object.")))
        needed = set(schema.get("required", []))
        for label, given in self._object(schema.get("properties")).items():
            described = self._schema(given)
            if described.get("readOnly"):
                continue
            slot = self._slot(str(label), described)
            if slot is None:
                self._note_unmapped(title, str(label), described, needed=label in needed)
                continue
            action.setdefault("body", {})[label] = slot
            if self.slots[slot]["kind"] == "categorical" and described.get("type") in _SENT_AS:
                action.setdefault("sent_as", {})[label] = _SENT_AS[described["type"]]
            (required if label in needed else optional).append(slot)

    def _note_unmapped(
        self, title: str, label: str, schema: dict[str, Any], *, needed: bool
    ) -> None:
        kind = schema.get("type", "?")
        if needed:
            raise _NotMapped(
                Sentence(
                    gettext_noop("it needs “%(name)s” of type %(type)s, which is no single value."),
                    {"name": label, "type": kind},
                )
            )
        self.report.append(
            Sentence(
                gettext_noop(
                    "%(intent)s: “%(name)s” of type %(type)s is no single value and was left out."
                ),
                {"intent": title, "name": label, "type": kind},
            )
        )

    def _slot(self, label: str, schema: dict[str, Any]) -> str | None:
        """The slot for a parameter; the one of an earlier operation if it means the same."""
        if schema.get("type", "string") in ("array", "object"):
            return None
        meaning = {
            key: schema.get(key)
            for key in ("type", "format", "enum", "pattern", "minimum", "maximum")
        }
        base = identifier(label)
        for name, known in self.meanings.items():
            if known == meaning and (name == base or name.startswith(f"{base}_")):
                return name
        name = unused(base, set(self.slots))
        self.meanings[name] = meaning
        self.slots[name] = self._described_slot(name, label, schema)
        return name

    def _described_slot(self, name: str, label: str, schema: dict[str, Any]) -> Definition:
        title = in_words(label)
        slot: Definition = {
            "name": name,
            "title": title,
            "description": one_line(schema.get("description")) or title,
            "kind": "text",
            "question": _("What is the %(slot)s?") % {"slot": title.lower()},
        }
        kind, form = schema.get("type", "string"), schema.get("format", "")
        if example := schema.get("example"):
            slot["example"] = one_line(example, 120)
        if values := [value for value in schema.get("enum", []) if value is not None][:MOST_VALUES]:
            slot["kind"] = "categorical"
            slot["values"] = [
                {"name": str(value), "title": in_words(str(value))} for value in values
            ]
        elif kind == "boolean":
            slot["kind"] = "categorical"
            slot["values"] = [
                {"name": "true", "title": _("Yes"), "synonyms": ["yes", "是"]},
                {"name": "false", "title": _("No"), "synonyms": ["no", "否"]},
            ]
        elif kind in ("integer", "number"):
            slot["kind"] = "number"
            for key in ("minimum", "maximum"):
                if isinstance(schema.get(key), int | float):
                    slot[key] = int(schema[key])
        elif schema.get("pattern"):
            self._with_pattern(slot, label, str(schema["pattern"]))
        elif form in _FORMATS:
            slot["kind"] = _FORMATS[form]
        elif _PHONE_NAME.search(name):
            slot["kind"] = "phone"
        elif form not in ("", "uuid", "password", "byte", "binary", "uri", "hostname"):
            self.report.append(
                Sentence(
                    gettext_noop(
                        "“%(name)s” has the format %(format)s, which is taken as free text."
                    ),
                    {"name": label, "format": form},
                )
            )
        return slot

    def _with_pattern(self, slot: Definition, label: str, written: str) -> None:
        pattern = written.removeprefix("^").removesuffix("$")
        asked = {**slot, "kind": "pattern", "pattern": pattern}
        if problems := problems_of_slot(asked):
            self.report.append(
                Sentence(
                    gettext_noop(
                        "“%(name)s”: the pattern %(pattern)s can't be used (%(reason)s); free text instead."
                    ),
                    {"name": label, "pattern": written[:100], "reason": problems[0].sentence},
                )
            )
            return
        slot |= {"kind": "pattern", "pattern": pattern}

    def _answers(
        self, operation: dict[str, Any], action: Definition, required: list[str], title: str
    ) -> None:
        """What a good answer must hold, what it must repeat, and what is said on each status."""
        replies: Definition = {}
        for status, given in self._object(operation.get("responses")).items():
            response, status = self._object(given), str(status)
            if status.startswith("2") and "ok" not in replies:
                schema = self._answer_schema(response)
                replies["ok"] = {"text": self._good_answer(response, schema, action, title)}
            elif (
                status.startswith("4")
                and status.isdecimal()
                and status not in ("401", "403", "429")
            ):
                text = one_line(response.get("description"), 300) or _("That did not work.")
                replies[status] = {"text": text}
                in_path = [slot for slot in required if f"{{{slot}}}" in action["path"]]
                if status == "404" and in_path:
                    replies[status]["ask_again"] = in_path
        replies.setdefault("ok", {"text": _("%(intent)s: done.") % {"intent": title}})
        action["replies"] = replies

    def _answer_schema(self, response: dict[str, Any]) -> dict[str, Any]:
        content = self._object(response.get("content"))
        media = next((self._object(content[key]) for key in content if "json" in key), {})
        return self._schema(media.get("schema") or response.get("schema"))

    def _good_answer(
        self, response: dict[str, Any], schema: dict[str, Any], action: Definition, title: str
    ) -> str:
        text = one_line(response.get("description"), 200).rstrip(".") or title
        if schema.get("type") == "array":
            action["result"] = {"items": "list", "count": "number"}
            return f"{text}: {{count}}"
        needed = set(schema.get("required", []))
        fields = {
            str(label): self._schema(given)
            for label, given in self._object(schema.get("properties")).items()
            if re.fullmatch(r"[a-z][a-z0-9_]*", str(label))
        }
        result = {
            label: _TYPES[one["type"]]
            for label, one in fields.items()
            if label in needed and one.get("type") in _TYPES
        }
        if result:
            action["result"] = result
        echoes = {
            label: slot
            for label in result
            for slot in [identifier(label)]
            if f"{{{slot}}}" in action["path"]
        }
        if echoes:
            action["echoes"] = echoes
        if fields:
            action["card"] = "details"
        else:
            self.report.append(
                Sentence(
                    gettext_noop(
                        "%(intent)s: the answer's fields are not described, so any answer is believed."
                    ),
                    {"intent": title},
                )
            )
        return f"{text}."

    def _base_url(self) -> str:
        servers = self.document.get("servers")
        if isinstance(servers, list) and servers:
            server = self._object(servers[0])
            url = str(server.get("url", ""))
            for name, variable in self._object(server.get("variables")).items():
                url = url.replace(f"{{{name}}}", str(self._object(variable).get("default", "")))
        else:
            schemes = self.document.get("schemes") or ["https"]
            host = self.document.get("host", "")
            url = f"{schemes[0]}://{host}{self.document.get('basePath', '')}" if host else ""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.netloc and "{" not in url:
            return url.rstrip("/")[:300]
        self.report.append(
            Sentence(
                gettext_noop("The description names no full address; give the endpoint's address.")
            )
        )
        return ""

    def _note_security(self) -> None:
        components = self._object(self.document.get("components"))
        schemes = self._object(
            components.get("securitySchemes") or self.document.get("securityDefinitions")
        )
        for name, given in schemes.items():
            scheme = self._object(given)
            bearer = scheme.get("type") == "http" and scheme.get("scheme", "").lower() == "bearer"
            if bearer:
                self.report.append(
                    Sentence(
                        gettext_noop(
                            "The endpoint wants the bearer token “%(name)s”; give it with the address."
                        ),
                        {"name": name},
                    )
                )
            else:
                self.report.append(
                    Sentence(
                        gettext_noop(
                            "The endpoint is protected by “%(name)s” (%(kind)s); only a bearer token can "
                            "be sent."
                        ),
                        {"name": name, "kind": scheme.get("type", "?")},
                    )
                )
