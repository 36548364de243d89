from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.conversations.services import offered_assistants
from praxis.widget.models import Widget

MOST_ORIGINS = 20


def clean_origin(text: str) -> str:
    """Scheme, host and port in the form that browsers compare. Raises `ValidationError`."""
    problem = forms.ValidationError(
        _("“%(given)s” is no origin. Write scheme and host, like https://shop.example.org."),
        params={"given": text[:200]},
    )
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise problem from error
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not plain or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise problem
    host = str(parts.hostname)
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise problem from error
    # What ends up in a header must not be able to say more than an origin: no "*", no ";".
    if not all(character.isalnum() or character in ".-:" for character in host):
        raise problem
    shown = f"[{host}]" if ":" in host else host
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{shown}" + ("" if usual else f":{port}")


class WidgetForm(forms.ModelForm):
    class Meta:
        model = Widget
        fields = ["name", "assistant", "origins", "greeting", "colour", "language", "enabled"]
        widgets = {"greeting": forms.Textarea(attrs={"rows": 2})}
        help_texts = {
            "greeting": _("What visitors read before they write. Empty: the assistant's own line."),
            "colour": _("Of the button and the head of the chat. The text on it adapts."),
        }

    assistant = forms.ChoiceField(label=_("Assistant"))
    origins = forms.CharField(
        label=_("Sites that may show it"),
        help_text=_("One origin a line: scheme and host, like https://shop.example.org."),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    colour = forms.RegexField(
        label=_("Colour"),
        regex=r"\A#[0-9a-fA-F]{6}\Z",
        error_messages={"invalid": _("Write the colour as # and six digits, like #0f6b5c.")},
        widget=forms.TextInput(attrs={"type": "color"}),
    )
    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        choices=[("", _("As the page, else as the browser")), *Widget.Language.choices],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["assistant"]
        assert isinstance(field, forms.ChoiceField)
        offered = offered_assistants(self.instance.workspace)
        field.choices = [(one.slug, str(one.title)) for one in offered]
        if self.instance.origins:
            self.initial["origins"] = "\n".join(self.instance.origins)

    def clean_colour(self) -> str:
        return str(self.cleaned_data["colour"]).lower()

    def clean_origins(self) -> list[str]:
        lines = self.cleaned_data["origins"].split()
        if len(lines) > MOST_ORIGINS:
            raise forms.ValidationError(
                _("There are %(count)s origins; at most %(limit)s are allowed."),
                params={"count": len(lines), "limit": MOST_ORIGINS},
            )
        return list(dict.fromkeys(clean_origin(line) for line in lines))
