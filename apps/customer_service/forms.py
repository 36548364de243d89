"""The service editor: a definition as checked JSON, its endpoint, and a message to try."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.customer_service.json_lines import parse_json, place_problems
from apps.customer_service.schema import DefinitionError, Service, parse_service

LARGEST_DEFINITION = 200_000


class DefinitionForm(forms.Form):
    """`problems` lists what is wrong with the definition as (line, message), after validation."""

    definition = forms.CharField(
        label=gettext_lazy("Definition (JSON)"),
        max_length=LARGEST_DEFINITION,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 30, "spellcheck": "false", "class": "code"}),
        help_text=gettext_lazy("Intents, slots and actions; see the guide “Define a service”."),
    )
    base_url = forms.URLField(
        label=gettext_lazy("Address of the endpoint"),
        max_length=300,
        assume_scheme="https",
        help_text=gettext_lazy("Actions are called below this address and nowhere else."),
    )
    secret = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=500,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Sent as a bearer token. Leave it empty to keep the present one."),
    )

    def __init__(self, *args: Any, only_name: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.only_name = only_name
        self.problems: list[tuple[int, str]] = []
        self.service: Service | None = None
        self.data_of_definition: dict[str, Any] = {}

    def clean_base_url(self) -> str:
        url: str = self.cleaned_data["base_url"]
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
            raise forms.ValidationError(
                _(
                    "Give an http or https address without user name, query or fragment, like "
                    "https://orders.example.com/api."
                )
            )
        return url

    def clean_definition(self) -> str:
        text: str = self.cleaned_data["definition"]
        data, self.problems = parse_json(text)
        if not self.problems:
            try:
                self.service = parse_service(data)
                self.data_of_definition = data
            except DefinitionError as error:
                self.problems = place_problems(text, error.problems)
        if self.service and self.only_name and self.service.name != self.only_name:
            self.problems = [
                (1, _("name must stay %(name)s in a new version.") % {"name": self.only_name})
            ]
        if self.problems:
            raise forms.ValidationError(_("The definition can't be used yet; see the lines below."))
        return text


class TryForm(forms.Form):
    message = forms.CharField(
        label=gettext_lazy("A customer's message"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
