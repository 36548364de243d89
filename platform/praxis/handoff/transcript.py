"""The transcript that a person has mailed to themselves."""

from smtplib import SMTPException

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.conversations.access import require_own
from praxis.conversations.export import as_markdown
from praxis.conversations.models import Conversation
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.services import shown_messages
from praxis.handoff.mail import mail_is_configured
from praxis.rate_limits import allowed

TRANSCRIPTS = 3
"""That one conversation may be mailed within `TRANSCRIPTS_SECONDS`, to whatever addresses."""
TRANSCRIPTS_OF_PERSON = 10
"""That one person, or one visitor, may have mailed in that time."""
TRANSCRIPTS_SECONDS = 3600


def mail_transcript(*, principal: Principal, conversation: Conversation, address: str) -> None:
    """Mail the shown branch to the address that the person enters.

    Raises `MessageRefused` for no address, `NotNow` without configured mail, when the mail server
    refuses, or when it was asked for too often: the address is not proven to be the person's own.
    """
    require_own(principal, conversation)
    if not mail_is_configured():
        raise NotNow(_("This installation can't send mail. Export the conversation instead."))
    try:
        validate_email(address)
    except ValidationError as error:
        raise MessageRefused(
            _("“%(address)s” is no mail address. Write it like name@example.org.")
            % {"address": address[:120]}
        ) from error
    messages = shown_messages(conversation)
    if not messages:
        raise NotNow(_("Nothing was said in this conversation yet."))
    for whose, limit in (
        (f"conversation:{conversation.pk}", TRANSCRIPTS),
        (f"{principal.workspace.pk}:{_who(principal)}", TRANSCRIPTS_OF_PERSON),
    ):
        if allowed(f"transcript:{whose}", limit=limit, seconds=TRANSCRIPTS_SECONDS):
            continue
        raise NotNow(_("The transcript was mailed several times already. Try again in an hour."))
    mail = EmailMessage(
        subject=_("Your conversation with: %(title)s") % {"title": conversation.assistant_title},
        body=as_markdown(conversation, messages),
        to=[address],
    )
    try:
        mail.send()
    except (OSError, SMTPException) as error:
        raise NotNow(_("The mail server did not take the mail. Try again later.")) from error
    record(principal, "conversation.mail_transcript", conversation)


def _who(principal: Principal) -> str:
    return str(principal.user.pk) if principal.user else principal.visitor_key
