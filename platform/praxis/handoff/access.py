"""Who may work in the inbox: agents of the workspace; who may set it up: its administrators."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Membership, Role, User
from praxis.conversations.access import get_conversation
from praxis.conversations.models import Conversation
from praxis.handoff.models import CannedAnswer

AGENT_ROLES = tuple(role for role in Role if role.includes(Role.AGENT))


def enter_inbox(request: HttpRequest, workspace: str) -> Principal:
    return enter_workspace(request, workspace, role=Role.AGENT)


def conversation_for_agent(principal: Principal, conversation_id: UUID) -> Conversation:
    """404 for one of another workspace, 403 for who is no agent."""
    conversation = get_conversation(principal, conversation_id)
    principal.require(Role.AGENT)
    return conversation


def agents_of(principal: Principal) -> QuerySet[User]:
    """Who may answer in the workspace."""
    memberships = Membership.objects.filter(workspace=principal.workspace, role__in=AGENT_ROLES)
    return User.objects.filter(is_active=True, memberships__in=memberships).order_by("username")


def get_agent(principal: Principal, username: str) -> User:
    agent = agents_of(principal).filter(username=username).first()
    if agent is None:
        raise Http404
    return agent


def get_canned_answer(principal: Principal, answer_id: int) -> CannedAnswer:
    answer = CannedAnswer.objects.filter(workspace=principal.workspace, pk=answer_id).first()
    if answer is None:
        raise Http404
    principal.require(Role.ADMIN)
    return answer
