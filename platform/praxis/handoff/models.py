"""Conversations that a person answers in the assistant's place, and what the agents need for it."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import User, Workspace
from praxis.conversations.models import Conversation, Message

LONGEST_REASON = 500


class Handoff(models.Model):
    """One time that a person was asked for, until the conversation is returned or closed.

    `Conversation.owner_kind` says who answers now; it changes with these rows only, in
    `transitions`, in one transaction.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting for a person")
        PERSON = "person", _("With a person")
        RETURNED = "returned", _("Returned to the assistant")
        CLOSED = "closed", _("Closed")

    class Trigger(models.TextChoices):
        """Who asked for a person."""

        ASSISTANT = "assistant", _("The assistant")
        PERSON = "person", _("The person")
        AGENT = "agent", _("An agent")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="+")
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="handoffs")
    state = models.CharField(max_length=10, choices=State.choices)
    trigger = models.CharField(max_length=10, choices=Trigger.choices)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True)
    message = models.ForeignKey(Message, models.SET_NULL, null=True, blank=True, related_name="+")
    """The answer in which the assistant asked for a person."""
    agent = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    """Who answers, or answered last; None while nobody does, or if the account was deleted."""
    state_at_take_over = models.JSONField(null=True, blank=True)
    """What the assistant had understood when a person first took over."""
    requested_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    """Until when a person should have answered first."""
    assigned_at = models.DateTimeField(null=True, blank=True)
    first_reply_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "person", "returned", "closed"]),
                name="known_handoff_state",
            ),
            models.CheckConstraint(
                condition=Q(trigger__in=["assistant", "person", "agent"]),
                name="known_handoff_trigger",
            ),
            models.UniqueConstraint(
                fields=["conversation"],
                condition=Q(state__in=["waiting", "person"]),
                name="one_open_handoff_each",
            ),
            models.CheckConstraint(
                condition=~Q(state="waiting") | Q(agent__isnull=True),
                name="nobody_answers_a_waiting_handoff",
            ),
            models.CheckConstraint(
                condition=~Q(state="person") | Q(assigned_at__isnull=False),
                name="assigned_before_a_person_answers",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "person"], ended_at__isnull=True)
                | Q(state__in=["returned", "closed"], ended_at__isnull=False),
                name="ended_when_no_longer_open",
            ),
        ]
        indexes = [
            # The queue, the longest waiting first.
            models.Index(
                fields=["workspace", "requested_at"],
                condition=Q(state="waiting"),
                name="handoffs_waiting",
            ),
            # What an agent is answering.
            models.Index(fields=["agent"], condition=Q(state="person"), name="handoffs_of_agent"),
            # The figures of a period.
            models.Index(fields=["workspace", "-requested_at"], name="handoffs_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.state} handoff of {self.conversation_id}"

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.WAITING, self.State.PERSON)

    def urgency(self, now: datetime) -> str:
        """Of the first answer: `answered`, `overdue`, `soon` (the last quarter) or `in_time`."""
        if self.first_reply_at is not None or not self.is_open:
            return "answered"
        left = (self.due_at - now).total_seconds()
        if left <= 0:
            return "overdue"
        allowed = (self.due_at - self.requested_at).total_seconds()
        return "soon" if left <= allowed / 4 else "in_time"


EDGES = (
    ("bot", "waiting"),
    ("bot", "person"),
    ("bot", "closed"),
    ("waiting", "person"),
    ("waiting", "returned"),
    ("waiting", "closed"),
    ("person", "person"),
    ("person", "waiting"),
    ("person", "returned"),
    ("person", "closed"),
    ("returned", "waiting"),
    ("returned", "person"),
    ("returned", "closed"),
)
"""All that can happen: bot → waiting → person → returned → closed, and the ways between."""


class Transition(models.Model):
    """One edge that a conversation went along; written once."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="transitions")
    handoff = models.ForeignKey(
        Handoff, models.CASCADE, null=True, blank=True, related_name="transitions"
    )
    """None where a conversation was closed that no person ever answered."""
    from_state = models.CharField(max_length=10)
    to_state = models.CharField(max_length=10)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    """Who did it; None for the assistant or a visitor."""
    agent = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    """Who answers after it."""
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    *(Q(from_state=start, to_state=end) for start, end in EDGES), _connector=Q.OR
                ),
                name="known_handoff_edge",
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "at"], name="transitions_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.from_state} → {self.to_state}"


class Note(models.Model):
    """An agent's word to the other agents. It is no message: nothing that the person whose
    conversation it is can ask for reads this table."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="notes")
    author = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    text = models.TextField(_("note"))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["conversation", "created_at"], name="notes_in_order"),
        ]

    def __str__(self) -> str:
        return f"note on {self.conversation_id}"


class CannedAnswer(models.Model):
    """A text that the workspace's agents use again and again."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="canned_answers")
    name = models.CharField(_("name"), max_length=60)
    text = models.TextField(_("text"), max_length=4000)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="canned_answer_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class InboxSettings(models.Model):
    """How a workspace's people answer; a workspace without a row has the defaults."""

    workspace = models.OneToOneField(
        Workspace, models.CASCADE, primary_key=True, related_name="inbox_settings"
    )
    first_response_minutes = models.PositiveSmallIntegerField(
        _("first answer within (minutes)"), default=10
    )
    mail_agents = models.BooleanField(_("mail the agents when a person is asked for"), default=True)
    ask_for_rating = models.BooleanField(
        _("ask for a rating when a conversation is closed"), default=True
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(first_response_minutes__gte=1, first_response_minutes__lte=10_080),
                name="first_response_within_a_week",
            ),
        ]

    def __str__(self) -> str:
        return f"inbox of {self.workspace_id}"


class Survey(models.Model):
    """What the person thought of a closed conversation."""

    conversation = models.OneToOneField(
        Conversation, models.CASCADE, primary_key=True, related_name="survey"
    )
    score = models.PositiveSmallIntegerField(_("rating"))
    """From 1 (bad) to 5 (good)."""
    comment = models.TextField(_("comment"), blank=True, max_length=2000)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(score__gte=1, score__lte=5), name="survey_score_1_to_5"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.score} for {self.conversation_id}"
