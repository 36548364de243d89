"""Forms around the editor's parts: the definition as JSON, a rehearsal's message, files to import."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.customer_service.editing import checked_address
from apps.customer_service.importing import Imported, from_files
from apps.customer_service.json_lines import parse_json, place_problems
from apps.customer_service.schema import DefinitionError, parse_service

LARGEST_DEFINITION = 200_000
LARGEST_IMPORT = 2_000_000
"""Bytes of all files of one import together."""


class DefinitionForm(forms.Form):
    """`problems` lists what is wrong with the definition as (line, message), after validation."""

    definition = forms.CharField(
        label=gettext_lazy("Definition (JSON)"),
        max_length=LARGEST_DEFINITION,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 30, "spellcheck": "false", "class": "code"}),
        help_text=gettext_lazy("Intents, slots and actions; see the guide “Define a service”."),
    )

    def __init__(self, *args: Any, only_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.only_name = only_name
        self.problems: list[tuple[int, str]] = []
        self.data_of_definition: dict[str, Any] = {}

    def clean_definition(self) -> str:
        text: str = self.cleaned_data["definition"]
        data, self.problems = parse_json(text)
        if not self.problems:
            try:
                name = parse_service(data).name
                self.data_of_definition = data
                if name != self.only_name:
                    self.problems = [(1, _("name must stay %(name)s.") % {"name": self.only_name})]
            except DefinitionError as error:
                self.problems = place_problems(text, error.problems)
        if self.problems:
            raise forms.ValidationError(_("The definition can't be used yet; see the lines below."))
        return text


class RehearsalForm(forms.Form):
    message = forms.CharField(
        label=gettext_lazy("A customer's message"),
        max_length=1000,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    against = forms.ChoiceField(
        label=gettext_lazy("Actions"),
        choices=[
            ("dry", gettext_lazy("are not sent (dry run)")),
            ("endpoint", gettext_lazy("are sent to the endpoint")),
        ],
    )


class _Files(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """Several files, as a list."""

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        return [super(_FilesField, self).clean(one, initial) for one in data or [None]]


class ImportForm(forms.Form):
    sources = _FilesField(
        label=gettext_lazy("Files"),
        widget=_Files(attrs={"accept": ".json,.yml,.yaml"}),
        help_text=gettext_lazy(
            "An OpenAPI 3 description, or Rasa's domain.yml with nlu.yml, or an exported service."
        ),
    )
    base_url = forms.URLField(
        label=gettext_lazy("Address of the endpoint"),
        max_length=300,
        required=False,
        assume_scheme="https",
        help_text=gettext_lazy("Empty: the first server of the OpenAPI description."),
    )

    def clean_base_url(self) -> str:
        url: str = self.cleaned_data["base_url"]
        return checked_address(url) if url else ""

    def clean_sources(self) -> list[tuple[str, bytes]]:
        files = self.cleaned_data["sources"]
        if sum(file.size for file in files) > LARGEST_IMPORT:
            raise forms.ValidationError(
                _("The files may have %(limit)s bytes together.") % {"limit": LARGEST_IMPORT}
            )
        return [(file.name, file.read()) for file in files]

    def imported(self) -> Imported:
        """Raises `ImportRefused`."""
        return from_files(self.cleaned_data["sources"])
