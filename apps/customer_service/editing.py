"""The forms of the service editor: parts of a definition as fields, and fields as parts.

A form shows what `schema` says of the part it holds, so the rules are written once.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.customer_service.schema import (
    CARDS,
    CURRENCIES,
    KINDS,
    METHODS,
    RESULT_TYPES,
    SENT_TYPES,
    Problem,
    problems_of_intent,
    problems_of_slot,
)

Definition = dict[str, Any]
SPARE_ROWS = 2
"""Empty rows at the end of each table; saving brings the next ones."""
MOST_ROWS = 200
KIND_LABELS = {
    "text": gettext_lazy("Free text"),
    "categorical": gettext_lazy("One of a list"),
    "pattern": gettext_lazy("By pattern (order number, postcode)"),
    "email": gettext_lazy("E-mail address"),
    "phone": gettext_lazy("Telephone number"),
    "date": gettext_lazy("Date"),
    "time": gettext_lazy("Time of day"),
    "number": gettext_lazy("Whole or decimal number"),
    "money": gettext_lazy("Amount of money"),
}
RESULT_LABELS = {
    "text": gettext_lazy("Text"),
    "number": gettext_lazy("Number"),
    "flag": gettext_lazy("Yes or no"),
    "list": gettext_lazy("List"),
    "object": gettext_lazy("Object"),
}
CARD_LABELS = {
    "details": gettext_lazy("Names and values"),
    "order": gettext_lazy("Order"),
    "return": gettext_lazy("Return"),
    "products": gettext_lazy("Products"),
}


def name_from(title: str, taken: Sequence[str]) -> str:
    """A free name for a title; `part`, `part_2` … for one without Latin letters."""
    base = slugify(title).replace("-", "_")[:50].strip("_") or "part"
    base = base if base[0].isalpha() else f"n_{base}"
    names = [base, *(f"{base}_{number}" for number in range(2, MOST_ROWS))]
    return next(name for name in names if name not in taken)


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def commas(text: str) -> list[str]:
    return [part.strip() for part in text.replace("，", ",").split(",") if part.strip()]


class PartForm(forms.Form):
    """A form whose problems are found by `schema` and shown at the field they are about."""

    def put_problems(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            names = [str(part) for part in problem.path]
            field = next((name for name in ("_".join(names), *names) if name in self.fields), None)
            place = "" if field else f"{problem.place}: "
            self.add_error(field, f"{place}{problem.message}")


class AboutForm(forms.Form):
    title = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    description = forms.CharField(
        label=gettext_lazy("What it is for"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("One sentence. The assistant reads it to tell services apart."),
    )
    base_url = forms.URLField(
        label=gettext_lazy("Address of the endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=gettext_lazy("Actions are called below this address and nowhere else."),
    )
    secret = forms.CharField(
        label=gettext_lazy("Access token"),
        max_length=500,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Sent as a bearer token. Leave it empty to keep the present one."),
    )

    def clean_base_url(self) -> str:
        return checked_address(self.cleaned_data["base_url"])


def checked_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
        raise forms.ValidationError(
            _(
                "Give an http or https address without user name, query or fragment, like "
                "https://orders.example.com/api."
            )
        )
    return url


# Slots --------------------------------------------------------------------------------------------


class SlotForm(PartForm):
    """One slot. Which fields are shown depends on the kind (by style sheet alone)."""

    title = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    name = forms.CharField(
        label=gettext_lazy("Short name"),
        max_length=60,
        required=False,
        help_text=gettext_lazy(
            "In lower-case letters, for texts like “Order {order_number}”. Made from the name if empty."
        ),
    )
    description = forms.CharField(
        label=gettext_lazy("What the value is"),
        max_length=500,
        help_text=gettext_lazy("The assistant reads this to recognise the value."),
    )
    question = forms.CharField(label=gettext_lazy("How the assistant asks for it"), max_length=500)
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"), choices=[(kind, KIND_LABELS[kind]) for kind in KINDS]
    )
    pattern = forms.CharField(
        label=gettext_lazy("Pattern"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("A regular expression, such as (?:HP[\\s-]?)?(\\d{5})."),
    )
    form = forms.CharField(
        label=gettext_lazy("Stored as"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("{0} is the match, {1} its first group: HP-{1}."),
    )
    upper = forms.BooleanField(label=gettext_lazy("In capital letters"), required=False)
    cues = forms.CharField(
        label=gettext_lazy("Words that announce it"),
        max_length=1000,
        required=False,
        help_text=gettext_lazy("Parted by commas: looking for, search for."),
    )
    group = forms.CharField(
        label=gettext_lazy("Group"),
        max_length=60,
        required=False,
        help_text=gettext_lazy(
            "Texts of one group may be answered together, parted by commas, like an address."
        ),
    )
    minimum = forms.IntegerField(label=gettext_lazy("Least"), required=False)
    maximum = forms.IntegerField(
        label=gettext_lazy("Most"),
        required=False,
        help_text=gettext_lazy(
            "Of a date in days from today (least 0: not in the past), of a time in hours."
        ),
    )
    currency = forms.ChoiceField(
        label=gettext_lazy("Currency"),
        required=False,
        choices=[("", gettext_lazy("any")), *((code, code) for code in CURRENCIES)],
    )
    country_code = forms.CharField(
        label=gettext_lazy("Country code"),
        max_length=3,
        required=False,
        help_text=gettext_lazy("For numbers without one, like 44 or 86."),
    )
    from_intent = forms.ChoiceField(
        label=gettext_lazy("List from an endpoint"),
        required=False,
        help_text=gettext_lazy("An intent whose GET action answers with the list."),
    )
    from_items = forms.CharField(
        label=gettext_lazy("Field with the list"), max_length=60, required=False
    )
    from_value = forms.CharField(
        label=gettext_lazy("Field of an entry that is stored"), max_length=60, required=False
    )
    from_title = forms.CharField(
        label=gettext_lazy("Field of an entry that people read"), max_length=60, required=False
    )
    example = forms.CharField(
        label=gettext_lazy("Example"),
        max_length=120,
        required=False,
        help_text=gettext_lazy("Shown when a typed value does not fit."),
    )
    keep = forms.BooleanField(
        label=gettext_lazy("Holds for the whole conversation, like an order number"), required=False
    )
    may_skip = forms.BooleanField(
        label=gettext_lazy("“Any” or “doesn't matter” is an answer"), required=False
    )

    def __init__(self, *args: Any, intents: Sequence[Definition] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        readers = [
            (intent["name"], intent.get("title") or intent["name"])
            for intent in intents
            if (intent.get("action") or {}).get("method") == "GET"
        ]
        self.fields["from_intent"].choices = [("", _("none")), *readers]  # type: ignore[attr-defined]


class ValueForm(forms.Form):
    title = forms.CharField(label=gettext_lazy("Value"), max_length=120, required=False)
    synonyms = forms.CharField(
        label=gettext_lazy("Also said as (commas)"), max_length=2000, required=False
    )
    name = forms.CharField(label=gettext_lazy("Sent as"), max_length=120, required=False)


def slot_fields(slot: Definition) -> dict[str, Any]:
    """What the slot form shows of a slot."""
    source = slot.get("values_from") or {}
    simple = (
        "title", "name", "description", "question", "kind", "pattern", "form", "upper", "group",
        "minimum", "maximum", "currency", "country_code", "example", "keep", "may_skip",
    )  # fmt: skip
    return {
        **{key: slot[key] for key in simple if key in slot},
        "cues": ", ".join(slot.get("cues", ())),
        "from_intent": source.get("intent", ""),
        "from_items": source.get("items", ""),
        "from_value": source.get("value", ""),
        "from_title": source.get("title", ""),
    }


def value_rows(slot: Definition) -> list[dict[str, Any]]:
    return [
        {**value, "synonyms": ", ".join(value.get("synonyms", ()))}
        for value in slot.get("values", ())
    ]


_FIELDS_OF_KIND = {
    "pattern": ("pattern", "form", "upper"),
    "text": ("pattern", "group"),
    "number": ("minimum", "maximum"),
    "money": ("minimum", "maximum", "currency"),
    "date": ("minimum", "maximum"),
    "time": ("minimum", "maximum"),
    "phone": ("country_code",),
}


def slot_from(
    fields: Mapping[str, Any], values: Sequence[Mapping[str, Any]], taken: Sequence[str]
) -> Definition:
    """The slot that the form's fields describe; what is of another kind is left out."""
    kind = fields["kind"]
    slot: Definition = {
        "name": fields["name"] or name_from(fields["title"], taken),
        "title": fields["title"],
        "description": fields["description"],
        "kind": kind,
        "question": fields["question"],
    }
    for key in (*_FIELDS_OF_KIND.get(kind, ()), "example", "keep", "may_skip"):
        # 0 is a least or a most like any other.
        if fields[key] or (fields[key] == 0 and fields[key] is not False):
            slot[key] = fields[key]
    if kind == "text" and fields["cues"]:
        slot["cues"] = commas(fields["cues"])
    if fields["from_intent"]:
        slot["values_from"] = {
            "intent": fields["from_intent"],
            "items": fields["from_items"],
            "value": fields["from_value"],
            "title": fields["from_title"],
        }
    elif kind == "categorical":
        slot["values"] = _values_from(values)
    return slot


