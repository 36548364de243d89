"""The numbers to call in a workspace, and what clinicians decided about answers."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Message


class EmergencySettings(models.Model):
    """Whom the urgent advice names. Empty fields mean the general wording."""

    workspace = models.OneToOneField(Workspace, models.CASCADE, related_name="emergency_settings")
    emergency_number = models.CharField(
        _("emergency number"),
        max_length=60,
        blank=True,
        help_text=_("What the first line of urgent advice says to call, for example 112."),
    )
    crisis_line = models.CharField(
        _("crisis line"),
        max_length=120,
        blank=True,
        help_text=_("Named where somebody is in danger of harming themselves or being harmed."),
    )
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.emergency_number


class CaseReview(models.Model):
    """A clinician's decision about one answer; the newest decision counts, all are kept."""

    class Decision(models.TextChoices):
        APPROVED = "approved", _("Approved")
        EDITED = "edited", _("Approved with changes")
        REJECTED = "rejected", _("Rejected")

    message = models.ForeignKey(Message, models.CASCADE, related_name="case_reviews")
    reviewer = models.ForeignKey(User, models.SET_NULL, null=True, related_name="case_reviews")
    decision = models.CharField(_("decision"), max_length=8, choices=Decision.choices)
    text = models.TextField(
        _("what it should say, or why it is wrong"),
        blank=True,
        help_text=_("Needed for changes and for a rejection."),
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(decision__in=["approved", "edited", "rejected"]),
                name="known_case_decision",
            ),
            models.CheckConstraint(
                condition=models.Q(decision="approved") | ~models.Q(text=""),
                name="changes_and_rejections_say_why",
            ),
        ]
        # The newest decision about an answer.
        indexes = [models.Index(fields=["message", "-created_at"], name="newest_case_review")]

    def __str__(self) -> str:
        return f"{self.decision} on {self.message_id}"
