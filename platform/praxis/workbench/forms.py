"""What an administrator sets in the workbench: where to search, and how."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.registry import all_assistants
from praxis.knowledge.access import corpora_of
from praxis.knowledge.models import Corpus
from praxis.knowledge.search import MAX_QUERY_CHARACTERS
from praxis.knowledge.search_settings import SearchSettings

MAX_EARLIER = 6


class QuestionForm(forms.Form):
    """The question, and who asks it where."""

    q = forms.CharField(
        label=gettext_lazy("Question"),
        required=False,
        max_length=MAX_QUERY_CHARACTERS,
        widget=forms.TextInput(
            attrs={
                "type": "search",
                "placeholder": gettext_lazy("A question that the documents should answer"),
            }
        ),
    )
    corpus = forms.ModelChoiceField(
        label=gettext_lazy("Corpus"),
        queryset=Corpus.objects.none(),
        required=False,
        empty_label=gettext_lazy("Every corpus"),
    )
    assistant = forms.ChoiceField(label=gettext_lazy("Searching assistant"), required=False)
    reader = forms.ChoiceField(
        label=gettext_lazy("With the rights of"),
        required=False,
        help_text=gettext_lazy("Access lists hide passages from those whom they don't name."),
    )
    earlier = forms.CharField(
        label=gettext_lazy("Questions before it"),
        required=False,
        max_length=MAX_EARLIER * MAX_QUERY_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("One a line, the oldest first; a follow-up leans on them."),
    )
    compare = forms.BooleanField(
        label=gettext_lazy("Compare with a second set of settings"), required=False
    )

    def __init__(self, data: Mapping[str, Any] | None, *, principal: Principal) -> None:
        super().__init__(data)
        corpus, assistant, reader = (
            self.fields[name] for name in ("corpus", "assistant", "reader")
        )
        assert isinstance(corpus, forms.ModelChoiceField)
        assert isinstance(assistant, forms.ChoiceField) and isinstance(reader, forms.ChoiceField)
        corpus.queryset = corpora_of(principal).order_by("name")
        assistant.choices = [
            ("", _("None: all that is there")),
            *((each.slug, each.title) for each in all_assistants()),
        ]
        reader.choices = [
            ("", _("myself")),
            *((role.value, role.label) for role in Role if principal.may(role)),
        ]

    def clean_earlier(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["earlier"].splitlines()]
        return [line for line in lines if line][-MAX_EARLIER:]


class SettingsForm(forms.Form):
    """`SearchSettings`, field for field; `cleaned` is the object once the form is valid."""

    fusion = forms.ChoiceField(
        label=gettext_lazy("Fusion"),
        choices=[
            ("score", gettext_lazy("by scores")),
            ("rank", gettext_lazy("by ranks (reciprocal)")),
        ],
    )
    vector_weight = forms.FloatField(
        label=gettext_lazy("Weight of the meaning"),
        widget=forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "1"}),
    )
    text_weight = forms.FloatField(
        label=gettext_lazy("Weight of the words"),
        widget=forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "1"}),
    )
    rerank = forms.BooleanField(label=gettext_lazy("Rerank the first fifty"), required=False)
    rerank_weight = forms.FloatField(
        label=gettext_lazy("Weight of the reranker"),
        widget=forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "1"}),
    )
    num_candidates = forms.IntegerField(label=gettext_lazy("Candidates of each leg"))
    ef_search = forms.IntegerField(
        label=gettext_lazy("Breadth in the vector index"),
        help_text=gettext_lazy("More is slower and misses less (ef_search)."),
    )
    min_relevance = forms.FloatField(
        label=gettext_lazy("Least relevance"),
        widget=forms.NumberInput(attrs={"step": "0.05", "min": "0", "max": "1"}),
    )
    neighbours = forms.IntegerField(
        label=gettext_lazy("Neighbours"),
        help_text=gettext_lazy("Passages before and after that are read along."),
    )
    parent = forms.BooleanField(
        label=gettext_lazy("Read the larger piece around a passage instead"), required=False
    )
    rewrite = forms.ChoiceField(
        label=gettext_lazy("Follow-up questions"),
        choices=[
            ("rules", gettext_lazy("searched with what they lean on")),
            ("off", gettext_lazy("searched as they are")),
        ],
    )
    filters = forms.CharField(
        label=gettext_lazy("Metadata filters"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "year = 2024, 2025"}),
        help_text=gettext_lazy(
            "One a line: name = value, or several values of which one is enough."
        ),
    )

    cleaned: SearchSettings

    def __init__(
        self, data: Mapping[str, Any] | None, *, prefix: str, stored: SearchSettings
    ) -> None:
        """Bound to `data` when that has settings under the prefix, else filled with the stored."""
        bound = data is not None and f"{prefix}-fusion" in data
        super().__init__(data if bound else None, prefix=prefix, initial=initial_of(stored))
        if not bound:
            self.cleaned = stored

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if not self.errors:
            try:
                self.cleaned = SearchSettings.from_dict(values)
            except ValidationError as error:
                for name, texts in error.message_dict.items():
                    self.add_error(name, texts)
        return values

    def clean_filters(self) -> dict[str, Any]:
        filters: dict[str, Any] = {}
        for line in self.cleaned_data["filters"].splitlines():
            if not line.strip():
                continue
            name, equals, values = line.partition("=")
            if not equals or not name.strip() or not values.strip():
                raise forms.ValidationError(
                    _("“%(line)s” is not of the form name = value."), params={"line": line[:80]}
                )
            read = [_value(part) for part in values.split(",") if part.strip()]
            filters[name.strip()] = read[0] if len(read) == 1 else read
        return filters

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong, as the field's label and the sentence."""
        return [
            (str(self.fields[name].label) if name in self.fields else "", str(error))
            for name, errors in self.errors.items()
            for error in errors
        ]


def initial_of(settings: SearchSettings) -> dict[str, Any]:
    values = settings.to_dict()
    values["filters"] = "\n".join(
        f"{name} = {', '.join(map(_written, wanted if isinstance(wanted, list) else [wanted]))}"
        for name, wanted in settings.filters.items()
    )
    return values


def _value(text: str) -> str | int | float | bool:
    """`2024` is a number and `true` a truth value, as in the documents' metadata; else a text."""
    text = text.strip()
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def _written(value: str | int | float | bool) -> str:
    """So that `_value` reads the same again: the text `2024` gets quotes."""
    return json.dumps(value) if not isinstance(value, str) or _value(value) != value else value
