"""Messages that programs bring from elsewhere, signed after Standard Webhooks 1.0.0.

They go the way of every message: the same conversation, assistant, state and handoff. A message has
one effect however often it is sent: its row and what it says are stored in one transaction under the
sender's id.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.conversations.access import own_conversations
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.services import offered_assistants, post_message, start_conversation
from praxis.guarded_http import AddressRefused
from praxis.integrations import webhooks
from praxis.integrations.forms import ChannelForm
from praxis.integrations.models import InboundChannel, InboundMessage
from praxis.integrations.replies import CAME_BY_HOOK, REPLY, reply_to_dict
from praxis.rate_limits import allowed
from praxis.sealing import seal, unseal

LARGEST_BODY = 262_144
OVERLAP = timedelta(hours=24)
"""How long the old secret is taken beside a new one."""
MINUTE = 60
MESSAGES_PER_MINUTE = 300
"""Of one channel."""
SENDER_SECONDS = 600
MESSAGES_OF_SENDER = 30
LONGEST_ID = 200


class NotSigned(Exception):
    """Nobody proved that they may send here. What is wrong is for the administrator's eyes only."""


class TooOften(NotNow):
    """A limit was reached. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(_("Too many messages in a short time. Try again in a few minutes."))
        self.retry_after = retry_after


class IdReused(NotNow):
    """The id came before, with another body."""


class Body(BaseModel):
    """What a channel sends."""

    model_config = ConfigDict(extra="forbid")

    sender: str = Field(min_length=1, max_length=200)
    """Who writes, as the channel knows them; each sender has conversations of their own."""
    text: str
    thread: str = Field("", max_length=200)
    """Keeps several conversations of one sender apart."""


# Setting up ---------------------------------------------------------------------------------------


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@transaction.atomic
def create_channel(
    *, principal: Principal, name: str, assistant: str, reply_url: str = ""
) -> tuple[InboundChannel, str, str]:
    """The channel, its secret, and the secret that signs replies (empty without `reply_url`).

    Both secrets are shown once. Raises `AddressRefused`, `NotNow`.
    """
    principal.require(Role.ADMIN)
    if assistant not in {one.slug for one in offered_assistants(principal.workspace)}:
        raise NotNow(_("The assistant “%(slug)s” is not offered here.") % {"slug": assistant})
    endpoint, reply_secret = None, ""
    if reply_url:
        endpoint, reply_secret = webhooks.create_endpoint(
            principal=principal, url=reply_url, description=name, event_names=[REPLY]
        )
    secret = _new_secret()
    channel = InboundChannel.objects.create(
        workspace=principal.workspace,
        name=name,
        assistant=assistant,
        key=secrets.token_urlsafe(24),
        secret_encrypted=seal(secret),
        endpoint=endpoint,
    )
    record(principal, "channel.create", channel)
    return channel, secret, reply_secret


def create_from_form(
    *, principal: Principal, form: ChannelForm
) -> tuple[InboundChannel, str, str] | None:
    """As `create_channel`; None where the form has errors, among them a name that is taken."""
    if not form.is_valid():
        return None
    try:
        return create_channel(principal=principal, **form.cleaned_data)
    except IntegrityError:
        form.add_error("name", _("There is a channel with this name already."))
    except AddressRefused as refusal:
        form.add_error("reply_url", str(refusal))
    return None


def rotate_secret(*, principal: Principal, channel: InboundChannel) -> str:
    """The new secret, shown once. The one before is taken for `OVERLAP` longer."""
    principal.require(Role.ADMIN)
    secret = _new_secret()
    channel.old_secret_encrypted = channel.secret_encrypted
    channel.old_secret_until = timezone.now() + OVERLAP
    channel.secret_encrypted = seal(secret)
    channel.save(update_fields=["old_secret_encrypted", "old_secret_until", "secret_encrypted"])
    record(principal, "channel.rotate", channel)
    return secret


def switch(*, principal: Principal, channel: InboundChannel, enabled: bool) -> None:
    principal.require(Role.ADMIN)
    channel.enabled = enabled
    channel.save(update_fields=["enabled"])
    record(principal, "channel.enable" if enabled else "channel.disable", channel)


def delete_channel(*, principal: Principal, channel: InboundChannel) -> None:
    """With the address of its replies; the conversations stay in the workspace."""
    principal.require(Role.ADMIN)
    record(principal, "channel.delete", channel)
    if channel.endpoint is not None:
        channel.endpoint.delete()
    channel.delete()


# Who sends ------------------------------------------------------------------------------------------

_NOBODYS_SECRET = _new_secret()
_PROBLEMS = {
    "Missing required headers": gettext_noop(
        "A header is missing: webhook-id, webhook-timestamp and webhook-signature are needed."
    ),
    "Message timestamp too old": gettext_noop(
        "The webhook-timestamp is more than five minutes past; set the sender's clock right."
    ),
    "Message timestamp too new": gettext_noop(
        "The webhook-timestamp is more than five minutes ahead; set the sender's clock right."
    ),
    "No matching signature found": gettext_noop(
        "The signature was made with another secret, or of other bytes than those that came."
    ),
}
"""What the library says, and what the page says then."""
UNREADABLE = gettext_noop("The headers are not written as Standard Webhooks prescribes.")


def authenticate(name: str, key: str, headers: dict[str, str], body: bytes) -> InboundChannel:
    """The channel whose secret signed the raw body within five minutes of now.

    An unknown or switched-off address is refused as a wrong signature is, after the same work.
    Raises `NotSigned`.
    """
    channel = (
        InboundChannel.objects.select_related("workspace", "endpoint")
        .filter(key=key, name=name)
        .first()
    )
    if channel is None or not channel.enabled:
        _problem(_NOBODYS_SECRET, headers, body)
        raise NotSigned
    problem = _problem(unseal(channel.secret_encrypted), headers, body)
    old, until = channel.old_secret_encrypted, channel.old_secret_until
    if problem and old is not None and until is not None and until > timezone.now():
        problem = _problem(unseal(old), headers, body)
    if problem:
        InboundChannel.objects.filter(pk=channel.pk).update(
            num_refused=F("num_refused") + 1, refused_at=timezone.now(), refused_reason=problem
        )
        raise NotSigned
    return channel


def _problem(secret: str, headers: dict[str, str], body: bytes) -> str:
    """Why the signature doesn't hold; empty if it does. Compares in constant time."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except WebhookVerificationError as error:
        return _PROBLEMS.get(str(error), UNREADABLE)
    except ValueError:  # no UTF-8, no base64, or no "version,signature"
        return UNREADABLE
    return ""


