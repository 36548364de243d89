"""Service definitions, version by version, with the endpoint that does what they promise."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apps.customer_service.schema import Service, parse_service
from praxis.accounts.models import User, Workspace
from praxis.jobs.models import Job
from praxis.sealing import seal, unseal
from praxis.sentences import Sentence, from_json


class ServiceDefinitionQuerySet(models.QuerySet["ServiceDefinition"]):
    def published(self, workspace_id: str) -> "ServiceDefinitionQuerySet":
        """The versions that the workspace's assistant offers now."""
        return self.filter(workspace_id=workspace_id, published=True).order_by("name", "pk")


class ServiceDefinition(models.Model):
    """One version of a service. A published version never changes; a change makes a new one."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="service_definitions")
    name = models.CharField(_("name"), max_length=60)
    version = models.PositiveIntegerField(_("version"))
    definition = models.JSONField(_("definition"))
    published = models.BooleanField(_("published"), default=False)
    base_url = models.URLField(_("address of the endpoint"), max_length=300)
    secret_encrypted = models.BinaryField(default=b"")
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="service_definitions"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ServiceDefinitionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "name", "version"], name="service_version_once"
            ),
            models.UniqueConstraint(
                fields=["workspace", "name"],
                condition=Q(published=True),
                name="one_published_service_version",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def service(self) -> Service:
        return parse_service(self.definition)

    @property
    def secret(self) -> str:
        sealed = bytes(self.secret_encrypted)
        return unseal(sealed) if sealed else ""

    @secret.setter
    def secret(self, value: str) -> None:
        self.secret_encrypted = seal(value) if value else b""

    def publish(self) -> None:
        """Make this the version that the assistant offers."""
        with transaction.atomic():
            # Locks every version, so that two people who publish at once do it one by one.
            versions = ServiceDefinition.objects.select_for_update().filter(
                workspace_id=self.workspace_id, name=self.name
            )
            list(versions.values_list("pk", flat=True))
            versions.filter(published=True).exclude(pk=self.pk).update(published=False)
            versions.filter(pk=self.pk).update(published=True)
        self.published = True


class ServiceDraft(models.Model):
    """The next version of a service while it is being edited; it may still have problems."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="service_drafts")
    name = models.CharField(_("name"), max_length=60)
    definition = models.JSONField(_("definition"))
    base_url = models.URLField(_("address of the endpoint"), max_length=300, blank=True)
    secret_encrypted = models.BinaryField(default=b"")
    based_on = models.ForeignKey(
        ServiceDefinition, models.SET_NULL, null=True, blank=True, related_name="drafts"
    )
    """The version that it changes; None for a new service."""
    report = models.JSONField(default=list, blank=True)
    """What an import could not take over; `notes` are the sentences."""
    updated_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="service_drafts"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="one_draft_of_a_service"),
        ]

    def __str__(self) -> str:
        return f"draft of {self.name}"

    @property
    def notes(self) -> list[Sentence]:
        return [from_json(stored) for stored in self.report]

    @property
    def secret(self) -> str:
        sealed = bytes(self.secret_encrypted)
        return unseal(sealed) if sealed else ""

    @secret.setter
    def secret(self, value: str) -> None:
        self.secret_encrypted = seal(value) if value else b""


class IntentModel(models.Model):
    """A second stage of telling intents apart, tuned on a workspace's samples; see `second_stage`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="intent_models")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, blank=True, related_name="+")
    base = models.CharField(max_length=200)
    """The encoder that it was tuned from."""
    result = models.JSONField(default=dict, blank=True)
    """What the trainer wrote at its end; empty before."""
    sha256 = models.CharField(max_length=64, blank=True)
    """Of the encoder's MANIFEST.json; empty before it is trained."""
    in_use = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="intent_models"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace"], condition=Q(in_use=True), name="one_intent_model_in_use"
            ),
            models.CheckConstraint(
                condition=Q(in_use=False) | ~Q(sha256=""), name="intent_model_in_use_is_trained"
            ),
        ]

    def __str__(self) -> str:
        return f"intents of {self.workspace_id}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def name(self) -> str:
        return f"intents-{self.pk.hex}"

    @property
    def served_name(self) -> str:
        """The `model` of a request, and the name of its folder."""
        return f"{self.workspace.slug}.{self.name}"

    @property
    def state(self) -> str:
        """`trained`, `training`, or `failed`: its job ended without one. Reads the job."""
        if self.sha256:
            return "trained"
        return "training" if self.job and not self.job.is_finished else "failed"

    @property
    def was_better(self) -> bool:
        """Whether both stages were right more often on the held-out samples than the first alone,
        or as often and surer. Only of a trained one."""
        before, after = self.result["before"], self.result["after"]
        return bool(
            (after["accuracy"], -after["log_loss"]) > (before["accuracy"], -before["log_loss"])
        )

    @property
    def fits(self) -> bool:
        """Whether it was tuned from the encoder that this installation uses now."""
        return self.base == settings.EMBEDDING_MODEL

    @staticmethod
    def switch(workspace: Workspace, model: "IntentModel | None") -> None:
        """Let it be the one in use (None: none is). Call it in a transaction."""
        # Locks every row, so that two people who switch at once do it one by one.
        models = IntentModel.objects.select_for_update().filter(workspace=workspace)
        list(models.values_list("pk", flat=True))
        models.filter(in_use=True).update(in_use=False)
        if model is not None:
            models.filter(pk=model.pk).update(in_use=True)


def save_version(
    *,
    workspace: Workspace,
    definition: dict[str, Any],
    base_url: str,
    secret: str | None,
    created_by: User | None,
) -> ServiceDefinition:
    """Store a definition as the next version of its service, not yet published.

    `secret=None` takes the newest version's secret over. Raises `DefinitionError`.
    """
    name = parse_service(definition).name
    with transaction.atomic():
        Workspace.objects.select_for_update().get(pk=workspace.pk)
        newest = (
            ServiceDefinition.objects.filter(workspace=workspace, name=name)
            .order_by("-version")
            .first()
        )
        made = ServiceDefinition(
            workspace=workspace,
            name=name,
            version=newest.version + 1 if newest else 1,
            definition=definition,
            base_url=base_url,
            created_by=created_by,
        )
        if secret is not None:
            made.secret = secret
        elif newest:
            made.secret_encrypted = newest.secret_encrypted
        made.save()
    return made
