"""Conversations as trees of messages, what people think of the answers, and what they corrected."""

import uuid
from typing import Any

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import models
from django.db.models import Q, QuerySet
from django.db.models.functions import Upper
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

from praxis.accounts.models import User, Workspace
from praxis.assistants.registry import get_assistant
from praxis.conversations.citations import citations_of

SEARCH_CONFIG = "simple"
"""No stemming and no stop words: the messages come in any language."""


class ConversationQuerySet(QuerySet["Conversation"]):
    def containing(self, words: str) -> "ConversationQuerySet":
        """Those whose title or a message has the words, or the text as a part of a word.

        The substring finds Chinese, which the text search can't cut into words, and the beginning
        of a word that is still being typed.
        """
        messages = Message.objects.annotate(
            words=SearchVector("text", config=SEARCH_CONFIG)
        ).filter(
            Q(words=SearchQuery(words, config=SEARCH_CONFIG, search_type="websearch"))
            | Q(text__icontains=words),
            conversation=models.OuterRef("pk"),
        )
        return self.filter(Q(title__icontains=words) | Q(models.Exists(messages)))

    def locked(self, conversation_id: uuid.UUID) -> "Conversation":
        """The row as it is now, and nobody else's until the transaction ends.

        Without joins: PostgreSQL reads the locked row again after it waited for the lock, but what
        is joined to it would stay what it was before (an owner or a head that is no longer).
        """
        return self.select_for_update().get(pk=conversation_id)


class Conversation(models.Model):
    """One talk with one assistant. `head` is the leaf of the branch that is shown."""

    class OwnerKind(models.TextChoices):
        """Who answers next."""

        ASSISTANT = "assistant", _("Assistant")
        WAITING = "waiting", _("Waiting for a person")
        PERSON = "person", _("A person")
        CLOSED = "closed", _("Closed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="conversations")
    assistant = models.SlugField(max_length=60)
    person = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="conversations"
    )
    visitor_key = models.CharField(max_length=80, blank=True)
    channel = models.SlugField(max_length=30, default="page")
    owner_kind = models.CharField(
        max_length=10, choices=OwnerKind.choices, default=OwnerKind.ASSISTANT
    )
    owner = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="owned")
    state = models.JSONField(default=dict, blank=True)
    """What the assistant has understood on the branch that is shown."""
    title = models.CharField(_("title"), max_length=120, blank=True)
    head = models.ForeignKey(
        "Message", models.SET_NULL, null=True, blank=True, related_name="shown_in"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(owner_kind__in=["assistant", "waiting", "person", "closed"]),
                name="known_conversation_owner",
            ),
            # No owner with `person` is allowed: the account may have been deleted.
            models.CheckConstraint(
                condition=Q(owner__isnull=True) | Q(owner_kind="person"),
                name="only_a_person_is_named_as_owner",
            ),
            models.CheckConstraint(
                condition=Q(person__isnull=True) | Q(visitor_key=""),
                name="a_person_or_a_visitor",
            ),
        ]
        indexes = [
            # A person's own conversations, the newest first.
            models.Index(
                fields=["person", "workspace", "-updated_at"], name="conversations_of_person"
            ),
            # An agent's view of the workspace, the newest first.
            models.Index(fields=["workspace", "-updated_at"], name="conversations_of_workspace"),
            # The queue of those that wait for a person, the oldest first.
            models.Index(
                fields=["workspace", "updated_at"],
                condition=Q(owner_kind="waiting"),
                name="conversations_waiting",
            ),
            # The substring search over titles.
            GinIndex(OpClass(Upper("title"), "gin_trgm_ops"), name="conversation_title_part"),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.assistant} {self.id}"

    def get_absolute_url(self) -> str:
        return reverse("conversations:chat", args=[self.pk])

    @property
    def assistant_title(self) -> str:
        return str(get_assistant(self.assistant).title)

    @property
    def assistant_answers(self) -> bool:
        return self.owner_kind == self.OwnerKind.ASSISTANT