# What they send ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Received:
    said: Message
    is_new: bool


def receive(
    channel: InboundChannel, message_id: str, body: bytes, *, address: str | None = None
) -> Received:
    """Say it in the sender's conversation, once. The caller has checked the signature.

    Raises `MessageRefused`, `NotNow` (also while the assistant is still answering: nothing is
    stored then, and the same message may be sent again).
    """
    digest = hashlib.sha256(body).hexdigest()
    if found := _found(channel, message_id, digest):
        return Received(said=found, is_new=False)
    given = _parsed(message_id, body)
    if not allowed(f"hook:{channel.pk}", limit=MESSAGES_PER_MINUTE, seconds=MINUTE):
        raise TooOften(MINUTE)
    principal = _principal(channel, given, address)
    whose = f"hook:{principal.visitor_key}"
    if not allowed(whose, limit=MESSAGES_OF_SENDER, seconds=SENDER_SECONDS):
        raise TooOften(SENDER_SECONDS)
    with transaction.atomic():
        _queue_behind(principal.visitor_key)
        if found := _found(channel, message_id, digest):
            return Received(said=found, is_new=False)
        conversation = _conversation(channel, principal)
        said = post_message(principal=principal, conversation=conversation, text=given.text)
        InboundMessage.objects.create(
            channel=channel,
            message_id=message_id,
            body_sha256=digest,
            sender=given.sender,
            thread=given.thread,
            said=said,
        )
    return Received(said=said, is_new=True)


def _found(channel: InboundChannel, message_id: str, digest: str) -> Message | None:
    row = (
        InboundMessage.objects.select_related("said__conversation")
        .filter(channel=channel, message_id=message_id)
        .first()
    )
    if row is None:
        return None
    if row.body_sha256 != digest:
        raise IdReused(_("This webhook-id came with another message; use a new id."))
    return row.said


def _parsed(message_id: str, body: bytes) -> Body:
    if len(message_id) > LONGEST_ID:
        raise MessageRefused(
            _("The webhook-id may have %(limit)s characters, got %(length)s.")
            % {"limit": LONGEST_ID, "length": len(message_id)}
        )
    try:
        return Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise MessageRefused(
            _("Send JSON with “sender” and “text”, and optionally “thread”: %(place)s: %(problem)s")
            % {"place": place, "problem": first["msg"]}
        ) from error


def _principal(channel: InboundChannel, given: Body, address: str | None) -> Principal:
    who = hashlib.sha256(f"{given.sender}\0{given.thread}".encode()).hexdigest()[:32]
    return Principal(
        workspace=channel.workspace,
        role=Role.MEMBER,
        visitor_key=f"hook:{channel.pk.hex}:{who}",
        scopes=frozenset({"*"}),
        address=address,
    )


def _queue_behind(visitor_key: str) -> None:
    """One message of a sender at a time, or two at once would begin two conversations."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [visitor_key])


def _conversation(channel: InboundChannel, principal: Principal) -> Conversation:
    """The sender's newest one that isn't closed, or a new one."""
    newest = own_conversations(principal).order_by("-created_at", "pk").first()
    if newest is not None and newest.owner_kind != Conversation.OwnerKind.CLOSED:
        return newest
    return start_conversation(
        principal=principal, assistant=channel.assistant, channel=f"{CAME_BY_HOOK}{channel.name}"
    )


def received_to_dict(message_id: str, said: Message) -> dict[str, Any]:
    """What the sender is answered. `reply` is None while the answer is written, and where a person
    answers: their words come by webhook."""
    answered = said.role == Message.Role.ASSISTANT and said.status != Message.Status.STREAMING
    return {
        "id": message_id,
        "conversation": str(said.conversation_id),
        "owner": said.conversation.owner_kind,
        "reply": reply_to_dict(said) if answered else None,
    }
