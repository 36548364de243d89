"""What the assistant remembers of a conversation: to see, to search and to have forgotten."""

from typing import Any

from django.contrib import messages as notes
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.registry import get_assistant
from praxis.conversations import services
from praxis.conversations.access import is_own
from praxis.conversations.memory import path_ids, remembered_messages, summary_of
from praxis.conversations.models import Conversation, Message
from praxis.conversations.presentation import panel_fields
from praxis.conversations.views import in_conversation

TURNS_A_PAGE = 30
LONGEST_SEARCH = 200


@in_conversation
@require_GET
def memory(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    words = request.GET.get("q", "").strip()[:LONGEST_SEARCH]
    archive = remembered_messages(conversation.head_id, containing=words)
    numbers = archive.order_by("-turn").values_list("turn", flat=True).distinct()
    page = Paginator(numbers, TURNS_A_PAGE).get_page(request.GET.get("page"))
    path = path_ids(conversation.head_id)
    context = {
        "principal": principal,
        "conversation": conversation,
        "assistant": get_assistant(conversation.assistant),
        "panel": panel_fields(conversation),
        "summary": summary_of(conversation.head_id),
        "turns": _turns(archive.filter(turn__in=list(page))),
        "page": page,
        "words": words,
        "num_forgotten": Message.objects.filter(pk__in=path, remembered=False).count(),
        "may_forget": is_own(principal, conversation) or principal.may(Role.ADMIN),
    }
    return render(request, "conversations/memory.html", context)


def _turns(found: QuerySet[Message]) -> list[dict[str, Any]]:
    turns: dict[int, list[Message]] = {}
    for message in found:
        turns.setdefault(message.turn, []).append(message)
    return [{"number": number, "messages": said} for number, said in turns.items()]


@in_conversation
@require_POST
def forget(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    """`turn`: that one; `q`: those in which it stands; neither: everything."""
    turn = request.POST.get("turn", "")
    words = request.POST.get("q", "").strip()[:LONGEST_SEARCH]
    number = int(turn) if turn.isascii() and turn.isdecimal() and len(turn) < 9 else None
    if turn and number is None:
        notes.error(request, _("There is no message with this number."))
        return redirect("conversations:memory", conversation_id=conversation.pk)
    count = services.forget(
        principal=principal, conversation=conversation, turn=number, containing=words
    )
    notes.success(
        request,
        ngettext("%(count)d message is forgotten.", "%(count)d messages are forgotten.", count)
        % {"count": count},
    )
    address = reverse("conversations:memory", args=[conversation.pk])
    return redirect(f"{address}?{urlencode({'q': words})}" if words and number else address)
