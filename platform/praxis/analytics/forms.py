from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.analytics.figures import LONGEST_DAYS, Period
from praxis.assistants.registry import all_assistants

DEFAULT_DAYS = 30
PRESETS = (7, 30, 90)


class PeriodForm(forms.Form):
    """`days` up to today, or `first` and `last`; and one assistant, or all."""

    days = forms.IntegerField(min_value=1, max_value=LONGEST_DAYS, required=False)
    first = forms.DateField(
        label=_("First day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    last = forms.DateField(
        label=_("Last day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    assistant = forms.ChoiceField(label=_("Assistant"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["assistant"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("All")), *((one.slug, one.title) for one in all_assistants())]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        first, last = found.get("first"), found.get("last")
        if first and last and not 0 <= (last - first).days < LONGEST_DAYS:
            raise forms.ValidationError(
                _("The period must end after it begins and have at most %(limit)s days.")
                % {"limit": LONGEST_DAYS}
            )
        return found

    def filled_in(self) -> "PeriodForm":
        """The form as the page shows it: with the days that were meant."""
        period = self.period()
        data = {
            "first": period.first.isoformat(),
            "last": period.last.isoformat(),
            "assistant": self.cleaned_data["assistant"],
        }
        return PeriodForm(data)

    def period(self) -> Period:
        """What was chosen; the last `DEFAULT_DAYS` days for nothing or half of a period."""
        chosen = self.cleaned_data
        if chosen.get("first") and chosen.get("last"):
            return Period(first=chosen["first"], last=chosen["last"])
        return Period.of_days(chosen.get("days") or DEFAULT_DAYS)
