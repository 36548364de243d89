"""Agreements that were drafted, each version as it was."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.urls import reverse

from apps.legal.drafting import assemble, review
from praxis.accounts.models import Workspace
from praxis.conversations.models import Conversation


class Draft(models.Model):
    """One version of an agreement from one conversation. Other answers make another version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="legal_drafts")
    conversation = models.ForeignKey(
        Conversation, models.SET_NULL, null=True, related_name="legal_drafts"
    )
    number = models.PositiveIntegerField()
    values = models.JSONField()
    """The interview's answers by question key; the text is assembled from them."""
    findings = models.JSONField(default=list)
    """What the check of defined terms found, as `Finding.to_dict()`."""
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    reviewed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "number"], name="one_draft_per_number"),
        ]
        # The workspace's list, the newest first.
        indexes = [models.Index(fields=["workspace", "-created_at"], name="drafts_newest")]

    def __str__(self) -> str:
        return f"{self.values['party_a']} / {self.values['party_b']} ({self.number})"

    def get_absolute_url(self) -> str:
        return reverse("legal:draft", args=[self.workspace.slug, self.pk])


def save_draft(*, conversation_id: str, values: dict[str, Any]) -> Draft:
    """The conversation's draft for these answers; the same answers give the same draft."""
    findings = [finding.to_dict() for finding in review(assemble(values), values)]
    with transaction.atomic():
        conversation = (
            Conversation.objects.select_for_update(of=["self"])
            .select_related("workspace")
            .get(pk=conversation_id)
        )
        newest = conversation.legal_drafts.order_by("-number").first()
        if newest is not None and newest.values == values:
            return newest
        return Draft.objects.create(
            workspace=conversation.workspace,
            conversation=conversation,
            number=newest.number + 1 if newest else 1,
            values=values,
            findings=findings,
        )
