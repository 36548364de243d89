"""What an administrator types about corpora; uploads are checked in `services.add_document`."""

import json
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Role, User, Workspace
from praxis.assistants.registry import all_assistants
from praxis.knowledge.models import Corpus, Document
from praxis.knowledge.parsing.blocks import clean_line


class AccessField(forms.CharField):
    """An access list as one line: roles and user names, separated by commas.

    Cleans to entries of an access list (`role:admin`, `user:3`). Refuses a name that no member has.
    """

    def __init__(self, *, workspace: Workspace, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Who may read it"))
        kwargs.setdefault(
            "help_text",
            _(
                "Roles (owner, admin, agent, member; each includes the higher ones) and user names, "
                "separated by commas. Empty: everyone in the workspace."
            ),
        )
        super().__init__(required=False, **kwargs)
        self._workspace = workspace

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        users = {f"user:{user.pk}": user.username for user in self._members()}
        return ", ".join(users.get(entry, entry.removeprefix("role:")) for entry in value)

    def clean(self, value: Any) -> list[str]:
        text = super().clean(value)
        roles = {role.value for role in Role}
        users = {user.username.casefold(): user.pk for user in self._members()}
        entries = []
        for name in filter(None, (part.strip().casefold() for part in text.split(","))):
            if name in roles:
                entries.append(f"role:{name}")
            elif name in users:
                entries.append(f"user:{users[name]}")
            else:
                raise forms.ValidationError(
                    _("“%(name)s” is neither a role nor the user name of a member."),
                    params={"name": name},
                )
        return entries

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)

    def _members(self) -> QuerySet[User]:
        return User.objects.filter(memberships__workspace=self._workspace).order_by("username")


class MetadataField(forms.CharField):
    """Metadata as lines of `name: value`. Cleans to a dictionary; numbers and yes/no become such."""

    widget = forms.Textarea(attrs={"rows": 3})

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("label", _("Metadata"))
        kwargs.setdefault(
            "help_text",
            _("One “name: value” on each line, for filters of a search, for example “year: 2026”."),
        )
        super().__init__(required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{name}: {_as_typed(each)}" for name, each in value.items())

    def clean(self, value: Any) -> dict[str, Any]:
        entries = {}
        for line in filter(None, map(str.strip, super().clean(value).splitlines())):
            name, colon, text = (part.strip() for part in line.partition(":"))
            if not colon or not name or not text:
                raise forms.ValidationError(
                    _("“%(line)s” must be written as “name: value”."), params={"line": line}
                )
            entries[name] = _from_typed(text)
        return entries

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _from_typed(text: str) -> Any:
    """A JSON value if it is one (3, true, ["a"]), else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def changes_of(form: forms.ModelForm) -> dict[str, Any]:
    """What a valid form changes of its object."""
    return {name: form.cleaned_data[name] for name in form.changed_data}


class DocumentForm(forms.ModelForm):
    """What a document has of its own; its text comes from its file."""

    class Meta:
        model = Document
        fields = ["title", "access", "metadata"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        corpus = self.instance.corpus
        self.fields["access"] = AccessField(
            workspace=corpus.workspace,
            help_text=_(
                "Roles and user names, separated by commas. Empty: who may read the corpus."
            ),
        )
        self.fields["metadata"] = MetadataField()

    def clean_title(self) -> str:
        title: str = clean_line(self.cleaned_data["title"])
        others = self.instance.corpus.documents.filter(title=title, key="")
        if not self.instance.key and others.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(
                _("A document named “%(name)s” exists already; choose another name."),
                params={"name": title},
            )
        return title


class ImportForm(forms.Form):
    url = forms.URLField(label=_("Address"), max_length=2000, assume_scheme="https")
    source = forms.ChoiceField(
        label=_("What it is"),
        choices=[("page", _("One page or file")), ("site", _("A sitemap: every page it names"))],
        widget=forms.RadioSelect,
        initial="page",
    )


class CorpusForm(forms.ModelForm):
    assistants = forms.MultipleChoiceField(
        label=_("Assistants"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Which assistants search here; none chosen means all of them."),
    )

    class Meta:
        model = Corpus
        fields = ["name", "description", "assistants", "access", "metadata"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.workspace = workspace
        field = self.fields["assistants"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(each.slug, each.title) for each in all_assistants()]
        self.fields["access"] = AccessField(workspace=workspace)
        self.fields["metadata"] = MetadataField()

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Corpus.objects.filter(workspace=self.instance.workspace, name=name)
        if others.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(
                _("A corpus named “%(name)s” exists already; choose another name."),
                params={"name": name},
            )
        return name
