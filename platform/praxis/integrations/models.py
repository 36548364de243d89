"""API keys, idempotent requests, webhooks with their deliveries, threads of the OpenAI API."""

import secrets
import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from praxis.accounts.models import Role, User, Workspace
from praxis.assistants.registry import title_of
from praxis.sentences import Sentence, with_stored_values


class ApiKey(models.Model):
    """A credential of an integrator. The secret itself is shown once and never stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="api_keys")
    name = models.CharField(_("name"), max_length=80)
    prefix = models.CharField(max_length=16, unique=True)
    """The first characters of the secret: finds the row and names the key on pages."""
    sha256 = models.CharField(max_length=64)
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    scopes = ArrayField(models.CharField(max_length=40))
    owner = models.ForeignKey(User, models.CASCADE, related_name="api_keys")
    """Who made it; the key dies with this person's membership."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role__in=["owner", "admin", "agent", "member"]), name="known_key_role"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_valid(self) -> bool:
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )


class IdempotentRequest(models.Model):
    """The answer to a POST with an `Idempotency-Key`, kept for a day."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    """None while the first request is still being worked on."""
    response = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_key", "key"], name="one_request_per_key"),
        ]

    def __str__(self) -> str:
        return self.key


class OpenAIThread(models.Model):
    """Which conversation a stateless client goes on with, found by the history that it sends."""

    conversation = models.OneToOneField(
        "conversations.Conversation", models.CASCADE, primary_key=True, related_name="+"
    )
    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="+")
    history_sha256 = models.CharField(max_length=64)

    class Meta:
        # The lookup of the conversation that a request continues.
        indexes = [models.Index(fields=["api_key", "history_sha256"], name="thread_by_history")]

    def __str__(self) -> str:
        return str(self.conversation_id)


class WebhookEndpoint(models.Model):
    """Where a workspace's events are sent, and with which secret they are signed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="webhook_endpoints")
    url = models.URLField(_("address"), max_length=500)
    description = models.CharField(_("description"), max_length=120, blank=True)
    event_names = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    """Empty: every event."""
    secret_encrypted = models.BinaryField()
    enabled = models.BooleanField(_("enabled"), default=True)
    disabled_reason = models.CharField(max_length=200, blank=True)
    """English, marked with `gettext_noop`; translated where it is shown."""
    failing_since = models.DateTimeField(null=True, blank=True)
    """The first failure since the last success."""
    failures = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(enabled=False) | Q(disabled_reason=""), name="a_reason_when_disabled"
            ),
        ]

    def __str__(self) -> str:
        return self.url

    def wants(self, name: str) -> bool:
        return self.enabled and (not self.event_names or name in self.event_names)


def event_id() -> str:
    """Also the `webhook-id` header: the same on every retry."""
    return f"evt_{secrets.token_urlsafe(18)}"


class WebhookEvent(models.Model):
    """Something that happened. `seq` grows per subject, so a receiver can drop stale ones."""

    id = models.CharField(primary_key=True, max_length=40, default=event_id, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="webhook_events")
    name = models.CharField(max_length=60)
    subject = models.CharField(max_length=80)
    seq = models.PositiveIntegerField()
    data = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "subject", "seq"], name="one_event_per_number"
            ),
        ]
        # The workspace's log, the newest first; replay by range.
        indexes = [models.Index(fields=["workspace", "-created_at"], name="events_newest")]

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint."""

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        DELIVERED = "delivered", _("Delivered")
        DEAD = "dead", _("Given up")

    event = models.ForeignKey(WebhookEvent, models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    """While an attempt runs: when another sender may take it over."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="one_delivery_each"),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "delivered", "dead"]), name="known_delivery_state"
            ),
        ]
        indexes = [
            # What the sender looks for: due deliveries, the oldest first.
            models.Index(
                fields=["next_attempt_at"], condition=Q(state="pending"), name="deliveries_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} to {self.endpoint_id}"


class WebhookAttempt(models.Model):
    """One try of a delivery, as the log shows it. The response is cut; no secret is kept."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="log")
    at = models.DateTimeField(auto_now_add=True)
    status = models.PositiveSmallIntegerField(null=True)
    """HTTP status; None when there was no response."""
    milliseconds = models.PositiveIntegerField()
    error = models.CharField(max_length=300, blank=True)
    """English, and with places for `error_values`; `reason` says it in the reader's language."""
    error_values = models.JSONField(default=dict, blank=True)

    def __str__(self) -> str:
        return f"{self.delivery_id}: {self.status or self.reason}"

    @property
    def reason(self) -> Sentence:
        return with_stored_values(self.error, self.error_values)


class InboundChannel(models.Model):
    """Where a program brings the messages of people who write elsewhere: `/hooks/<name>/<key>`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="inbound_channels")
    name = models.SlugField(_("name"), max_length=24)
    assistant = models.SlugField(_("assistant"), max_length=60)
    key = models.CharField(max_length=48, unique=True)
    """Names the channel in its address. What proves who sends is the signature."""
    secret_encrypted = models.BinaryField()
    old_secret_encrypted = models.BinaryField(null=True)
    old_secret_until = models.DateTimeField(null=True)
    """Until when the secret before the newest is still taken."""
    endpoint = models.OneToOneField(
        WebhookEndpoint, models.SET_NULL, null=True, blank=True, related_name="channel"
    )
    """Where answers and agents' words are sent; None: answers stand in the response alone."""
    enabled = models.BooleanField(_("enabled"), default=True)
    num_refused = models.PositiveIntegerField(default=0)
    """Requests to this channel's address that were not signed right, since it was made."""
    refused_at = models.DateTimeField(null=True)
    refused_reason = models.CharField(max_length=120, blank=True)
    """Of the newest refusal, for whoever sets the channel up. English, translated where it is shown."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "name"], name="channel_name_once"),
            models.CheckConstraint(
                condition=Q(old_secret_encrypted__isnull=True, old_secret_until__isnull=True)
                | Q(old_secret_encrypted__isnull=False, old_secret_until__isnull=False),
                name="an_old_secret_ends",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def assistant_title(self) -> str:
        return title_of(self.assistant)

    @property
    def path(self) -> str:
        """Of its address, below the platform's."""
        return reverse("hook", args=[self.name, self.key])


class InboundMessage(models.Model):
    """One signed message of a channel: it has one effect, however often it is sent."""

    channel = models.ForeignKey(InboundChannel, models.CASCADE, related_name="received")
    message_id = models.CharField(max_length=200)
    """The sender's `webhook-id`."""
    body_sha256 = models.CharField(max_length=64)
    sender = models.CharField(max_length=200)
    thread = models.CharField(max_length=200, blank=True)
    said = models.ForeignKey("conversations.Message", models.CASCADE, related_name="+")
    """The opened answer, or the person's message where the assistant is silent."""
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "message_id"], name="one_effect_per_id"),
        ]
        indexes = [
            # The log of a channel, the newest first.
            models.Index(fields=["channel", "-at"], name="inbound_newest"),
        ]

    def __str__(self) -> str:
        return self.message_id
