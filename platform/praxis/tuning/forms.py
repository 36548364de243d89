"""What a person may enter on the fine-tuning pages; the forms validate and don't save."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import RegexValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace
from praxis.assistants.contract import Text
from praxis.assistants.registry import all_assistants
from praxis.tuning.bases import is_mixture
from praxis.tuning.encoders import Choices as EncoderChoices
from praxis.tuning.models import DatasetVersion, TuningRun
from praxis.tuning.runs import Choices

MAX_UPLOAD_BYTES = 512 * 1024 * 1024


def assistant_choices() -> list[tuple[str, str]]:
    return [(assistant.slug, str(assistant.title)) for assistant in all_assistants()]


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1024 / 1024:.0f} MB"


def _name_field(label: Text) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=60,
        validators=[
            RegexValidator(
                r"^[a-z0-9][a-z0-9-]*\Z",
                _("Use lower-case letters, digits and hyphens, such as refunds-2."),
            )
        ],
        help_text=_("Lower-case letters, digits and hyphens, such as refunds-2."),
    )


class UploadForm(forms.Form):
    """A file for a new data set, or a new version of one that has the name already."""

    name = forms.CharField(
        label=_("Name of the data set"),
        max_length=120,
        help_text=_("A name that exists already gets the file as its next version."),
    )
    file = forms.FileField(
        label=_("JSONL file"),
        allow_empty_file=True,
        help_text=_(
            'One conversation on each line: {"messages": [{"role": "user", "content": "…"}, '
            '{"role": "assistant", "content": "…"}]}'
        ),
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.txt"}),
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if not file.size:
            raise ValidationError(
                gettext("The file %(name)s is empty. Write one conversation on each line.")
                % {"name": file.name}
            )
        if file.size > MAX_UPLOAD_BYTES:
            raise ValidationError(
                gettext(
                    "The file has %(size)s; allowed are %(allowed)s. Split it into several sets."
                )
                % {"size": _megabytes(file.size), "allowed": _megabytes(MAX_UPLOAD_BYTES)}
            )
        return file


class CorrectionsForm(forms.Form):
    """Which assistant's corrections to collect, and where to put them."""

    assistant = forms.ChoiceField(label=_("Assistant"), choices=assistant_choices)
    name = forms.CharField(
        label=_("Name of the data set"),
        max_length=120,
        help_text=_("A name that exists already gets the corrections as its next version."),
    )
    reviewed_only = forms.BooleanField(
        label=_("Only corrections that a reviewer accepted"), required=False
    )


