"""Answers that may be given again, and how often they were."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from praxis.accounts.models import Workspace
from praxis.conversations.models import Message


class CachedAnswer(models.Model):
    """A finished answer under everything that decided it (`scope`) and the question.

    `events` is a copy: the message's own may be corrected later. Deleting the message, or the
    conversation that it belongs to, deletes the entry.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    assistant = models.SlugField(max_length=60)
    scope = models.CharField(max_length=64)
    """Hash of all that decides an answer besides the question; see `services.scope_of`."""
    corpora = ArrayField(models.UUIDField())
    """Those that were searched; a change of one of them deletes the entry."""
    question = models.TextField()
    question_sha256 = models.CharField(max_length=64)
    """Of the question as `wording.normalised` leaves it."""
    meaning_sha256 = models.CharField(max_length=64, blank=True)
    """Of `wording.meaning`; empty where similar questions can't be told."""
    message = models.ForeignKey(Message, models.CASCADE, related_name="cached")
    events = models.JSONField()
    confidence = models.FloatField()
    """What the chain's proposal was sure of, for the arbiter."""
    chain = models.CharField(max_length=60)
    took_ms = models.FloatField()
    hits = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "question_sha256"], name="cached_question_once"
            ),
            models.CheckConstraint(
                condition=Q(confidence__gte=0) & Q(confidence__lte=1),
                name="cached_confidence_is_a_share",
            ),
        ]
        indexes = [
            # Similar questions.
            models.Index(fields=["scope", "meaning_sha256"], name="cached_meaning"),
            # The dashboard, and the eviction of those that were not used for longest.
            models.Index(fields=["workspace", "used_at"], name="cached_by_use"),
            # What a change of documents deletes.
            GinIndex(fields=["corpora"], name="cached_corpora"),
        ]

    def __str__(self) -> str:
        return f"{self.assistant}: {self.question[:40]}"


class CacheDay(models.Model):
    """How many of a day's questions that may be cached were answered from the cache."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    assistant = models.SlugField(max_length=60)
    day = models.DateField()
    exact = models.PositiveIntegerField(default=0)
    similar = models.PositiveIntegerField(default=0)
    missed = models.PositiveIntegerField(default=0)
    saved_ms = models.FloatField(default=0)
    """What the original answers took, less what the replays took."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "assistant", "day"], name="cache_day_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.assistant} on {self.day}"
