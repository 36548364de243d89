"""What a workspace chose for each assistant."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Workspace


class AssistantSettings(models.Model):
    """Thresholds, adapter and availability of one assistant in one workspace."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="assistant_settings")
    assistant = models.SlugField(max_length=60)
    enabled = models.BooleanField(_("enabled"), default=True)
    lower_threshold = models.FloatField(_("abstains below"))
    upper_threshold = models.FloatField(_("rules answer from"))
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
        ]

    def __str__(self) -> str:
        return f"{self.assistant} in {self.workspace}"
