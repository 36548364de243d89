"""The golden set: questions with what search should find, and how well it did over time."""

import uuid
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace
from praxis.jobs.models import Job
from praxis.knowledge.models import Corpus, Document

QUESTION_CHARACTERS = 500
QUOTE_CHARACTERS = 400


class GoldenQuestion(models.Model):
    """A question whose right passages or documents are known."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="golden_questions")
    corpus = models.ForeignKey(
        Corpus, models.CASCADE, null=True, blank=True, related_name="golden_questions"
    )
    """Where it is searched; None is every corpus of the workspace."""
    text = models.CharField(_("question"), max_length=QUESTION_CHARACTERS)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "corpus", "text"],
                nulls_distinct=False,
                name="golden_question_once",
            ),
            models.CheckConstraint(condition=~models.Q(text=""), name="golden_question_has_text"),
        ]

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Prefetch `expected__document` for many."""
        return {
            "id": str(self.pk),
            "question": self.text,
            "corpus_id": str(self.corpus_id) if self.corpus_id else None,
            "expected": [
                {
                    "document_id": str(each.document_id),
                    "title": each.document.title,
                    "passage": each.quote,
                }
                for each in self.expected.all()
            ],
        }


class Expectation(models.Model):
    """A document that a question should find, or one passage of it.

    The passage is kept as its words, not as a place: it still counts when a new version of the
    document moves it or the text is cut otherwise.
    """

    question = models.ForeignKey(GoldenQuestion, models.CASCADE, related_name="expected")
    document = models.ForeignKey(Document, models.CASCADE, related_name="+")
    quote = models.CharField(max_length=QUOTE_CHARACTERS, blank=True)
    """The beginning of the passage; empty means anywhere in the document."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["question", "document", "quote"], name="expectation_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.document}: {self.quote or '*'}"


class GoldenRun(models.Model):
    """The golden set searched once: the settings, the content's version, and the scores."""

    class Origin(models.TextChoices):
        ASKED = "asked", _("asked for")
        SETTINGS = "settings", _("settings changed")
        CONTENT = "content", _("content changed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="golden_runs")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, blank=True, related_name="+")
    origin = models.CharField(max_length=10, choices=Origin.choices)
    tried = models.JSONField(null=True, blank=True)
    """Settings that were tried instead of the stored ones; None means the stored ones."""
    stored = models.JSONField(default=list)
    """The stored settings then: `{"corpus": name or "", "values": {…}}` for the workspace and each corpus
    with settings of its own."""
    encoder = models.CharField(max_length=200, blank=True)
    content_version = models.PositiveBigIntegerField(default=0)
    """Sum of the corpora's; the same number means the same content."""
    num_questions = models.PositiveIntegerField(default=0)
    figures = models.JSONField(null=True, blank=True)
    """`ndcg10`, `recall10`, `recall50`, `mrr` from 0 to 1, `ms_p95`; None until it is done."""
    results = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    """For each question its figures and the places (from 1) of what was expected, null if it was
    not among the first hundred."""
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(origin__in=["asked", "settings", "content"]),
                name="golden_run_origin_known",
            )
        ]
        indexes = [models.Index(fields=["workspace", "-created_at"], name="golden_run_newest")]

    def __str__(self) -> str:
        return f"{self.workspace} {self.created_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        return reverse("workbench:run", args=[self.workspace.slug, self.pk])

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.pk),
            "origin": self.origin,
            "state": self.job.state if self.job else None,
            "job_id": str(self.job_id) if self.job_id else None,
            "tried": self.tried,
            "stored": self.stored,
            "encoder": self.encoder,
            "content_version": self.content_version,
            "questions": self.num_questions,
            "figures": self.figures,
            "created_at": self.created_at.isoformat(),
        }
