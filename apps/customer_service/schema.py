"""What a business says about a service it offers: intents, slots, and the HTTP action behind each.

A definition is data (JSON). The tracker, the policy and the action client read it and know nothing
else about the business, so a new service needs no code and no training.

`parse_service` reads the JSON form and reports every problem with the path to it; `dataclasses.asdict`
gives the JSON form back.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_noop as _

from praxis.sentences import Sentence

KINDS = (
    "text", "categorical", "pattern", "email", "phone", "date", "time", "number", "money"
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SENT_TYPES = ("text", "number", "flag")
RESULT_TYPES = ("text", "number", "flag", "list", "object")
CARDS = ("details", "order", "return", "products")
"""Templates that draw an answer; "details" draws any."""
CURRENCIES = ("AUD", "CAD", "CHF", "CNY", "EUR", "GBP", "HKD", "INR", "JPY", "SGD", "USD")
LONGEST_PATTERN = 200
LONGEST_TEXT = 2000
NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
DONT_CARE = "dontcare"
"""The value of a slot whose owner said that any will do; it is left out of the action's call."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One of the values that a categorical slot may take."""

    name: str
    title: str
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ValuesFrom:
    """A slot's values are read from the list in the answer of another intent's GET action."""

    intent: str
    items: str
    """Key of the list in the answer."""
    value: str
    """Key of an item that the slot stores."""
    title: str
    """Key of an item that people read."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A piece of information that an intent needs."""

    name: str
    title: str
    description: str
    kind: str
    question: str
    values: tuple[Value, ...] = ()
    pattern: str = ""
    """For kind "pattern": how people write it, case ignored. For kind "text": what all of it must
    match."""
    form: str = ""
    """For kind "pattern": how it is stored; `{0}` is the match, `{1}` its first group."""
    upper: bool = False
    example: str = ""
    minimum: int | None = None
    """Least value. For kind "date" in days from today (0: not in the past), for "time" in whole
    hours of the day."""
    maximum: int | None = None
    currency: str = ""
    """For kind "money": the currency's code, like GBP; an amount in another one is no value."""
    country_code: str = ""
    """For kind "phone": what stands for the leading 0 of a number without country, like 44."""
    group: str = ""
    """Text slots of one group may be answered together, parted by commas."""
    keep: bool = False
    """Holds for the whole conversation and not for one request only, like an order number."""
    may_skip: bool = False
    """"Any" or "doesn't matter" is an answer."""
    cues: tuple[str, ...] = ()
    """For kind "text": words after which the value stands ("looking for …")."""
    values_from: ValuesFrom | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is said on one result of an action."""

    text: str
    """May name slots and fields of the answer: `Order {order_number} is {status}.`"""
    ask_again: tuple[str, ...] = ()
    """Slots whose values the result shows to be wrong."""
    offer_person: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A list in the answer whose items the person may then refer to ("the second one")."""

    items: str
    slot: str
    value: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Action:
    """The HTTP call behind an intent."""

    method: str
    path: str
    """Below the service's base address; `{slot}` stands for a slot's value."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Parameter in the address → slot."""
    body: Mapping[str, str] = field(default_factory=dict)
    """Field of the JSON body → slot."""
    sent_as: Mapping[str, str] = field(default_factory=dict)
    """Field of the JSON body → the type that the endpoint wants, where the slot stores another: a
    choice between "true" and "false" as a flag, one between numerals as a number."""
    result: Mapping[str, str] = field(default_factory=dict)
    """Fields that a successful answer must have → their type. Anything else is not believed."""
    echoes: Mapping[str, str] = field(default_factory=dict)
    """Field of a successful answer → the slot whose value it must repeat."""
    replies: Mapping[str, Reply] = field(default_factory=dict)
    """By "ok", by the answer's `code`, or by the HTTP status."""
    card: str = ""
    listing: Listing | None = None

    @property
    def changes_something(self) -> bool:
        return self.method != "GET"

    def slots(self) -> tuple[str, ...]:
        """Every slot that the call sends, in the order path, query, body."""
        named = [*PLACEHOLDER.findall(self.path), *self.query.values(), *self.body.values()]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, kw_only=True)