class LaunchForm(forms.Form):
    """One run: what to learn from, for which assistant, and how."""

    dataset_version = forms.ModelChoiceField(
        label=_("Data set"),
        queryset=DatasetVersion.objects.none(),
        empty_label=None,
    )
    assistant = forms.ChoiceField(label=_("For the assistant"), choices=assistant_choices)
    name = _name_field(_("Name of the adapter"))
    rank = forms.IntegerField(
        label=_("Rank"),
        min_value=1,
        max_value=256,
        initial=16,
        help_text=_(
            "Size of the adapter. 8 to 32 suits most data; more learns more and costs more."
        ),
    )
    alpha = forms.IntegerField(
        label=_("Alpha"),
        min_value=1,
        max_value=1024,
        initial=32,
        help_text=_("How strongly the adapter acts; usually twice the rank."),
    )
    epochs = forms.FloatField(
        label=_("Passes over the data"),
        min_value=0.01,
        max_value=100,
        initial=3,
        help_text=_("Two to four passes. More makes the model repeat the data by heart."),
    )
    steps = forms.IntegerField(
        label=_("Steps"),
        min_value=1,
        max_value=1_000_000,
        required=False,
        help_text=_("Leave empty to follow the passes; a number here overrides them."),
    )
    learning_rate = forms.FloatField(
        label=_("Learning rate"),
        min_value=1e-7,
        max_value=0.1,
        initial=2e-4,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("Highest rate after the warm-up. LoRA usually takes 0.00001 to 0.001."),
    )
    schedule = forms.ChoiceField(
        label=_("Schedule"),
        choices=[
            ("cosine", _("Cosine down to a tenth")),
            ("step", _("Half the rate every 100 steps")),
        ],
        initial="cosine",
        help_text=_("How the rate falls after the warm-up, the first twentieth of the steps."),
    )
    max_tokens = forms.TypedChoiceField(
        label=_("Longest conversation in tokens"),
        coerce=int,
        choices=[(limit, str(limit)) for limit in (256, 512, 1024, 2048, 4096, 8192)],
        initial=1024,
        help_text=_("Longer conversations are left out. Longer sequences need more memory."),
    )
    evaluation_share = forms.FloatField(
        label=_("Share held out"),
        min_value=0,
        max_value=0.5,
        initial=0.05,
        widget=forms.NumberInput(attrs={"step": "0.01"}),
        help_text=_(
            "Conversations that are not learnt, to measure whether the model really got better."
        ),
    )

    experts = forms.BooleanField(
        label=_("Adapt the experts too"),
        required=False,
        help_text=_(
            "The base is a mixture of experts. Its routed experts learn too, not only attention and "
            "what all words share; the adapter gets much larger."
        ),
    )

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.workspace = workspace
        if not is_mixture():
            del self.fields["experts"]
        versions = self.fields["dataset_version"]
        assert isinstance(versions, forms.ModelChoiceField)
        versions.queryset = (
            DatasetVersion.objects.filter(
                dataset__workspace=workspace, state=DatasetVersion.State.READY
            )
            .select_related("dataset")
            .order_by("-created_at", "pk")
        )

    @property
    def has_data(self) -> bool:
        versions = self.fields["dataset_version"]
        assert isinstance(versions, forms.ModelChoiceField)
        return versions.queryset is not None and versions.queryset.exists()

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if TuningRun.objects.filter(workspace=self.workspace, name=name).exists():
            raise ValidationError(
                gettext("A run named %(name)s exists already; choose another name.")
                % {"name": name}
            )
        return name

    def choices(self) -> Choices:
        """The recipe's part of the form, after validation."""
        data = self.cleaned_data
        return Choices(
            rank=data["rank"],
            alpha=data["alpha"],
            epochs=data["epochs"],
            steps=data["steps"] or 0,
            learning_rate=data["learning_rate"],
            schedule=data["schedule"],
            max_tokens=data["max_tokens"],
            evaluation_share=data["evaluation_share"],
            experts=data.get("experts", False),
        )


class EncoderForm(forms.Form):
    """One encoder to be tuned for the workspace's search."""

    name = _name_field(_("Name of the encoder"))
    from_documents = forms.IntegerField(
        label=_("Pairs from the documents"),
        min_value=0,
        max_value=10_000,
        initial=1000,
        help_text=_(
            "At most so many, beside the golden questions and what people said of answers."
        ),
    )
    epochs = forms.FloatField(
        label=_("Passes over the pairs"),
        min_value=0.1,
        max_value=20,
        initial=2,
        help_text=_("One to three passes; more learns the pairs by heart."),
    )
    learning_rate = forms.FloatField(
        label=_("Learning rate"),
        min_value=1e-7,
        max_value=1e-2,
        initial=2e-5,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("Highest rate after the warm-up. Encoders usually take 0.00001 to 0.0001."),
    )

    def choices(self) -> EncoderChoices:
        data = self.cleaned_data
        return EncoderChoices(
            epochs=data["epochs"],
            learning_rate=data["learning_rate"],
            from_documents=data["from_documents"],
        )


class PromoteForm(forms.Form):
    """Which assistant an adapter is put behind."""

    assistant = forms.ChoiceField(label=_("Assistant"), choices=assistant_choices)


class LensPromptForm(forms.Form):
    """A question to follow through the experts."""

    question = forms.CharField(
        label=_("Question"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("It is read as the model reads it in a chat, and not stored."),
    )


class LensDataForm(forms.Form):
    """Data sets to compare by the experts that work on them."""

    versions = forms.ModelMultipleChoiceField(
        label=_("Data sets"),
        queryset=DatasetVersion.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The beginning of each is read, up to six; it takes some seconds."),
    )

    def __init__(self, *args: Any, workspace: Workspace, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["versions"].queryset = (  # type: ignore[attr-defined]
            DatasetVersion.objects.filter(
                dataset__workspace=workspace, state=DatasetVersion.State.READY
            )
            .select_related("dataset")
            .order_by("dataset__name", "-number")
        )

    def clean_versions(self) -> list[DatasetVersion]:
        versions = list(self.cleaned_data["versions"])
        if len(versions) > 6:
            raise ValidationError(
                gettext("Choose at most 6 data sets, not %(number)s.") % {"number": len(versions)}
            )
        return versions
