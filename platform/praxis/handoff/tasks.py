"""Mail to agents. A mail that can't be sent is logged and not repeated: the inbox shows it too."""

import logging
from smtplib import SMTPException
from uuid import UUID

from celery import shared_task
from django.core.mail import EmailMessage
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from praxis.accounts.models import User
from praxis.handoff.access import AGENT_ROLES
from praxis.handoff.mail import address_of, mail_is_configured
from praxis.handoff.models import Handoff, InboxSettings

logger = logging.getLogger(__name__)


@shared_task(name="praxis.handoff.tasks.mail_agents", ignore_result=True, expires=600)
def mail_agents(handoff_id: str) -> None:
    """Tell every agent of the workspace that someone waits for a person; once per handoff."""
    handoff = _find(handoff_id)
    if handoff is None or handoff.state != Handoff.State.WAITING or not mail_is_configured():
        return
    chosen = InboxSettings.objects.filter(workspace=handoff.workspace_id).first()
    if not (chosen or InboxSettings()).mail_agents:
        return
    # The one update that finds the row unmailed may mail: the task may be rung twice.
    if not Handoff.objects.filter(pk=handoff.pk, mailed_at=None).update(mailed_at=timezone.now()):
        return
    agents = User.objects.filter(
        is_active=True,
        memberships__workspace=handoff.workspace_id,
        memberships__role__in=AGENT_ROLES,
    )
    for agent in agents.exclude(email="").order_by("pk"):
        _mail(agent, handoff, waiting=True)


@shared_task(name="praxis.handoff.tasks.mail_assigned", ignore_result=True, expires=600)
def mail_assigned(handoff_id: str) -> None:
    """Tell an agent that a colleague gave them a conversation."""
    handoff = _find(handoff_id)
    if handoff is None or handoff.agent is None or not mail_is_configured():
        return
    if handoff.agent.email:
        _mail(handoff.agent, handoff, waiting=False)


def _find(handoff_id: str) -> Handoff | None:
    return (
        Handoff.objects.select_related("workspace", "conversation", "agent")
        .filter(pk=UUID(handoff_id))
        .first()
    )


def _mail(agent: User, handoff: Handoff, *, waiting: bool) -> None:
    """No word of the conversation leaves by mail: it may be a medical or a legal matter."""
    with translation.override(agent.language or None):
        subject = (
            _("A conversation waits for a person")
            if waiting
            else _("A conversation was given to you")
        )
        body = "\n\n".join(
            [
                subject + ".",
                _("Workspace: %(name)s") % {"name": handoff.workspace.name},
                address_of(handoff),
            ]
        )
        try:
            EmailMessage(subject=subject, body=body, to=[agent.email]).send()
        except (OSError, SMTPException) as error:
            logger.warning("Agent %s could not be mailed about %s: %s", agent.pk, handoff.pk, error)