class Intent:
    """Something that a person may want. Without an action it is answered from the documents."""

    name: str
    title: str
    description: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    confirm: bool = False
    summary: str = ""
    """What is confirmed, with slots by name; needed when `confirm` is set. A part in square brackets
    is left out when one of its slots has no value."""
    action: Action | None = None
    samples: tuple[str, ...] = ()

    @property
    def slots(self) -> tuple[str, ...]:
        return self.required + self.optional


@dataclass(frozen=True, kw_only=True)
class Service:
    name: str
    title: str
    description: str
    intents: tuple[Intent, ...]
    slots: tuple[Slot, ...]

    def intent(self, name: str) -> Intent:
        """Raises `KeyError` for an intent that the definition does not name."""
        return {intent.name: intent for intent in self.intents}[name]

    def slot(self, name: str) -> Slot:
        """Raises `KeyError` for a slot that the definition does not name."""
        return {slot.name: slot for slot in self.slots}[name]

    def has_intent(self, name: str) -> bool:
        return any(intent.name == name for intent in self.intents)


@dataclass(frozen=True)
class Problem:
    """What is wrong at one place of a definition."""

    path: tuple[str | int, ...]
    sentence: Sentence

    @property
    def message(self) -> str:
        """In the active language."""
        return str(self.sentence)

    @property
    def place(self) -> str:
        """The path as people write it: `intents[0].action.path`."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}"
        return text.lstrip(".") or "definition"


class DefinitionError(ValueError):
    """A definition that can't be used, with every problem found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(f"{problem.place}: {problem.message}" for problem in self.problems)


