"""What a clinician and an administrator may enter."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _

from apps.medical.models import CaseReview, EmergencySettings


class CaseReviewForm(forms.ModelForm):
    class Meta:
        model = CaseReview
        fields = ("decision", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 5})}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        decision = data.get("decision")
        if decision in {"edited", "rejected"} and not data.get("text", "").strip():
            self.add_error(
                "text", _("Write what it should say, or why it is wrong, and send it again.")
            )
        return data


class EmergencySettingsForm(forms.ModelForm):
    class Meta:
        model = EmergencySettings
        fields = ("emergency_number", "crisis_line")
