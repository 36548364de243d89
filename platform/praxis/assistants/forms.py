from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.assistants.models import AssistantSettings


class AssistantSettingsForm(forms.ModelForm):
    """Thresholds are shown as probabilities from 0 to 1, as the confidence of an answer is."""

    class Meta:
        model = AssistantSettings
        fields = ("enabled", "lower_threshold", "upper_threshold")
        help_texts = {
            "lower_threshold": _("Below this confidence the assistant says that it is not sure."),
            "upper_threshold": _("From this confidence on, rules answer without the model."),
        }
        widgets = {
            name: forms.NumberInput(attrs={"min": "0", "max": "1", "step": "0.05"})
            for name in ("lower_threshold", "upper_threshold")
        }

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        lower, upper = data.get("lower_threshold"), data.get("upper_threshold")
        if lower is not None and upper is not None and not 0 <= lower <= upper <= 1:
            raise forms.ValidationError(
                _(
                    "The thresholds must lie in 0 to 1 and be in order; got %(lower)s and %(upper)s."
                ),
                params={"lower": lower, "upper": upper},
            )
        return data
