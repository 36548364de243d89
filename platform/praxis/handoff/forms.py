from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.handoff.models import CannedAnswer, InboxSettings


class InboxSettingsForm(forms.ModelForm):
    class Meta:
        model = InboxSettings
        fields = ["first_response_minutes", "mail_agents", "ask_for_rating"]

    first_response_minutes = forms.IntegerField(
        label=_("first answer within (minutes)"), min_value=1, max_value=10_080
    )


class CannedAnswerForm(forms.ModelForm):
    class Meta:
        model = CannedAnswer
        fields = ["name", "text"]
        widgets = {"text": forms.Textarea(attrs={"rows": 3})}
