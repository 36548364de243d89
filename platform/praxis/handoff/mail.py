"""Whether mail goes out, and the address that it names."""

from django.conf import settings
from django.urls import reverse

from praxis.handoff.models import Handoff


def mail_is_configured() -> bool:
    """Whether mail leaves the machine; without EMAIL_URL it is only printed to the log."""
    return settings.EMAIL_BACKEND != "django.core.mail.backends.console.EmailBackend"


def address_of(handoff: Handoff) -> str:
    """Where the inbox shows it, as a link that works outside the platform."""
    origins = settings.CSRF_TRUSTED_ORIGINS
    root = origins[0] if origins else f"http://{settings.HOST}:{settings.PORT}"
    path = reverse("handoff:conversation", args=[handoff.workspace.slug, handoff.conversation_id])
    return f"{root.rstrip('/')}{path}"
