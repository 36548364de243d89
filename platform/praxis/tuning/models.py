"""What fine-tuning keeps: data sets, runs, adapters, evaluations, and who put what in service."""

import uuid
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.files import FieldFile
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace

# A dot never occurs in a workspace's slug, so no two workspaces can make the same served name.
ADAPTER_NAME = RegexValidator(
    r"^[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9-]*\Z",
    _("An adapter's name is <workspace>.<name>, in lower-case letters, digits and hyphens."),
)


class Dataset(models.Model):
    """A named data set of a workspace; its content lives in numbered versions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="datasets")
    name = models.CharField(_("name"), max_length=120)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="dataset_name_once"),
            models.CheckConstraint(condition=~Q(name=""), name="dataset_has_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tuning:dataset", args=[self.workspace.slug, self.pk])


def dataset_path(version: "DatasetVersion", filename: str) -> str:
    """Where a version's file lies in the storage; nothing of the uploaded name is used."""
    return f"tuning/{version.dataset.workspace_id}/{version.pk}.jsonl"


def usable_path(version: "DatasetVersion", filename: str) -> str:
    return f"tuning/{version.dataset.workspace_id}/{version.pk}-usable.jsonl"


class DatasetVersion(models.Model):
    """One uploaded or collected file of conversations, never changed after it was stored."""

    class State(models.TextChoices):
        EXAMINING = "examining", _("Being examined")
        READY = "ready", _("Ready")
        UNUSABLE = "unusable", _("Unusable")

    class Origin(models.TextChoices):
        UPLOAD = "upload", _("Upload")
        CORRECTIONS = "corrections", _("Corrections")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    dataset = models.ForeignKey(Dataset, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    origin = models.CharField(max_length=12, choices=Origin.choices, default=Origin.UPLOAD)
    file = models.FileField(upload_to=dataset_path, max_length=200)
    usable_file = models.FileField(upload_to=usable_path, max_length=200, blank=True)
    """Its lines without an error, where some have one; else empty, and `file` is what is used."""
    file_name = models.CharField(max_length=200)
    """As the person called it; shown, never used as a path."""
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=State.choices, default=State.EXAMINING)
    job = models.OneToOneField("jobs.Job", models.SET_NULL, null=True, blank=True, related_name="+")
    """The examination, where the file was too large to examine during the upload."""
    report = models.JSONField(default=dict, blank=True)
    """Problems by line (the first of each file only), totals by code, token histogram."""
    rows = models.PositiveIntegerField(default=0)
    usable_rows = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    """Tokens of the usable lines."""
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_once"),
            models.CheckConstraint(
                condition=Q(state__in=["examining", "ready", "unusable"]),
                name="known_dataset_state",
            ),
            models.CheckConstraint(
                condition=Q(usable_rows__lte=F("rows")), name="usable_rows_are_rows"
            ),
            models.CheckConstraint(
                condition=~Q(state="ready") | Q(usable_rows__gt=0), name="ready_has_usable_rows"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset.name} v{self.number}"

    def get_absolute_url(self) -> str:
        return reverse("tuning:version", args=[self.dataset.workspace.slug, self.pk])

    @property
    def usable(self) -> FieldFile:
        """The lines that runs train on, as a file."""
        return self.usable_file or self.file

    @property
    def left_out(self) -> int:
        """Lines that no run trains on."""
        return self.rows - self.usable_rows


class TuningRun(models.Model):
    """One fine-tuning run: what it learns from, how, and what came of it. Its job has the state."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="tuning_runs")
    dataset_version = models.ForeignKey(DatasetVersion, models.RESTRICT, related_name="runs")
    job = models.OneToOneField("jobs.Job", models.RESTRICT, related_name="tuning_run")
    assistant = models.SlugField(_("assistant"), max_length=60)
    name = models.SlugField(_("name"), max_length=60)
    """The second part of the adapter's name."""
    recipe = models.JSONField()
    """The fields of `modeling.training.recipe.Recipe` that the person may choose."""
    result = models.JSONField(default=dict, blank=True)
    """What the trainer wrote at its end; empty before."""
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # The adapter's name follows from it, so a second run can't claim the same one.
            models.UniqueConstraint(fields=["workspace", "name"], name="run_name_once"),
        ]
        # The dashboard lists a workspace's newest runs first.
        indexes = [models.Index(fields=["workspace", "-created_at"], name="newest_runs")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("tuning:run", args=[self.workspace.slug, self.pk])

    @property
    def adapter_name(self) -> str:
        return f"{self.workspace.slug}.{self.name}"


class Adapter(models.Model):
    """A trained LoRA adapter in the registry. Only its own workspace may use it."""

    class State(models.TextChoices):
        REGISTERED = "registered", _("Registered")
        SERVING = "serving", _("Loaded in the model server")
        RETIRED = "retired", _("Retired")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="adapters")
    name = models.CharField(_("name"), max_length=121, unique=True, validators=[ADAPTER_NAME])
    """What the model server calls it: the `model` of a request."""
    run = models.OneToOneField(
        TuningRun, models.RESTRICT, null=True, blank=True, related_name="adapter"
    )
    base_model = models.CharField(_("base model"), max_length=200)
    directory = models.CharField(max_length=200, unique=True)
    """Relative to `var/adapters`."""
    sha256 = models.CharField(_("hash"), max_length=64)
    """Of MANIFEST.json, which holds the size and hash of every file."""
    size = models.PositiveBigIntegerField(_("size"))
    state = models.CharField(max_length=12, choices=State.choices, default=State.REGISTERED)
    figures = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["registered", "serving", "retired"]),
                name="known_adapter_state",
            ),
            # The target of the foreign key that keeps assistants to their workspace's adapters.
            models.UniqueConstraint(fields=["workspace", "id"], name="adapter_of_workspace"),
        ]

    def __str__(self) -> str:
        return self.name


class Evaluation(models.Model):
    """Figures of an adapter beside those of its base on the same text."""

    class Kind(models.TextChoices):
        HELD_OUT = "held_out", _("Held-out loss")

    adapter = models.ForeignKey(Adapter, models.CASCADE, related_name="evaluations")
    dataset_version = models.ForeignKey(
        DatasetVersion, models.RESTRICT, null=True, blank=True, related_name="evaluations"
    )
    kind = models.CharField(max_length=20, choices=Kind.choices)
    figures = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["adapter", "dataset_version", "kind"], name="evaluated_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.adapter} · {self.kind}"


class Promotion(models.Model):
    """An adapter (or the base model, None) that was put behind an assistant; the newest counts."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="promotions")
    assistant = models.SlugField(max_length=60)
    adapter = models.ForeignKey(
        Adapter, models.CASCADE, null=True, blank=True, related_name="promotions"
    )
    previous = models.ForeignKey(Adapter, models.SET_NULL, null=True, blank=True, related_name="+")
    """What one click returns to; None is the base model."""
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        # The newest of an assistant is looked up on the registry page and when returning.
        indexes = [models.Index(fields=["workspace", "assistant", "-at"], name="newest_promotion")]

    def __str__(self) -> str:
        return f"{self.assistant} → {self.adapter or 'base'}"


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    """The trainer's result without what only the machine needs (paths, file lists)."""
    return {
        key: value
        for key, value in result.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
