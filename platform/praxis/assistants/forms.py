from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.assistants.models import AssistantSettings

LONGEST_HOURS = 8760


class AssistantSettingsForm(forms.ModelForm):
    """Thresholds are shown as probabilities from 0 to 1, as the confidence of an answer is."""

    class Meta:
        model = AssistantSettings
        fields = (
            "enabled",
            "lower_threshold",
            "upper_threshold",
            "documents_threshold",
            "documents",
            "cache_answers",
            "cache_similar",
            "cache_hours",
        )
        help_texts = {
            "lower_threshold": _("Below this confidence the assistant says that it is not sure."),
            "upper_threshold": _("From this confidence on, rules answer without the model."),
            "documents_threshold": _(
                "Below this confidence in the best passage the assistant says that the documents "
                "don't answer."
            ),
            "documents": _(
                "Quotes are always right about what the document says. The model's sentences read "
                "more easily; each is checked against the documents, and those without support are "
                "marked."
            ),
            "cache_answers": _(
                "The first question of a conversation gets the answer that it got before, as long "
                "as documents, rights and model are the same."
            ),
            "cache_similar": _(
                "Questions that differ only in wording, never in a number or a name."
            ),
            "cache_hours": _("1 to 8760; afterwards the question is answered anew."),
        }
        widgets = {
            name: forms.NumberInput(attrs={"min": "0", "max": "1", "step": "0.05"})
            for name in ("lower_threshold", "upper_threshold", "documents_threshold")
        } | {"cache_hours": forms.NumberInput(attrs={"min": "1", "max": "8760"})}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        hours = data.get("cache_hours")
        if hours is not None and not 1 <= hours <= LONGEST_HOURS:
            self.add_error(
                "cache_hours",
                _("Give 1 to %(most)s hours; got %(hours)s.")
                % {"most": LONGEST_HOURS, "hours": hours},
            )
        documents = data.get("documents_threshold")
        if documents is not None and not 0 <= documents <= 1:
            self.add_error(
                "documents_threshold",
                _("Give a figure from 0 to 1; got %(given)s.") % {"given": documents},
            )
        lower, upper = data.get("lower_threshold"), data.get("upper_threshold")
        if lower is not None and upper is not None and not 0 <= lower <= upper <= 1:
            raise forms.ValidationError(
                _(
                    "The thresholds must lie in 0 to 1 and be in order; got %(lower)s and %(upper)s."
                ),
                params={"lower": lower, "upper": upper},
            )
        return data
