"""Rasa 2 and 3: domain.yml, nlu.yml and rules become intents, slots and questions.

A form becomes an intent that asks for the form's slots. What Rasa's custom action did in Python is
not in these files, so the call behind such an intent is a placeholder that the report names.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

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
from apps.customer_service.schema import problems_of_slot
from praxis.sentences import Sentence

MOST_SAMPLES = 100
BUILT_IN = frozenset(
    "greet hello goodbye bye affirm confirm yes deny no thank thanks thankyou stop cancel restart "
    "back session_start bot_challenge nlu_fallback out_of_scope chitchat help human_handoff "
    "request_human inform".split()
)
"""Intents that every service here understands without being told."""
_ENTITY = re.compile(r"\[([^\]]+)\](?:\(([^)]*)\)|(\{[^}]*\}))")


def from_rasa(files: Sequence[dict[str, Any]]) -> Imported:
    """Raises `ImportRefused` when nothing in the files can be asked for or answered."""
    return _Reader(files).read()


class _Reader:
    def __init__(self, files: Sequence[dict[str, Any]]) -> None:
        self.report: list[Sentence] = []
        self.intents: list[str] = []
        self.slots: dict[str, Any] = {}
        self.forms: dict[str, Any] = {}
        self.responses: dict[str, Any] = {}
        self.actions: list[str] = []
        self.samples: dict[str, list[str]] = {}
        self.synonyms: dict[str, list[str]] = {}
        self.lookups: dict[str, list[str]] = {}
        self.patterns: dict[str, list[str]] = {}
        self.started_by: dict[str, str] = {}
        """Form → the intent that starts it, by the rules and stories."""
        for data in files:
            self._collect(data)

    def _collect(self, data: dict[str, Any]) -> None:
        for one in data.get("intents") or []:
            self.intents.append(str(next(iter(one)) if isinstance(one, dict) else one))
        for key, target in (
            ("slots", self.slots), ("forms", self.forms), ("responses", self.responses),
        ):  # fmt: skip
            found = data.get(key)
            if isinstance(found, dict):
                target.update(found)
            elif isinstance(found, list):
                target.update({str(one): {} for one in found if isinstance(one, str)})
        self.actions += [str(one) for one in data.get("actions") or [] if isinstance(one, str)]
        for block in data.get("nlu") or []:
            if isinstance(block, dict):
                self._collect_examples(block)
        for story in [*(data.get("rules") or []), *(data.get("stories") or [])]:
            steps = story.get("steps") if isinstance(story, dict) else None
            self._collect_steps([step for step in steps or [] if isinstance(step, dict)])
        for key in ("pipeline", "policies", "session_config", "e2e_actions"):
            if key in data:
                self.report.append(
                    Sentence(
                        gettext_noop("“%(key)s” has no counterpart here and was left out."),
                        {"key": key},
                    )
                )

    def _collect_examples(self, block: dict[str, Any]) -> None:
        examples = list(_examples(block.get("examples")))
        if "intent" in block:
            # Retrieval intents: faq/ask_price belongs to faq.
            name = str(block["intent"])
            self.samples.setdefault(name, []).extend(_plain(example) for example in examples)
            for example in examples:
                for value, synonym in _said_for(example):
                    self.synonyms.setdefault(value, []).append(synonym)
        elif "synonym" in block:
            self.synonyms.setdefault(str(block["synonym"]), []).extend(examples)
        elif "lookup" in block:
            self.lookups.setdefault(str(block["lookup"]), []).extend(examples)
        elif "regex" in block:
            self.patterns.setdefault(str(block["regex"]), []).extend(examples)

    def _collect_steps(self, steps: list[dict[str, Any]]) -> None:
        intent = ""
        for step in steps:
            if "intent" in step:
                intent = str(step["intent"])
            form = step.get("active_loop") or step.get("action")
            if form in self.forms or str(form).endswith("_form"):
                if intent:
                    self.started_by.setdefault(str(form), intent)
                intent = ""

    def read(self) -> Imported:
        slots = {
            str(name): slot
            for name, described in self.slots.items()
            if (slot := self._slot(str(name), described if isinstance(described, dict) else {}))
        }
        made: list[Definition] = []
        taken: set[str] = set()
        used: set[str] = set()
        for form, described in self.forms.items():
            if intent := self._from_form(str(form), described, slots, taken, used):
                made.append(intent)
        for name in dict.fromkeys([*self.intents, *self.samples]):
            if name in used or name.split("/")[0] in used or name in BUILT_IN:
                continue
            if intent := self._from_intent(name, taken):
                made.append(intent)
        skipped = [name for name in self.intents if name in BUILT_IN]
        if skipped:
            self.report.append(
                Sentence(
                    gettext_noop("Understood without being defined, and left out: %(names)s."),
                    {"names": ", ".join(skipped)},
                )
            )
        if not made:
            raise ImportRefused(
                _("The files define no form and no intent with examples.")
                + " "
                + " ".join(map(str, self.report))[:1000]
            )
        self._note_rest(slots, made)
        return Imported(
            definition={
                "name": "rasa",
                "title": _("Imported from Rasa"),
                "description": _("Imported from Rasa's domain files."),
                "slots": list(slots.values()),
                "intents": made,
            },
            report=self.report,
        )

    def _slot(self, name: str, described: dict[str, Any]) -> Definition | None:
        kind = str(described.get("type", "text"))
        if name in ("requested_slot", "session_started_metadata"):
            return None
        if kind in ("list", "any") or kind not in ("text", "categorical", "bool", "float"):
            self.report.append(
                Sentence(
                    gettext_noop("The slot “%(name)s” of type %(type)s was left out."),
                    {"name": name, "type": kind},
                )
            )
            return None
        title = in_words(name)
        slot: Definition = {
            "name": identifier(name),
            "title": title,
            "description": title,
            "kind": "text",
            "question": self._question(name)
            or _("What is the %(slot)s?") % {"slot": title.lower()},
        }
        listed = [str(value) for value in described.get("values") or []] or self.lookups.get(
            name, []
        )
        if kind == "bool":
            slot["kind"] = "categorical"
            slot["values"] = [
                {"name": "true", "title": _("Yes"), "synonyms": ["yes", "是"]},
                {"name": "false", "title": _("No"), "synonyms": ["no", "否"]},
            ]
        elif kind == "float":
            slot["kind"] = "number"
            for ours, theirs in (("minimum", "min_value"), ("maximum", "max_value")):
                if isinstance(described.get(theirs), int | float):
                    slot[ours] = int(described[theirs])
        elif listed:
            slot["kind"] = "categorical"
            slot["values"] = [self._value(value) for value in dict.fromkeys(listed)]
        elif name in self.patterns:
            self._with_pattern(slot, name)
        elif re.search(r"e_?mail", name.lower()):
            slot["kind"] = "email"
        elif re.search(r"phone|mobile", name.lower()):
            slot["kind"] = "phone"
        elif re.search(r"(?:^|_)(?:date|day)(?:$|_)", name.lower()):
            slot["kind"] = "date"
        elif re.search(r"(?:^|_)time(?:$|_)", name.lower()):
            slot["kind"] = "time"
        for mapping in described.get("mappings") or []:
            if isinstance(mapping, dict) and mapping.get("type") in (
                "custom",
                "from_trigger_intent",
            ):
                self.report.append(
                    Sentence(
                        gettext_noop(
                            "The slot “%(name)s” was filled by the mapping %(mapping)s; here people say it."
                        ),
                        {"name": name, "mapping": mapping["type"]},
                    )
                )
        return slot

    def _value(self, value: str) -> Definition:
        made: Definition = {"name": value, "title": in_words(value) if value.islower() else value}
        if said := list(dict.fromkeys(self.synonyms.get(value, ()))):
            made["synonyms"] = said[:30]
        return made

    def _with_pattern(self, slot: Definition, name: str) -> None:
        pattern = "|".join(self.patterns[name])
        if problems := problems_of_slot({**slot, "kind": "pattern", "pattern": pattern}):
            self.report.append(
                Sentence(
                    gettext_noop(
                        "“%(name)s”: the pattern %(pattern)s can't be used (%(reason)s); free text instead."
                    ),
                    {"name": name, "pattern": pattern[:100], "reason": problems[0].sentence},
                )
            )
            return
        slot |= {"kind": "pattern", "pattern": pattern}

    def _question(self, slot: str, form: str = "") -> str:
        for key in (f"utter_ask_{form}_{slot}", f"utter_ask_{slot}"):
            if text := self._response(key):
                return text
        return ""

    def _response(self, key: str) -> str:
        variants = [one for one in self.responses.get(key) or [] if isinstance(one, dict)]
        if len(variants) > 1:
            self.report.append(
                Sentence(
                    gettext_noop("Of the %(count)s variants of “%(name)s” the first was taken."),
                    {"count": len(variants), "name": key},
                )
            )
        if any({"buttons", "image", "attachment", "custom"} & set(one) for one in variants[:1]):
            self.report.append(
                Sentence(
                    gettext_noop("“%(name)s”: only its text was taken, no buttons or pictures."),
                    {"name": key},
                )
            )
        return one_line(variants[0].get("text")) if variants else ""

    def _from_form(
        self,
        form: str,
        described: Any,
        slots: dict[str, Definition],
        taken: set[str],
        used: set[str],
    ) -> Definition | None:
        needed = described.get("required_slots", described) if isinstance(described, dict) else []
        names = [str(name) for name in needed if name != "ignored_intents"]
        missing = [name for name in names if name not in slots]
        if missing:
            self.report.append(
                Sentence(
                    gettext_noop(
                        "The form “%(form)s” asks for %(slots)s, which could not be taken over."
                    ),
                    {"form": form, "slots": ", ".join(missing)},
                )
            )
        names = [name for name in names if name in slots]
        if not names:
            self.report.append(
                Sentence(
                    gettext_noop("The form “%(form)s” has no slot left and was left out."),
                    {"form": form},
                )
            )
            return None
        for name in names:
            if asked := self._question(name, form):
                slots[name]["question"] = asked
        starter = self.started_by.get(form) or self._likely_starter(form)
        if starter:
            used.add(starter)
        else:
            self.report.append(
                Sentence(
                    gettext_noop(
                        "No rule says which intent starts the form “%(form)s”; give it sentences that people say."
                    ),
                    {"form": form},
                )
            )
        bare = form.removesuffix("_form")
        title = in_words(starter or bare)
        ids = [slots[name]["name"] for name in names]
        intent: Definition = {
            "name": unused(identifier(starter or bare), taken),
            "title": title,
            "description": title,
            "required": ids,
            "confirm": True,
            "summary": f"{title}. "
            + " ".join(f"{slots[name]['title']}: {{{slots[name]['name']}}}" for name in names),
            "action": {
                "method": "POST",
                "path": f"/{identifier(bare)}",
                "body": {one: one for one in ids},
                "replies": {"ok": {"text": self._done(form, bare)}},
            },
        }
        if samples := self._samples(starter):
            intent["samples"] = samples
        self.report.append(
            Sentence(
                gettext_noop(
                    "“%(intent)s”: what Rasa's custom action did is not in the files. Check method and path."
                ),
                {"intent": title},
            )
        )
        return intent

    def _done(self, form: str, bare: str) -> str:
        for key in (
            f"utter_submit_{form}",
            f"utter_{form}_submit",
            f"utter_{bare}",
            "utter_submit",
        ):
            if text := self._response(key):
                return text
        return _("Done.")

    def _likely_starter(self, form: str) -> str:
        """The intent that shares the most words with the form's name, if one stands out."""
        words = set(identifier(form).removesuffix("_form").split("_"))
        shared = sorted(
            ((len(words & set(identifier(name).split("_"))), name) for name in self.intents),
            reverse=True,
        )
        if shared and shared[0][0] and (len(shared) == 1 or shared[0][0] > shared[1][0]):
            self.report.append(
                Sentence(
                    gettext_noop(
                        "No rule says which intent starts “%(form)s”; “%(intent)s” was taken by its name."
                    ),
                    {"form": form, "intent": shared[0][1]},
                )
            )
            return shared[0][1]
        return ""

    def _from_intent(self, name: str, taken: set[str]) -> Definition | None:
        samples = self._samples(name)
        answer = self._response(f"utter_{name}")
        if not samples:
            self.report.append(
                Sentence(
                    gettext_noop("The intent “%(name)s” has no examples and was left out."),
                    {"name": name},
                )
            )
            return None
        if answer:
            self.report.append(
                Sentence(
                    gettext_noop(
                        "“%(name)s” was answered with a fixed text. Put it into a document: %(text)s"
                    ),
                    {"name": name, "text": answer[:300]},
                )
            )
        title = in_words(name)
        return {
            "name": unused(identifier(name), taken),
            "title": title,
            "description": title,
            "samples": samples,
        }

    def _samples(self, intent: str) -> list[str]:
        found = [
            sample
            for name, samples in self.samples.items()
            if intent and (name == intent or name.startswith(f"{intent}/"))
            for sample in samples
        ]
        return list(dict.fromkeys(one_line(sample, 300) for sample in found if sample))[
            :MOST_SAMPLES
        ]

    def _note_rest(self, slots: dict[str, Definition], made: list[Definition]) -> None:
        custom = [name for name in self.actions if name.startswith(("action_", "validate_"))]
        if custom:
            self.report.append(
                Sentence(
                    gettext_noop("Custom actions are Python and were left out: %(names)s."),
                    {"names": ", ".join(custom)[:500]},
                )
            )
        asked = {name for intent in made for name in intent.get("required", ())}
        idle = [name for name, slot in slots.items() if slot["name"] not in asked]
        if idle:
            self.report.append(
                Sentence(
                    gettext_noop("No intent asks for these slots: %(names)s."),
                    {"names": ", ".join(idle)[:500]},
                )
            )


def _examples(value: Any) -> Iterator[str]:
    """Rasa writes the examples as one text of lines that begin with a dash, or as a list."""
    if isinstance(value, str):
        for line in value.splitlines():
            if line.strip().startswith("-"):
                yield line.strip()[1:].strip()
    elif isinstance(value, list):
        for one in value:
            text = one.get("text") if isinstance(one, dict) else one
            if isinstance(text, str):
                yield text.strip().removeprefix("- ")


def _plain(example: str) -> str:
    """The sentence without the marks of entities."""
    return _ENTITY.sub(lambda entity: entity[1], example)


def _said_for(example: str) -> Iterator[tuple[str, str]]:
    """Value and the words that stand for it, where an example names both."""
    for entity in _ENTITY.finditer(example):
        if entity[3]:
            try:
                told = json.loads(entity[3])
            except ValueError:
                continue
            if isinstance(told, dict) and isinstance(told.get("value"), str):
                yield told["value"], entity[1]
        elif ":" in (entity[2] or ""):  # [NYC](city:new york)
            yield entity[2].split(":", 1)[1], entity[1]
