from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Role, Workspace
from praxis.conversations.services import offered_assistants
from praxis.integrations.events import EVENT_NAMES
from praxis.integrations.keys import SCOPES


class ApiKeyForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("What will use the key."))
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.MEMBER)
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"),
        choices=[(scope, scope) for scope in SCOPES],
        widget=forms.CheckboxSelectMultiple,
        initial=["chat", "conversations:read", "conversations:write"],
    )
    expires_at = forms.DateTimeField(
        label=_("Expires"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text=_("Empty: never."),
    )


class WebhookForm(forms.Form):
    url = forms.URLField(label=_("Address"), max_length=500, assume_scheme="https")
    description = forms.CharField(label=_("Description"), max_length=120, required=False)
    event_names = forms.MultipleChoiceField(
        label=_("Events"),
        choices=[(name, name) for name in EVENT_NAMES],
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text=_("None chosen: every event."),
    )


class ChannelForm(forms.Form):
    name = forms.SlugField(
        label=_("Name"), max_length=24, help_text=_("A part of the address: letters, digits, “-”.")
    )
    assistant = forms.ChoiceField(label=_("Assistant"))
    reply_url = forms.URLField(
        label=_("Address for replies"),
        max_length=500,
        required=False,
        assume_scheme="https",
        help_text=_(
            "Answers and agents' words are sent there as signed webhooks. Empty: answers stand in "
            "the response to each message, and agents can't reach the person."
        ),
    )

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["assistant"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(one.slug, str(one.title)) for one in offered_assistants(workspace)]