class _Reader:
    """Reads the fields of one JSON object and notes what is wrong with them."""

    def __init__(self, data: object, path: tuple[str | int, ...], problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        self.data: dict[str, Any] = data if isinstance(data, dict) else {}
        self.read: set[str] = set()
        if not isinstance(data, dict):
            self.problem(_("must be an object, got %(kind)s"), kind=_kind_of(data))

    def problem(self, text: str, *names: str | int, **values: object) -> None:
        self.problems.append(Problem((*self.path, *names), Sentence(text, values)))

    def _value(self, name: str) -> Any:
        self.read.add(name)
        return self.data.get(name)

    def text(self, name: str, *, required: bool = True) -> str:
        value = self._value(name)
        if value is None or value == "":
            if required:
                self.problem(_("is missing; give it a text"), name)
            return ""
        if not isinstance(value, str):
            self.problem(_("must be a text, got %(kind)s"), name, kind=_kind_of(value))
            return ""
        if len(value) > LONGEST_TEXT:
            self.problem(
                _("must have at most %(limit)s characters, got %(length)s"),
                name,
                limit=LONGEST_TEXT,
                length=len(value),
            )
        return value

    def identifier(self, name: str = "name") -> str:
        value = self.text(name)
        if value and not NAME.fullmatch(value):
            self.problem(
                _(
                    "must be lower-case letters, digits and _ and start with a letter, got %(given)r"
                ),
                name,
                given=value,
            )
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name)
        if value and value not in allowed:
            self.problem(
                _("must be one of %(allowed)s, got %(given)r"),
                name,
                allowed=", ".join(allowed),
                given=value,
            )
            return ""
        return value

    def flag(self, name: str) -> bool:
        value = self._value(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.problem(_("must be true or false, got %(kind)s"), name, kind=_kind_of(value))
            return False
        return value

    def whole_number(self, name: str) -> int | None:
        value = self._value(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            self.problem(_("must be a whole number, got %(kind)s"), name, kind=_kind_of(value))
            return None
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._value(name)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.problem(_("must be a list of texts, got %(kind)s"), name, kind=_kind_of(value))
            return ()
        for index, part in enumerate(value):
            if not isinstance(part, str) or not part:
                self.problem(_("must be a text, got %(kind)s"), name, index, kind=_kind_of(part))
        return tuple(part for part in value if isinstance(part, str) and part)

    def text_map(self, name: str) -> dict[str, str]:
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(_("must be an object of texts, got %(kind)s"), name, kind=_kind_of(value))
            return {}
        for key, part in value.items():
            if not isinstance(part, str):
                self.problem(_("must be a text, got %(kind)s"), name, key, kind=_kind_of(part))
        return {key: part for key, part in value.items() if isinstance(part, str)}

    def child(self, name: str) -> "_Reader | None":
        value = self._value(name)
        return None if value is None else _Reader(value, (*self.path, name), self.problems)

    def children(self, name: str) -> "list[_Reader]":
        value = self._value(name)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.problem(_("must be a list of objects, got %(kind)s"), name, kind=_kind_of(value))
            return []
        return [
            _Reader(part, (*self.path, name, index), self.problems)
            for index, part in enumerate(value)
        ]

    def child_map(self, name: str) -> "dict[str, _Reader]":
        value = self._value(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(
                _("must be an object of objects, got %(kind)s"), name, kind=_kind_of(value)
            )
            return {}
        return {
            key: _Reader(part, (*self.path, name, key), self.problems)
            for key, part in value.items()
        }

    def end(self) -> None:
        for name in self.data:
            if name not in self.read:
                self.problem(
                    _("is not known here; allowed are %(allowed)s"),
                    name,
                    allowed=", ".join(sorted(self.read)),
                )


def _kind_of(value: object) -> Sentence:
    names: dict[type, str] = {
        dict: _("an object"),
        list: _("a list"),
        str: _("a text"),
        bool: _("true or false"),
        int: _("a number"),
        float: _("a number"),
        type(None): _("nothing"),
    }
    return Sentence(names.get(type(value), type(value).__name__))


def parse_service(data: object) -> Service:
    """The service that the JSON data describes. Raises `DefinitionError` with all problems."""
    problems: list[Problem] = []
    root = _Reader(data, (), problems)
    service = Service(
        name=root.identifier(),
        title=root.text("title"),
        description=root.text("description"),
        intents=tuple(_parse_intent(reader) for reader in root.children("intents")),
        slots=tuple(_parse_slot(reader) for reader in root.children("slots")),
    )
    root.end()
    if isinstance(data, dict):
        _check_references(service, problems)
    if problems:
        raise DefinitionError(problems)
    return service


def problems_of_slot(data: dict[str, Any]) -> list[Problem]:
    """What is wrong with one slot by itself; the paths begin at the slot."""
    problems: list[Problem] = []
    _parse_slot(_Reader(data, (), problems))
    return problems


def problems_of_intent(data: dict[str, Any], slots: list[dict[str, Any]]) -> list[Problem]:
    """What is wrong with one intent among these slots; the paths begin at the intent."""
    try:
        parse_service(
            {"name": "s", "title": "S", "description": "S", "intents": [data], "slots": slots}
        )
    except DefinitionError as error:
        return [
            Problem(problem.path[2:], problem.sentence)
            for problem in error.problems
            if problem.path[:2] == ("intents", 0)
        ]
    return []


def uses_of_slot(data: dict[str, Any], name: str) -> list[str]:
    """Names of the intents of a definition that use the slot, in whatever place."""

    def used(intent: dict[str, Any]) -> bool:
        listing = (intent.get("action") or {}).get("listing") or {}
        return (
            name in (*intent.get("required", ()), *intent.get("optional", ()))
            or listing.get("slot") == name
        )

    return [intent["name"] for intent in data.get("intents", []) if used(intent)]


def _parse_slot(reader: _Reader) -> Slot:
    values_from = reader.child("values_from")
    slot = Slot(
        name=reader.identifier(),
        title=reader.text("title"),
        description=reader.text("description"),
        kind=reader.choice("kind", KINDS),
        question=reader.text("question"),
        values=tuple(_parse_value(value) for value in reader.children("values")),
        pattern=reader.text("pattern", required=False),
        form=reader.text("form", required=False),
        upper=reader.flag("upper"),
        example=reader.text("example", required=False),
        minimum=reader.whole_number("minimum"),
        maximum=reader.whole_number("maximum"),
        currency=reader.text("currency", required=False),
        country_code=reader.text("country_code", required=False),
        group=reader.text("group", required=False),
        keep=reader.flag("keep"),
        may_skip=reader.flag("may_skip"),
        cues=reader.texts("cues"),
        values_from=None if values_from is None else _parse_values_from(values_from),
    )
    reader.end()
    if slot.kind == "categorical" and not slot.values and slot.values_from is None:
        reader.problem(_("is missing; a categorical slot needs values or values_from"), "values")
    if slot.kind == "pattern" or (slot.kind == "text" and slot.pattern):
        _check_pattern(reader, slot)
    if slot.currency and slot.currency not in CURRENCIES:
        reader.problem(
            _("must be one of %(allowed)s, got %(given)r"),
            "currency",
            allowed=", ".join(CURRENCIES),
            given=slot.currency,
        )
    if slot.country_code and not re.fullmatch(r"[1-9]\d{0,2}", slot.country_code):
        reader.problem(
            _("must be 1 to 3 digits, got %(given)r"), "country_code", given=slot.country_code
        )
    if slot.minimum is not None and slot.maximum is not None and slot.minimum > slot.maximum:
        reader.problem(
            _("must be at least the minimum %(minimum)s"), "maximum", minimum=slot.minimum
        )
    return slot


def _check_pattern(reader: _Reader, slot: Slot) -> None:
    if not slot.pattern:
        reader.problem(_("is missing; a slot of kind pattern needs one"), "pattern")
        return
    if len(slot.pattern) > LONGEST_PATTERN:
        reader.problem(
            _("must have at most %(limit)s characters, got %(length)s"),
            "pattern",
            limit=LONGEST_PATTERN,
            length=len(slot.pattern),
        )
        return
    try:
        compiled = re.compile(slot.pattern, re.IGNORECASE)
    except re.error as error:
        reader.problem(_("is not a regular expression: %(reason)s"), "pattern", reason=str(error))
        return
    if _repeats_within_a_repeat(slot.pattern):
        # One message could then keep the matcher busy for hours.
        reader.problem(_("must not repeat a group that itself repeats, like (a+)+"), "pattern")
    if compiled.match(""):
        reader.problem(_("must not match an empty text"), "pattern")
    for number in re.findall(r"\{(\d+)\}", slot.form):
        if int(number) > compiled.groups:
            reader.problem(
                _("names group %(number)s; the pattern has %(groups)s"),
                "form",
                number=number,
                groups=compiled.groups,
            )


_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}")


def _repeats_within_a_repeat(pattern: str) -> bool:
    bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)
    repeats_in: list[bool] = [False]
    position = 0
    while position < len(bare):
        if bare[position] == "(":
            repeats_in.append(False)
            position += 1
        elif bare[position] == ")" and len(repeats_in) > 1:
            inner = repeats_in.pop()
            follows = _REPEAT.match(bare, position + 1)
            if inner and follows:
                return True
            repeats_in[-1] = repeats_in[-1] or inner or bool(follows)
            position += 1
        else:
            repeat = _REPEAT.match(bare, position)
            if repeat:
                repeats_in[-1] = True
            position = repeat.end() if repeat else position + 1
    return False


def _parse_value(reader: _Reader) -> Value:
    value = Value(
        name=reader.text("name"), title=reader.text("title"), synonyms=reader.texts("synonyms")
    )
    reader.end()
    return value


def _parse_values_from(reader: _Reader) -> ValuesFrom:
    source = ValuesFrom(
        intent=reader.text("intent"),
        items=reader.text("items"),
        value=reader.text("value"),
        title=reader.text("title"),
    )
    reader.end()
    return source


def _parse_intent(reader: _Reader) -> Intent:
    action = reader.child("action")
    intent = Intent(
        name=reader.identifier(),
        title=reader.text("title"),
        description=reader.text("description"),
        required=reader.texts("required"),
        optional=reader.texts("optional"),
        confirm=reader.flag("confirm"),
        summary=reader.text("summary", required=False),
        action=None if action is None else _parse_action(action),
        samples=reader.texts("samples"),
    )
    reader.end()
    if intent.confirm and not intent.summary:
        reader.problem(_("is missing; say what the person confirms"), "summary")
    if intent.action and intent.action.changes_something and not intent.confirm:
        reader.problem(
            _("must be true: %(method)s changes something, so the person confirms first"),
            "confirm",
            method=intent.action.method,
        )
    return intent


def _parse_action(reader: _Reader) -> Action:
    listing = reader.child("listing")
    action = Action(
        method=reader.choice("method", METHODS),
        path=reader.text("path"),
        query=reader.text_map("query"),
        body=reader.text_map("body"),
        sent_as=reader.text_map("sent_as"),
        result=reader.text_map("result"),
        echoes=reader.text_map("echoes"),
        replies={key: _parse_reply(reply) for key, reply in reader.child_map("replies").items()},
        card=reader.text("card", required=False),
        listing=None if listing is None else _parse_listing(listing),
    )
    reader.end()
    if action.path and (
        not action.path.startswith("/") or re.search(r"//|\.\.|[?#\\]", action.path)
    ):
        reader.problem(
            _("must start with / and contain no //, .., ? or #, got %(given)r"),
            "path",
            given=action.path,
        )
    if action.card and action.card not in CARDS:
        reader.problem(
            _("must be one of %(allowed)s, got %(given)r"),
            "card",
            allowed=", ".join(CARDS),
            given=action.card,
        )
    if action.method == "GET" and action.body:
        reader.problem(_("must be empty for GET; use query"), "body")
    for key, kind in action.result.items():
        if kind not in RESULT_TYPES:
            reader.problem(
                _("must be one of %(allowed)s, got %(given)r"),
                "result",
                key,
                allowed=", ".join(RESULT_TYPES),
                given=kind,
            )
    if "ok" not in action.replies:
        reader.problem(_('lacks "ok", what is said when the action worked'), "replies")
    return action


def _parse_reply(reader: _Reader) -> Reply:
    reply = Reply(
        text=reader.text("text"),
        ask_again=reader.texts("ask_again"),
        offer_person=reader.flag("offer_person"),
    )
    reader.end()
    return reply


def _parse_listing(reader: _Reader) -> Listing:
    listing = Listing(
        items=reader.text("items"),
        slot=reader.text("slot"),
        value=reader.text("value"),
        title=reader.text("title"),
    )
    reader.end()
    return listing


def _check_references(service: Service, problems: list[Problem]) -> None:
    """Names that point at nothing, names used twice, and calls that would lack a value."""

    def note(text: str, *path: str | int, **values: object) -> None:
        problems.append(Problem(path, Sentence(text, values)))

    if not service.intents:
        note(_("is missing; a service needs at least one intent"), "intents")
    slots = {slot.name for slot in service.slots}
    intents = {intent.name for intent in service.intents}
    _note_repeated("slots", [slot.name for slot in service.slots], note)
    _note_repeated("intents", [intent.name for intent in service.intents], note)
    known = ", ".join(sorted(slots)) or Sentence(_("none"))
    for index, intent in enumerate(service.intents):
        here: tuple[str | int, ...] = ("intents", index)
        for part in ("required", "optional"):
            for position, name in enumerate(getattr(intent, part)):
                if name not in slots:
                    note(
                        _("names the unknown slot %(name)r; known are %(known)s"),
                        *here,
                        part,
                        position,
                        name=name,
                        known=known,
                    )
        for name in PLACEHOLDER.findall(intent.summary):
            if name not in intent.slots:
                note(
                    _("names %(name)r, which is no slot of this intent"),
                    *here,
                    "summary",
                    name=name,
                )
        if intent.action is not None:
            _check_action(intent, intent.action, service, (*here, "action"), note)
    for index, slot in enumerate(service.slots):
        source = slot.values_from
        if source is None:
            continue
        if source.intent not in intents:
            note(
                _("names the unknown intent %(name)r; known are %(known)s"),
                "slots",
                index,
                "values_from",
                "intent",
                name=source.intent,
                known=", ".join(sorted(intents)),
            )
            continue
        action = service.intent(source.intent).action
        if action is None or action.method != "GET":
            note(
                _("must name an intent whose action is a GET"),
                "slots",
                index,
                "values_from",
                "intent",
            )


def _check_action(
    intent: Intent,
    action: Action,
    service: Service,
    here: tuple[str | int, ...],
    note: Callable[..., None],
) -> None:
    places = {
        "path": PLACEHOLDER.findall(action.path),
        "query": action.query.values(),
        "body": action.body.values(),
        "echoes": action.echoes.values(),
    }
    for place, names in places.items():
        for name in names:
            if name not in intent.slots:
                note(_("names %(name)r, which is no slot of this intent"), *here, place, name=name)
    for key, kind in action.sent_as.items():
        if problem := _problem_of_type(service, action.body.get(key), kind):
            note(problem.text, *here, "sent_as", key, **problem.values)
    for name in places["path"]:
        if name in intent.optional:
            note(_("needs %(name)r, which is optional in this intent"), *here, "path", name=name)
        elif name in intent.slots and any(s.name == name and s.may_skip for s in service.slots):
            note(_("needs %(name)r, which may be skipped"), *here, "path", name=name)
    for key, reply in action.replies.items():
        for name in reply.ask_again:
            if name not in intent.slots:
                note(
                    _("names %(name)r, which is no slot of this intent"),
                    *here,
                    "replies",
                    key,
                    "ask_again",
                    name=name,
                )
    if action.listing and action.listing.slot not in {slot.name for slot in service.slots}:
        note(
            _("names the unknown slot %(name)r"),
            *here,
            "listing",
            "slot",
            name=action.listing.slot,
        )


def _problem_of_type(service: Service, slot_name: str | None, kind: str) -> Sentence | None:
    """Why a field of the body can't be sent as that type; None if it can."""
    slot = next((slot for slot in service.slots if slot.name == slot_name), None)
    if slot is None:
        return Sentence(_("is no field of the body that a slot fills"))
    if kind not in SENT_TYPES:
        return Sentence(
            _("must be one of %(allowed)s, got %(given)r"),
            {"allowed": ", ".join(SENT_TYPES), "given": kind},
        )
    names = [value.name for value in slot.values]
    if kind == "flag" and not (names and set(names) <= {"true", "false"}):
        return Sentence(
            _("can't be a flag: the values of %(name)r must be true and false, got %(given)s"),
            {"name": slot.name, "given": ", ".join(names) or Sentence(_("none"))},
        )
    is_number = slot.kind in ("number", "money") or (names and all(map(_NUMERAL.fullmatch, names)))
    if kind == "number" and not is_number:
        return Sentence(
            _("can't be a number: %(name)r is of kind %(kind)s and lists no numerals alone"),
            {"name": slot.name, "kind": slot.kind},
        )
    return None


_NUMERAL = re.compile(r"-?\d{1,15}(?:\.\d{1,6})?")


def _note_repeated(part: str, names: list[str], note: Callable[..., None]) -> None:
    for index, name in enumerate(names):
        if name and name in names[:index]:
            note(_("is used twice: %(name)r"), part, index, "name", name=name)
