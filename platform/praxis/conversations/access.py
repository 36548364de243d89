"""Who may see a conversation and what is in it, and who may change it."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, principal_for
from praxis.accounts.models import Membership, Role
from praxis.assistants.registry import all_assistants
from praxis.conversations.models import Conversation, ConversationQuerySet, Message


def conversations_of(principal: Principal) -> ConversationQuerySet:
    """All that the principal may see: their own, or as an agent the whole workspace's."""
    in_workspace = _served().filter(workspace=principal.workspace)
    return in_workspace if principal.may(Role.AGENT) else in_workspace.filter(_own(principal))


def own_conversations(principal: Principal) -> ConversationQuerySet:
    return _served().filter(_own(principal), workspace=principal.workspace)


def _served() -> ConversationQuerySet:
    """Those whose assistant is installed; the others can be neither drawn nor continued."""
    return Conversation.objects.filter(assistant__in=[one.slug for one in all_assistants()])


def _own(principal: Principal) -> Q:
    if principal.user is not None:
        return Q(person=principal.user)
    if principal.visitor_key:
        return Q(person=None, visitor_key=principal.visitor_key)
    return Q(pk__in=[])


def is_own(principal: Principal, conversation: Conversation) -> bool:
    if principal.user is not None:
        return conversation.person_id == principal.user.pk
    return bool(principal.visitor_key) and conversation.visitor_key == principal.visitor_key


def principal_of_person(conversation: Conversation) -> Principal | None:
    """Whose conversation it is, with a member's rights and no more; None if they left.

    For what the assistant does in their conversation when others ask for it: it must not read
    what only those others may.
    """
    if conversation.person_id is not None:
        membership = (
            Membership.objects.select_related("user")
            .filter(
                user=conversation.person_id,
                user__is_active=True,
                workspace=conversation.workspace_id,
            )
            .first()
        )
        if membership is None:
            return None
        user, visitor_key = membership.user, ""
    elif conversation.visitor_key:
        user, visitor_key = None, conversation.visitor_key
    else:
        return None
    return Principal(
        workspace=conversation.workspace,
        role=Role.MEMBER,
        user=user,
        visitor_key=visitor_key,
        scopes=frozenset({"*"}),
    )


def get_conversation(principal: Principal, conversation_id: UUID) -> Conversation:
    """Raises `Http404` for one that the principal may not see."""
    conversation = (
        Conversation.objects.select_related("workspace").filter(pk=conversation_id).first()
    )
    if conversation is None:
        raise Http404
    check_conversation(principal, conversation)
    return conversation


def check_conversation(principal: Principal, conversation: Conversation) -> None:
    if conversation.workspace_id != principal.workspace.pk:
        raise Http404
    if conversation.assistant not in {one.slug for one in all_assistants()}:
        raise Http404
    if not principal.may(Role.AGENT) and not is_own(principal, conversation):
        raise Http404


def get_message(
    principal: Principal, message_id: UUID, *, conversation_id: UUID | None = None
) -> Message:
    """The message with its conversation; `Http404` unless the principal may see both."""
    message = (
        Message.objects.select_related("conversation__workspace").filter(pk=message_id).first()
    )
    if message is None or conversation_id not in (None, message.conversation_id):
        raise Http404
    check_conversation(principal, message.conversation)
    return message


def enter_conversation(
    request: HttpRequest, conversation_id: UUID
) -> tuple[Principal, Conversation]:
    """For pages: the signed-in person as a principal of the conversation's workspace."""
    conversation = (
        Conversation.objects.select_related("workspace").filter(pk=conversation_id).first()
    )
    if conversation is None:
        raise Http404
    principal = principal_for(request, conversation.workspace_id)
    check_conversation(principal, conversation)
    return principal, conversation


def require_own(principal: Principal, conversation: Conversation) -> None:
    """Only the person themselves speaks, edits and asks again in their name."""
    if not is_own(principal, conversation):
        raise PermissionDenied(_("Only the person whose conversation this is may do that."))


def require_own_or(principal: Principal, conversation: Conversation, role: Role) -> None:
    if not is_own(principal, conversation):
        principal.require(role)
