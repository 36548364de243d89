"""What a person sends to the conversation pages, beside the text of a message."""

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.conversations.models import Feedback


class FeedbackForm(forms.Form):
    thumb = forms.ChoiceField(choices=Feedback.Thumb.choices)
    correction = forms.CharField(
        label=_("What should it have said?"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class SearchForm(forms.Form):
    q = forms.CharField(required=False, max_length=200)
    show = forms.ChoiceField(
        required=False,
        choices=[("own", _("My own")), ("waiting", _("Waiting for a person")), ("all", _("All"))],
    )