class Message(models.Model):
    """A node of the tree: a regenerated answer and an edited question are siblings."""

    class Role(models.TextChoices):
        USER = "user", _("Person")
        ASSISTANT = "assistant", _("Assistant")
        PERSON = "person", _("Agent")
        SYSTEM = "system", _("Note")

    class Status(models.TextChoices):
        STREAMING = "streaming", _("Being written")
        COMPLETE = "complete", _("Complete")
        STOPPED = "stopped", _("Stopped")
        INTERRUPTED = "interrupted", _("Interrupted")
        FAILED = "failed", _("Failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="messages")
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="children"
    )
    turn = models.PositiveIntegerField(default=0)
    """How many messages of the person there are on the path down to this one."""
    role = models.CharField(max_length=10, choices=Role.choices)
    text = models.TextField(blank=True)
    events = models.JSONField(default=list, blank=True)
    """What the assistant said, as `contract.Event.to_dict()`; neighbouring tokens are joined."""
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.COMPLETE)
    state_after = models.JSONField(null=True, blank=True)
    """The state after the answer; None until there is one."""
    receipt = models.JSONField(default=dict, blank=True)
    remembered = models.BooleanField(default=True, db_default=True)
    """False: the person had it forgotten. It stays in the transcript and in no prompt; see
    `praxis.conversations.memory`."""
    author = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="messages_written"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=["user", "assistant", "person", "system"]),
                name="known_message_role",
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=["streaming", "complete", "stopped", "interrupted", "failed"]
                ),
                name="known_message_status",
            ),
            models.CheckConstraint(
                condition=Q(role="assistant") | Q(status="complete"),
                name="only_an_answer_is_unfinished",
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, status="streaming")
                | (Q(finished_at__isnull=False) & ~Q(status="streaming")),
                name="finished_unless_streaming",
            ),
        ]
        indexes = [
            # One conversation's messages in order (the transcript, the export).
            models.Index(fields=["conversation", "created_at"], name="messages_of_conversation"),
            # The sweep for answers whose process died.
            models.Index(
                fields=["created_at"],
                condition=Q(status="streaming"),
                name="messages_streaming",
            ),
            # The word search over messages.
            GinIndex(SearchVector("text", config=SEARCH_CONFIG), name="message_words"),
            # The substring search over messages (Chinese, beginnings of words).
            GinIndex(OpClass(Upper("text"), "gin_trgm_ops"), name="message_part"),
        ]

    def __str__(self) -> str:
        return f"{self.role} {self.id}"

    def events_of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    def last_event(self, kind: str) -> dict[str, Any] | None:
        return next(iter(reversed(self.events_of(kind))), None)

    @property
    def error(self) -> str:
        """The sentence for the person when the answer failed."""
        done = self.last_event("done")
        return done["error"] if done else ""

    @property
    def citations(self) -> list[dict[str, Any]]:
        return citations_of(self.events)


class MessageEmbedding(models.Model):
    """A message as a vector, for the memory's recall within its conversation.

    No vector index: the rows of one conversation are few, and the exact order costs less.
    """

    message = models.OneToOneField(
        Message, models.CASCADE, primary_key=True, related_name="embedding"
    )
    vector = VectorField()
    """As wide as the encoder makes it; all are deleted when another one takes over."""

    def __str__(self) -> str:
        return f"vector of {self.message_id}"


class Feedback(models.Model):
    """A thumb on an answer, with what should have been said; accepted ones become training data."""

    class Thumb(models.TextChoices):
        UP = "up", _("Good answer")
        DOWN = "down", _("Bad answer")

    class Review(models.TextChoices):
        OPEN = "open", _("Not reviewed")
        ACCEPTED = "accepted", _("Accepted")
        REJECTED = "rejected", _("Rejected")

    message = models.ForeignKey(Message, models.CASCADE, related_name="feedback")
    author = models.ForeignKey(
        User, models.CASCADE, null=True, blank=True, related_name="feedback_given"
    )
    """None for a visitor: a conversation has only one."""
    thumb = models.CharField(max_length=4, choices=Thumb.choices)
    correction = models.TextField(_("what it should have said"), blank=True)
    review = models.CharField(max_length=8, choices=Review.choices, default=Review.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["author", "message"], nulls_distinct=False, name="one_feedback_each"
            ),
            models.CheckConstraint(condition=Q(thumb__in=["up", "down"]), name="known_thumb"),
            models.CheckConstraint(
                condition=Q(review__in=["open", "accepted", "rejected"]), name="known_review"
            ),
        ]
        indexes = [
            # The review queue, the oldest first.
            models.Index(
                fields=["created_at"], condition=Q(review="open"), name="feedback_to_review"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.thumb} on {self.message_id}"


class StateCorrection(models.Model):
    """A field of the understood state that a person put right by hand; training material."""

    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="state_corrections")
    message = models.ForeignKey(
        Message, models.CASCADE, null=True, blank=True, related_name="state_corrections"
    )
    """The answer after which it was corrected; None before the first."""
    key = models.CharField(max_length=200)
    before = models.JSONField()
    """The whole state before the correction."""
    after = models.JSONField()
    author = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # The corrections of a conversation in order, for its export and for data sets.
            models.Index(fields=["conversation", "created_at"], name="state_corrections_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.conversation_id}"
