"""What a workspace chose for each assistant."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace


class AssistantSettings(models.Model):
    """Thresholds, adapter and availability of one assistant in one workspace."""

    class Documents(models.TextChoices):
        """Who words an answer from documents; see `contract.Chain.documents`."""

        QUOTE = "quote", _("quote them word for word")
        MODEL = "model", _("let the model put them in its own words")

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="assistant_settings")
    assistant = models.SlugField(max_length=60)
    enabled = models.BooleanField(_("enabled"), default=True)
    lower_threshold = models.FloatField(_("abstains below"))
    upper_threshold = models.FloatField(_("rules answer from"))
    documents_threshold = models.FloatField(_("not in the documents below"), default=0.5)
    documents = models.CharField(
        _("answers from documents"),
        max_length=5,
        choices=Documents.choices,
        default=Documents.QUOTE,
    )
    cache_answers = models.BooleanField(_("give stored answers again"), default=False)
    """To the first question of a conversation; see `praxis.answer_cache`."""
    cache_similar = models.BooleanField(_("also to similar questions"), default=True)
    cache_hours = models.PositiveIntegerField(_("keep answers for hours"), default=168)
    adapter = models.ForeignKey(
        "tuning.Adapter", models.RESTRICT, null=True, blank=True, related_name="used_by"
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "assistant"], name="one_setting_per_assistant"
            ),
            models.CheckConstraint(
                condition=Q(lower_threshold__gte=0)
                & Q(lower_threshold__lte=F("upper_threshold"))
                & Q(upper_threshold__lte=1),
                name="thresholds_in_order",
            ),
            models.CheckConstraint(
                condition=Q(documents_threshold__gte=0) & Q(documents_threshold__lte=1),
                name="documents_threshold_is_a_share",
            ),
            models.CheckConstraint(
                condition=Q(documents__in=["quote", "model"]), name="documents_wording_known"
            ),
            models.CheckConstraint(
                condition=Q(cache_hours__gte=1) & Q(cache_hours__lte=8760),
                name="cache_hours_within_a_year",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.assistant} in {self.workspace}"
