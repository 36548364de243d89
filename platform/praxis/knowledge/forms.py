"""What an administrator types about corpora; uploads are checked in `services.add_document`."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace
from praxis.assistants.registry import all_assistants
from praxis.knowledge.models import Corpus


class CorpusForm(forms.ModelForm):
    assistants = forms.MultipleChoiceField(
        label=_("Assistants"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Which assistants search here; none chosen means all of them."),
    )

    class Meta:
        model = Corpus
        fields = ["name", "description", "assistants"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.workspace = workspace
        field = self.fields["assistants"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(each.slug, each.title) for each in all_assistants()]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Corpus.objects.filter(workspace=self.instance.workspace, name=name)
        if others.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(
                _("A corpus named “%(name)s” exists already; choose another name."),
                params={"name": name},
            )
        return name
