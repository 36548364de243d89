"""The start page, the list of conversations and the chat page."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, retarget

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Membership, Role, Workspace
from praxis.assistants.registry import get_assistant
from praxis.conversations import export, services
from praxis.conversations.access import (
    conversations_of,
    enter_conversation,
    get_message,
    is_own,
    own_conversations,
)
from praxis.conversations.forms import FeedbackForm, SearchForm
from praxis.conversations.models import Conversation, ConversationQuerySet, Feedback, Message
from praxis.conversations.presentation import panel_fields, present
from praxis.conversations.services import MessageRefused, NotNow, TooManyTurns
from praxis.conversations.streams import settle

SIDEBAR = 40
LISTED = 100
SHOWN_MESSAGES = 60
"""Newest messages of a branch that the page shows at first."""

P = ParamSpec("P")
Act = Callable[Concatenate[HttpRequest, Principal, Conversation, P], HttpResponse]


def in_conversation(view: Act[P]) -> Callable[Concatenate[HttpRequest, UUID, P], HttpResponse]:
    """The view gets the principal and the conversation in place of the conversation's id."""

    @wraps(view)
    def entered(
        request: HttpRequest, conversation_id: UUID, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        principal, conversation = enter_conversation(request, conversation_id)
        return view(request, principal, conversation, *args, **kwargs)

    return login_required(entered)


# Start and list -----------------------------------------------------------------------------------


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    workspaces, principal = _chosen_workspace(request)
    context: dict[str, Any] = {"workspaces": workspaces, "principal": principal}
    if principal is not None:
        context["assistants"] = services.offered_assistants(principal.workspace)
        context["recent"] = (
            own_conversations(principal).exclude(head=None).order_by("-updated_at", "pk")[:5]
        )
        context["num_waiting"] = (
            _listed(principal, "waiting").count() if principal.may(Role.AGENT) else 0
        )
    return render(request, "conversations/home.html", context)


@login_required
@require_GET
def conversation_list(request: HttpRequest) -> HttpResponse:
    workspaces, principal = _chosen_workspace(request)
    form = SearchForm(request.GET)
    if principal is None or not form.is_valid():
        raise Http404
    show, words = form.cleaned_data["show"] or "own", form.cleaned_data["q"].strip()
    found = _listed(principal, show)
    if words:
        found = found.containing(words)
    context = {
        "workspaces": workspaces,
        "principal": principal,
        "conversations": found.select_related("person").order_by("-updated_at", "pk")[:LISTED],
        "show": show,
        "words": words,
        "limit": LISTED,
        "current": request.GET.get("current", ""),
    }
    if request.htmx:  # type: ignore[attr-defined]
        part = "_links" if request.GET.get("part") == "links" else "_rows"
        return render(request, f"conversations/{part}.html", context)
    return render(request, "conversations/list.html", context)


@login_required
@require_POST
def new(request: HttpRequest) -> HttpResponse:
    """Open a conversation, with a first message if one was given."""
    principal = enter_workspace(request, request.POST.get("workspace", ""))
    try:
        conversation = services.open_conversation(
            principal=principal, assistant=request.POST.get("assistant", "")
        )
    except NotNow as error:
        notes.error(request, str(error))
        return redirect("conversations:home")
    if text := request.POST.get("text", ""):
        return _post(request, principal, conversation, text)
    return redirect(conversation)


def _chosen_workspace(request: HttpRequest) -> tuple[list[Workspace], Principal | None]:
    """All of the person's workspaces, and the one they look at."""
    memberships = Membership.objects.filter(user=request.user.pk).select_related("workspace")
    workspaces = [one.workspace for one in memberships.order_by("workspace__name", "pk")]
    slug = request.GET.get("workspace") or (workspaces[0].slug if workspaces else "")
    return workspaces, enter_workspace(request, slug) if slug else None


def _listed(principal: Principal, show: str) -> ConversationQuerySet:
    if show == "own":
        return own_conversations(principal).exclude(head=None)
    principal.require(Role.AGENT)
    found = conversations_of(principal).exclude(head=None)
    if show == "waiting":
        return found.filter(owner_kind=Conversation.OwnerKind.WAITING)
    return found


# The chat page ------------------------------------------------------------------------------------


@in_conversation
@require_GET
def chat(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    return _chat_page(request, principal, conversation)


def _chat_page(
    request: HttpRequest,
    principal: Principal,
    conversation: Conversation,
    *,
    text: str = "",
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    """The page; with `text` and `error` the composer keeps what was refused."""
    shown = [settle(message) for message in services.shown_messages(conversation)]
    for message in shown:
        message.conversation = conversation
    everything = "all" in request.GET
    hidden = 0 if everything else max(0, len(shown) - SHOWN_MESSAGES)
    sidebar = own_conversations(principal).exclude(head=None).order_by("-updated_at", "pk")
    context = {
        **_context(principal, conversation),
        "shown": present(shown[hidden:], principal, conversation),
        "num_hidden": hidden,
        "conversations": sidebar[:SIDEBAR],
        "current": str(conversation.pk),
        "text": text,
        "error": error,
        "longest": services.LONGEST_MESSAGE,
    }
    return render(request, "conversations/chat.html", context, status=status)


def _context(principal: Principal, conversation: Conversation) -> dict[str, Any]:
    own = is_own(principal, conversation)
    return {
        "principal": principal,
        "conversation": conversation,
        "assistant": get_assistant(conversation.assistant),
        "panel": panel_fields(conversation),
        "is_own": own,
        "is_agent": principal.may(Role.AGENT),
        "may_delete": own or principal.may(Role.ADMIN),
    }


def _message_fragment(
    request: HttpRequest, principal: Principal, conversation: Conversation, messages: list[Message]
) -> HttpResponse:
    """Messages and, swapped out of band, what their arrival changed around them."""
    for message in messages:
        message.conversation = conversation
    context = {
        **_context(principal, conversation),
        "shown": present(messages, principal, conversation),
        "fragment": True,
    }
    return render(request, "conversations/_messages.html", context)


@in_conversation
@require_POST
def post(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    return _post(request, principal, conversation, request.POST.get("text", ""))


def _post(
    request: HttpRequest, principal: Principal, conversation: Conversation, text: str
) -> HttpResponse:
    try:
        said = services.post_message(principal=principal, conversation=conversation, text=text)
    except (MessageRefused, NotNow) as error:
        status = 422 if isinstance(error, MessageRefused) else 409
        if request.htmx:  # type: ignore[attr-defined]
            response = render(
                request, "conversations/_composer_error.html", {"error": error}, status=status
            )
            return retarget(reswap(response, "innerHTML"), "#composer-error")
        return _chat_page(
            request, principal, conversation, text=text, error=str(error), status=status
        )
    except TooManyTurns as busy:
        response = _said(request, principal, busy.answer)
        response.status_code = 429
        response.headers["Retry-After"] = str(busy.retry_after)
        return response
    return _said(request, principal, said)


def _said(request: HttpRequest, principal: Principal, said: Message) -> HttpResponse:
    """What was just said and the answer that is being written."""
    conversation = said.conversation
    if request.htmx:  # type: ignore[attr-defined]
        opened = [said]
        if said.role == Message.Role.ASSISTANT and said.parent is not None:
            opened.insert(0, said.parent)
        return _message_fragment(request, principal, conversation, opened)
    if said.status == Message.Status.FAILED:
        return _chat_page(request, principal, conversation)
    return redirect(f"{conversation.get_absolute_url()}#message-{said.pk}")


@in_conversation
@require_GET
def message(
    request: HttpRequest, principal: Principal, conversation: Conversation, message_id: UUID
) -> HttpResponse:
    """One message as the page shows it; the page asks for it when the answer is complete."""
    found = settle(get_message(principal, message_id, conversation_id=conversation.pk))
    return _message_fragment(request, principal, conversation, [found])


@in_conversation
@require_GET
def news(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    """What was said after the message `after`, for a page that waits for a person's answer."""
    shown = services.shown_messages(conversation)
    ids = [str(message.pk) for message in shown]
    after = request.GET.get("after", "")
    later = shown[ids.index(after) + 1 :] if after in ids else shown
    if not later and request.GET.get("owner") == conversation.owner_kind:
        return HttpResponse(status=204)
    return _message_fragment(request, principal, conversation, later)


def message_act(
    act: Callable[[HttpRequest, Principal, Message], HttpResponse | None],
) -> Callable[..., HttpResponse]:
    """A POST on one message; refusals become a note on the page."""

    @wraps(act)
    def acted(
        request: HttpRequest, principal: Principal, conversation: Conversation, message_id: UUID
    ) -> HttpResponse:
        target = get_message(principal, message_id, conversation_id=conversation.pk)
        try:
            response = act(request, principal, target)
        except (MessageRefused, NotNow, TooManyTurns) as error:
            notes.error(request, str(error))
            response = None
        return response or redirect(f"{conversation.get_absolute_url()}#message-{target.pk}")

    return in_conversation(require_POST(acted))


@message_act
def stop(request: HttpRequest, principal: Principal, message: Message) -> HttpResponse | None:
    services.stop(principal=principal, message=message)
    return HttpResponse(status=204) if request.htmx else None  # type: ignore[attr-defined]


@message_act
def regenerate(request: HttpRequest, principal: Principal, message: Message) -> HttpResponse:
    answer = services.regenerate(principal=principal, message=message)
    return redirect(f"{answer.conversation.get_absolute_url()}#message-{answer.pk}")


@message_act
def edit(request: HttpRequest, principal: Principal, message: Message) -> HttpResponse:
    text = request.POST.get("text", "")
    try:
        said = services.edit(principal=principal, message=message, text=text)
    except (MessageRefused, NotNow) as error:
        status = 422 if isinstance(error, MessageRefused) else 409
        return _chat_page(
            request, principal, message.conversation, text=text, error=str(error), status=status
        )
    return redirect(f"{said.conversation.get_absolute_url()}#message-{said.pk}")


@message_act
def show(request: HttpRequest, principal: Principal, message: Message) -> None:
    services.show_version(principal=principal, message=message)


@message_act
def feedback(request: HttpRequest, principal: Principal, message: Message) -> HttpResponse | None:
    form = FeedbackForm(request.POST)
    if not form.is_valid():
        raise MessageRefused(_("Choose one of the two thumbs."))
    error = ""
    given: Feedback | None
    try:
        given = services.give_feedback(principal=principal, message=message, **form.cleaned_data)
    except MessageRefused as refused:
        error = str(refused)
        given = Feedback(
            message=message,
            thumb=form.cleaned_data["thumb"],
            correction=form.cleaned_data["correction"],
        )
    if not request.htmx:  # type: ignore[attr-defined]
        if error:
            raise MessageRefused(error)
        notes.success(request, _("Thank you; the feedback is stored."))
        return None
    context = {
        "message": message,
        "conversation": message.conversation,
        "feedback": given,
        "error": error,
        "stored": not error,
    }
    return render(request, "conversations/_feedback.html", context, status=422 if error else 200)


# The conversation as a whole ------------------------------------------------------------------------


@in_conversation
@require_POST
def correct(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    """Put one field of the panel right; a refused value stays in its field with the reason."""
    key, value = request.POST.get("key", ""), request.POST.get("value", "")
    error = ""
    try:
        conversation = services.correct_state(
            principal=principal, conversation=conversation, key=key, value=value
        )
    except (ValueError, NotNow) as refused:
        error = str(refused)
    if request.htmx:  # type: ignore[attr-defined]
        context = {
            **_context(principal, conversation),
            "error": error,
            "refused_key": key if error else "",
            "refused_value": value,
            "corrected_key": "" if error else key,
        }
        return render(request, "conversations/_panel.html", context, status=422 if error else 200)
    if error:
        notes.error(request, error)
    return redirect(conversation)


@in_conversation
@require_POST
def rename(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    try:
        services.rename(
            principal=principal, conversation=conversation, title=request.POST.get("title", "")
        )
    except MessageRefused as error:
        notes.error(request, str(error))
    return redirect(conversation)


@in_conversation
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    """Asks first; the page's dialog posts here directly."""
    if request.method == "GET":
        context = _context(principal, conversation)
        if not context["may_delete"]:
            raise PermissionDenied
        return render(request, "conversations/delete.html", context)
    services.delete(principal=principal, conversation=conversation)
    notes.success(request, _("The conversation is deleted."))
    return redirect(f"{reverse('conversations:list')}?workspace={principal.workspace.slug}")


@in_conversation
@require_GET
def export_json(
    request: HttpRequest, principal: Principal, conversation: Conversation
) -> HttpResponse:
    data = export.as_json(conversation, services.shown_messages(conversation))
    response = JsonResponse(data, json_dumps_params={"ensure_ascii": False, "indent": 2})
    return _as_file(response, conversation, "json")


@in_conversation
@require_GET
def export_markdown(
    request: HttpRequest, principal: Principal, conversation: Conversation
) -> HttpResponse:
    text = export.as_markdown(conversation, services.shown_messages(conversation))
    response = HttpResponse(text, content_type="text/markdown; charset=utf-8")
    return _as_file(response, conversation, "md")


def _as_file(response: HttpResponse, conversation: Conversation, ending: str) -> HttpResponse:
    name = f"{conversation.assistant}-{conversation.created_at:%Y-%m-%d}-{str(conversation.pk)[:8]}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
    return response