def _values_from(rows: Sequence[Mapping[str, Any]]) -> list[Definition]:
    values: list[Definition] = []
    for row in rows:
        if not row.get("title"):
            continue
        name = row["name"] or name_from(row["title"], [value["name"] for value in values])
        value: Definition = {"name": name, "title": row["title"]}
        if row["synonyms"]:
            value["synonyms"] = commas(row["synonyms"])
        values.append(value)
    return values


# Intents ------------------------------------------------------------------------------------------

DOCUMENTS = "documents"
CALL = "call"


class IntentForm(PartForm):
    title = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    name = forms.CharField(
        label=gettext_lazy("Short name"),
        max_length=60,
        required=False,
        help_text=gettext_lazy("In lower-case letters. Made from the name if empty."),
    )
    description = forms.CharField(
        label=gettext_lazy("What people want with it"),
        max_length=500,
        help_text=gettext_lazy("The assistant reads this to recognise the wish."),
    )
    samples = forms.CharField(
        label=gettext_lazy("What people say"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=gettext_lazy("One sentence a line; ten good ones, in every language you serve."),
    )
    answered_by = forms.ChoiceField(
        label=gettext_lazy("Answered by"),
        choices=[
            (CALL, gettext_lazy("a call of the endpoint")),
            (DOCUMENTS, gettext_lazy("the workspace's documents")),
        ],
    )
    method = forms.ChoiceField(
        label=gettext_lazy("Method"),
        choices=[(method, method) for method in METHODS],
        required=False,
        help_text=gettext_lazy(
            "GET reads; every other one changes something and is confirmed first."
        ),
    )
    path = forms.CharField(
        label=gettext_lazy("Path"),
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"class": "code", "spellcheck": "false"}),
        help_text=gettext_lazy("Below the endpoint's address: /orders/{order_number}."),
    )
    confirm = forms.BooleanField(label=gettext_lazy("Ask for a yes first"), required=False)
    summary = forms.CharField(
        label=gettext_lazy("What is confirmed"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy(
            "With slots by short name; a part in [brackets] is left out when its slot has no value."
        ),
    )
    card = forms.ChoiceField(
        label=gettext_lazy("Show the answer as"),
        required=False,
        choices=[("", gettext_lazy("text only")), *((card, CARD_LABELS[card]) for card in CARDS)],
    )
    listing_items = forms.CharField(
        label=gettext_lazy("Field with a list"), max_length=60, required=False
    )
    listing_slot = forms.ChoiceField(label=gettext_lazy("Slot that it fills"), required=False)
    listing_value = forms.CharField(
        label=gettext_lazy("Field of an entry that is stored"), max_length=60, required=False
    )
    listing_title = forms.CharField(
        label=gettext_lazy("Field of an entry that people read"), max_length=60, required=False
    )

    def __init__(self, *args: Any, slots: Sequence[Definition] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["listing_slot"].choices = slot_choices(slots)  # type: ignore[attr-defined]


def slot_choices(slots: Sequence[Definition]) -> list[tuple[str, str]]:
    return [("", "–"), *((slot["name"], f"{slot['title']} ({slot['name']})") for slot in slots)]


class _WithSlots(forms.Form):
    def __init__(self, *args: Any, slots: Sequence[Definition] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["slot"].choices = slot_choices(slots)  # type: ignore[attr-defined]


class NeedForm(_WithSlots):
    slot = forms.ChoiceField(label=gettext_lazy("Slot"), required=False)
    need = forms.ChoiceField(
        label=gettext_lazy("Needed"),
        choices=[
            ("required", gettext_lazy("required, asked for in this order")),
            ("optional", gettext_lazy("optional, taken when it is said")),
        ],
        required=False,
    )


class ParameterForm(_WithSlots):
    place = forms.ChoiceField(
        label=gettext_lazy("Place"),
        choices=[
            ("query", gettext_lazy("in the address")),
            ("body", gettext_lazy("in the JSON body")),
        ],
        required=False,
    )
    field = forms.CharField(label=gettext_lazy("Parameter"), max_length=80, required=False)
    slot = forms.ChoiceField(label=gettext_lazy("Filled from"), required=False)
    sent_as = forms.ChoiceField(
        label=gettext_lazy("Sent as"),
        choices=[
            ("", gettext_lazy("as it is stored")),
            *((kind, RESULT_LABELS[kind]) for kind in SENT_TYPES),
        ],
        required=False,
    )


class ResultForm(_WithSlots):
    field = forms.CharField(label=gettext_lazy("Field"), max_length=80, required=False)
    kind = forms.ChoiceField(
        label=gettext_lazy("Type"),
        choices=[
            *((kind, RESULT_LABELS[kind]) for kind in RESULT_TYPES),
            ("", gettext_lazy("Any")),
        ],
        initial="text",
        required=False,
    )
    slot = forms.ChoiceField(label=gettext_lazy("Must repeat"), required=False)


class ReplyForm(forms.Form):
    on = forms.CharField(
        label=gettext_lazy("When the answer is"),
        max_length=60,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "ok, not_found, 404"}),
    )
    text = forms.CharField(
        label=gettext_lazy("The assistant says"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    ask_again = forms.CharField(
        label=gettext_lazy("Asks again for (short names)"), max_length=500, required=False
    )
    offer_person = forms.BooleanField(label=gettext_lazy("Offers a person"), required=False)


def intent_fields(intent: Definition) -> dict[str, Any]:
    action = intent.get("action") or {}
    listing = action.get("listing") or {}
    return {
        **{
            key: intent.get(key, "")
            for key in ("title", "name", "description", "summary", "confirm")
        },
        "samples": "\n".join(intent.get("samples", ())),
        "answered_by": CALL if action or not intent else DOCUMENTS,
        "method": action.get("method", "GET"),
        "path": action.get("path", ""),
        "card": action.get("card", ""),
        **{f"listing_{key}": listing.get(key, "") for key in ("items", "slot", "value", "title")},
    }


def intent_rows(intent: Definition) -> dict[str, list[dict[str, Any]]]:
    """The rows of the form's tables."""
    action = intent.get("action") or {}
    echoes = action.get("echoes", {})
    fields = list(dict.fromkeys((*action.get("result", {}), *echoes)))
    return {
        "needs": [
            {"slot": name, "need": need}
            for need in ("required", "optional")
            for name in intent.get(need, ())
        ],
        "parameters": [
            {
                "place": place,
                "field": field,
                "slot": slot,
                "sent_as": action.get("sent_as", {}).get(field, "") if place == "body" else "",
            }
            for place in ("query", "body")
            for field, slot in action.get(place, {}).items()
        ],
        "results": [
            {
                "field": field,
                "kind": action.get("result", {}).get(field, ""),
                "slot": echoes.get(field, ""),
            }
            for field in fields
        ],
        "replies": [
            {
                "on": key,
                "text": reply.get("text", ""),
                "ask_again": ", ".join(reply.get("ask_again", ())),
                "offer_person": reply.get("offer_person", False),
            }
            for key, reply in action.get("replies", {}).items()
        ]
        or [{"on": "ok"}],
    }


def intent_from(
    fields: Mapping[str, Any],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    taken: Sequence[str],
) -> Definition:
    """The intent that the form and its tables describe."""
    intent: Definition = {
        "name": fields["name"] or name_from(fields["title"], taken),
        "title": fields["title"],
        "description": fields["description"],
    }
    for need in ("required", "optional"):
        named = [row["slot"] for row in rows["needs"] if row.get("slot") and row["need"] == need]
        if named:
            intent[need] = list(dict.fromkeys(named))
    if fields["answered_by"] == CALL:
        changes = fields["method"] != "GET"
        if fields["confirm"] or changes:
            intent["confirm"] = True
        if fields["summary"]:
            intent["summary"] = fields["summary"]
        intent["action"] = _action_from(fields, rows)
    if samples := lines(fields["samples"]):
        intent["samples"] = samples
    return intent


def _action_from(
    fields: Mapping[str, Any], rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Definition:
    action: Definition = {"method": fields["method"], "path": fields["path"]}
    for place in ("query", "body"):
        mapped = {
            row["field"]: row["slot"]
            for row in rows["parameters"]
            if row.get("field") and row["place"] == place
        }
        if mapped:
            action[place] = mapped
    sent_as = {
        row["field"]: row["sent_as"]
        for row in rows["parameters"]
        if row.get("field") and row["place"] == "body" and row.get("sent_as")
    }
    if sent_as:
        action["sent_as"] = sent_as
    results = [row for row in rows["results"] if row.get("field")]
    if promised := {row["field"]: row["kind"] for row in results if row["kind"]}:
        action["result"] = promised
    if echoes := {row["field"]: row["slot"] for row in results if row["slot"]}:
        action["echoes"] = echoes
    action["replies"] = {row["on"]: _reply_from(row) for row in rows["replies"] if row.get("on")}
    if fields["card"]:
        action["card"] = fields["card"]
    if fields["listing_items"]:
        action["listing"] = {
            key: fields[f"listing_{key}"] for key in ("items", "slot", "value", "title")
        }
    return action


def _reply_from(row: Mapping[str, Any]) -> Definition:
    reply: Definition = {"text": row["text"]}
    if row["ask_again"]:
        reply["ask_again"] = commas(row["ask_again"])
    if row["offer_person"]:
        reply["offer_person"] = True
    return reply


# Whole pages of the editor --------------------------------------------------------------------------


class SlotPage:
    """The slot form with its table of values, bound or not."""

    def __init__(self, definition: Definition, slot: Definition | None, data: Any = None) -> None:
        self.before = slot or {}
        self.taken = [
            one["name"]
            for one in definition.get("slots", ())
            if one["name"] != self.before.get("name")
        ]
        self.form = SlotForm(
            data, initial=slot_fields(self.before), intents=definition.get("intents", ())
        )
        self.values = _table(ValueForm, "values", value_rows(self.before), data)

    def result(self) -> Definition | None:
        """The slot, or None with the reasons at the fields."""
        if not (self.form.is_valid() and self.values.is_valid()):
            return None
        slot = slot_from(self.form.cleaned_data, self.values.cleaned_data, self.taken)
        self.form.put_problems(problems_of_slot(slot))
        return None if self.form.errors else slot


class IntentPage:
    """The intent form with its tables: slots, parameters, fields of the answer, replies."""

    def __init__(self, definition: Definition, intent: Definition | None, data: Any = None) -> None:
        self.before = intent or {}
        self.slots = list(definition.get("slots", ()))
        self.taken = [
            one["name"]
            for one in definition.get("intents", ())
            if one["name"] != self.before.get("name")
        ]
        rows = intent_rows(self.before)
        self.form = IntentForm(data, initial=intent_fields(self.before), slots=self.slots)
        with_slots = {"slots": self.slots}
        self.needs = _table(NeedForm, "needs", rows["needs"], data, with_slots)
        self.parameters = _table(ParameterForm, "parameters", rows["parameters"], data, with_slots)
        self.results = _table(ResultForm, "results", rows["results"], data, with_slots)
        self.replies = _table(ReplyForm, "replies", rows["replies"], data)

    @property
    def tables(self) -> dict[str, Any]:
        return {
            "needs": self.needs,
            "parameters": self.parameters,
            "results": self.results,
            "replies": self.replies,
        }

    def result(self) -> Definition | None:
        valid = [self.form.is_valid(), *(table.is_valid() for table in self.tables.values())]
        if not all(valid):
            return None
        rows = {name: table.cleaned_data for name, table in self.tables.items()}
        intent = intent_from(self.form.cleaned_data, rows, self.taken)
        self.form.put_problems(_at_fields(problems_of_intent(intent, self.slots)))
        return None if self.form.errors else intent


def _at_fields(problems: Sequence[Problem]) -> list[Problem]:
    """Paths as the form's fields are called: `action.path` is `path` there."""
    return [
        Problem(problem.path[1:], problem.sentence) if problem.path[:1] == ("action",) else problem
        for problem in problems
    ]


def _table(
    form: type[forms.Form],
    prefix: str,
    rows: Sequence[Mapping[str, Any]],
    data: Any,
    form_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    made = forms.formset_factory(
        form, extra=SPARE_ROWS, max_num=MOST_ROWS, absolute_max=MOST_ROWS + 10
    )
    return made(data, initial=list(rows), prefix=prefix, form_kwargs=dict(form_kwargs or {}))
