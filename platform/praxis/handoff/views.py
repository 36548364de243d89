"""The agents' inbox, and what the person sees of a handoff beside their chat."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import reswap, retarget

from praxis.accounts.access import Principal, enter_workspace, record
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.registry import get_assistant
from praxis.conversations.access import enter_conversation, is_own
from praxis.conversations.models import Conversation
from praxis.conversations.presentation import panel_fields
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.services import LONGEST_MESSAGE, shown_messages
from praxis.handoff import inbox, services
from praxis.handoff.access import (
    conversation_for_agent,
    enter_inbox,
    get_agent,
    get_canned_answer,
)
from praxis.handoff.forms import CannedAnswerForm, InboxSettingsForm
from praxis.handoff.mail import mail_is_configured
from praxis.handoff.models import CannedAnswer, Survey
from praxis.handoff.suggestions import suggest
from praxis.handoff.transcript import mail_transcript
from praxis.handoff.transitions import open_handoff

AgentView = Callable[..., HttpResponse]
LONGEST_NAME = 60


# The inbox ----------------------------------------------------------------------------------------


@login_required
@require_GET
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_inbox(request, workspace)
    show = request.GET.get("show", "waiting")
    show = show if show in inbox.SHOWS else "waiting"
    context = {
        "principal": principal,
        "show": show,
        "shows": _tabs(principal),
        "rows": inbox.queue(principal, show),
        "limit": inbox.LISTED,
        "now": timezone.now(),
        "colleagues": inbox.colleagues(principal),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "handoff/_queue.html", context)
    return render(request, "handoff/index.html", context)


def _tabs(principal: Principal) -> list[tuple[str, str, int | None]]:
    found = inbox.counts(principal)
    return [
        ("waiting", _("Waiting"), found["waiting"]),
        ("mine", _("Mine"), found["mine"]),
        ("all", _("All open"), None),
        ("closed", _("Closed"), None),
    ]


def for_agent(view: AgentView) -> AgentView:
    """The view gets the principal and the conversation in place of their names."""

    @wraps(view)
    def entered(
        request: HttpRequest, workspace: str, conversation_id: UUID, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        principal = enter_inbox(request, workspace)
        found = conversation_for_agent(principal, conversation_id)
        return view(request, principal, found, *args, **kwargs)

    return login_required(entered)


@for_agent
@require_GET
def conversation(
    request: HttpRequest, principal: Principal, conversation: Conversation
) -> HttpResponse:
    """The page; htmx gets what changes while it is open."""
    context = _context(principal, conversation)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "handoff/_live.html", {**context, "live": True})
    return render(request, "handoff/conversation.html", context)


def _context(principal: Principal, conversation: Conversation) -> dict[str, Any]:
    handoff = open_handoff(conversation)
    messages = shown_messages(conversation)
    owner = conversation.owner
    return {
        "principal": principal,
        "conversation": conversation,
        "assistant": get_assistant(conversation.assistant),
        "panel": panel_fields(conversation),
        "handoff": handoff,
        "urgency": handoff.urgency(timezone.now()) if handoff else "",
        "now": timezone.now(),
        "timeline": inbox.timeline(principal, conversation),
        "summary": inbox.summary(conversation, messages),
        "colleagues": inbox.colleagues(principal),
        "canned_answers": CannedAnswer.objects.filter(workspace=principal.workspace).order_by(
            "name"
        ),
        "survey": Survey.objects.filter(conversation=conversation).first(),
        "is_mine": owner is not None and owner == principal.user,
        "may_take": conversation.owner_kind != "closed"
        and owner != principal.user
        and (owner is None or principal.may(Role.ADMIN)),
        "may_decide": owner in (None, principal.user) or principal.may(Role.ADMIN),
        "longest": LONGEST_MESSAGE,
    }


def agent_act(act: Callable[[HttpRequest, Principal, Conversation], Any]) -> AgentView:
    """A POST of an agent on a conversation; then the page, or a refusal as a note on it."""

    @wraps(act)
    def acted(
        request: HttpRequest, principal: Principal, conversation: Conversation
    ) -> HttpResponse:
        try:
            act(request, principal, conversation)
        except (MessageRefused, NotNow) as error:
            return _refusal(request, principal, conversation, error)
        if request.htmx:  # type: ignore[attr-defined]
            conversation = conversation_for_agent(principal, conversation.pk)
            context = {**_context(principal, conversation), "live": True, "done": True}
            return render(request, "handoff/_live.html", context)
        return redirect("handoff:conversation", principal.workspace.slug, conversation.pk)

    return for_agent(require_POST(acted))


def _refusal(
    request: HttpRequest,
    principal: Principal,
    conversation: Conversation,
    error: MessageRefused | NotNow,
) -> HttpResponse:
    status = 422 if isinstance(error, MessageRefused) else 409
    if request.htmx:  # type: ignore[attr-defined]
        response = render(
            request, "conversations/_composer_error.html", {"error": error}, status=status
        )
        return retarget(reswap(response, "innerHTML"), "#composer-error")
    context = {
        **_context(principal, conversation),
        "error": error,
        "text": request.POST.get("text", ""),
    }
    return render(request, "handoff/conversation.html", context, status=status)


@agent_act
def take(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    services.take(principal=principal, conversation=conversation)


@agent_act
def assign(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    agent = get_agent(principal, request.POST.get("agent", ""))
    services.assign(principal=principal, conversation=conversation, agent=agent)


@agent_act
def put_back(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    services.put_back(principal=principal, conversation=conversation)


@agent_act
def give_back(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    services.give_back(principal=principal, conversation=conversation)


@agent_act
def close(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    services.close(principal=principal, conversation=conversation)


@agent_act
def write(request: HttpRequest, principal: Principal, conversation: Conversation) -> None:
    """A reply to the person, or with `as=note` a word to the other agents."""
    say = services.add_note if request.POST.get("as") == "note" else services.reply
    say(principal=principal, conversation=conversation, text=request.POST.get("text", ""))


@for_agent
@require_POST
def typing(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    services.say_typing(principal=principal, conversation=conversation)
    return HttpResponse(status=204)


@for_agent
@require_POST
def suggestion(
    request: HttpRequest, principal: Principal, conversation: Conversation
) -> HttpResponse:
    context: dict[str, Any] = {"conversation": conversation, "principal": principal}
    try:
        context["suggestion"] = suggest(principal=principal, conversation=conversation)
    except (NotNow, ModelUnavailable) as error:
        context["error"] = str(error)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "handoff/_suggestion.html", context)
    found = context.get("suggestion")
    context = {**_context(principal, conversation), **context, "text": found.text if found else ""}
    return render(request, "handoff/conversation.html", context)


@login_required
@require_GET
def people(request: HttpRequest, workspace: str) -> HttpResponse:
    """Who has the inbox open, for a page that asks from time to time."""
    principal = enter_inbox(request, workspace)
    context = {"principal": principal, "colleagues": inbox.colleagues(principal)}
    return render(request, "handoff/_people.html", context)


@login_required
@require_POST
def name(request: HttpRequest, workspace: str) -> HttpResponse:
    """What visitors read as the name of this agent, in place of the name they sign in with."""
    principal = enter_inbox(request, workspace)
    agent = principal.user
    assert agent is not None, "only persons enter the inbox"
    agent.first_name, agent.last_name = request.POST.get("name", "").strip()[:LONGEST_NAME], ""
    agent.save(update_fields=["first_name", "last_name"])
    notes.success(request, _("Your name is stored."))
    return redirect("handoff:index", principal.workspace.slug)


# Setting it up ------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest, workspace: str) -> HttpResponse:
    """The settings, and the canned answers, which every agent sees and administrators change."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    form = InboxSettingsForm(request.POST or None, instance=services.settings_of(principal))
    if request.method == "POST" and form.is_valid():
        chosen = form.save()
        record(principal, "inbox.settings", chosen, **form.cleaned_data)
        notes.success(request, _("The settings are stored."))
        return redirect("handoff:setup", principal.workspace.slug)
    return _setup_page(request, principal, form=form)


def _setup_page(request: HttpRequest, principal: Principal, **more: Any) -> HttpResponse:
    form = more.get("form") or InboxSettingsForm(instance=services.settings_of(principal))
    context = {
        "principal": principal,
        "mail_is_configured": mail_is_configured(),
        "canned_answers": CannedAnswer.objects.filter(workspace=principal.workspace).order_by(
            "name"
        ),
        "answer_form": CannedAnswerForm(),
        **more,
        "form": form,
    }
    refused = any(one.errors for one in (form, context["answer_form"]) if one.is_bound)
    return render(request, "handoff/setup.html", context, status=422 if refused else 200)


@login_required
@require_POST
def save_canned_answer(
    request: HttpRequest, workspace: str, answer_id: int | None = None
) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    answer = CannedAnswer(workspace=principal.workspace)
    if answer_id is not None:
        answer = get_canned_answer(principal, answer_id)
    form = CannedAnswerForm(request.POST, instance=answer)
    if form.is_valid():
        try:
            with transaction.atomic():
                record(principal, "canned_answer.save", form.save())
        except IntegrityError:
            form.add_error("name", _("There is a canned answer with this name already."))
        else:
            notes.success(request, _("The canned answer is stored."))
            return redirect("handoff:setup", principal.workspace.slug)
    return _setup_page(request, principal, answer_form=form)


@login_required
@require_POST
def delete_canned_answer(request: HttpRequest, workspace: str, answer_id: int) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    answer = get_canned_answer(principal, answer_id)
    record(principal, "canned_answer.delete", answer)
    answer.delete()
    notes.success(request, _("The canned answer is deleted."))
    return redirect("handoff:setup", principal.workspace.slug)


# Beside the person's chat ---------------------------------------------------------------------------


def person_act(act: Callable[[HttpRequest, Principal, Conversation], str | None]) -> AgentView:
    """A POST of the person whose conversation it is; what `act` returns is said on the page."""

    @wraps(act)
    def acted(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        principal, conversation = enter_conversation(request, conversation_id)
        try:
            if said := act(request, principal, conversation):
                notes.success(request, said)
        except (MessageRefused, NotNow) as error:
            notes.error(request, str(error))
        if request.htmx:  # type: ignore[attr-defined]
            return _after(request, principal, conversation)
        return redirect(conversation)

    return login_required(require_POST(acted))


@person_act
def ask_for_person(
    request: HttpRequest, principal: Principal, conversation: Conversation
) -> str | None:
    services.ask_for_person(principal=principal, conversation=conversation)
    return None


@person_act
def end(request: HttpRequest, principal: Principal, conversation: Conversation) -> str | None:
    services.close(principal=principal, conversation=conversation)
    return None


@person_act
def rate(request: HttpRequest, principal: Principal, conversation: Conversation) -> str:
    score = request.POST.get("score", "")
    services.rate(
        principal=principal,
        conversation=conversation,
        score=int(score) if score.isdecimal() and len(score) < 3 else 0,
        comment=request.POST.get("comment", ""),
    )
    return _("Thank you for your rating.")


@person_act
def transcript(request: HttpRequest, principal: Principal, conversation: Conversation) -> str:
    address = request.POST.get("address", "").strip()
    mail_transcript(principal=principal, conversation=conversation, address=address)
    return _("The transcript was sent to %(address)s.") % {"address": address}


@login_required
@require_POST
def person_typing(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    principal, conversation = enter_conversation(request, conversation_id)
    services.say_typing(principal=principal, conversation=conversation)
    return HttpResponse(status=204)


@login_required
@require_GET
def after(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """The rating and the transcript of a conversation, in the chat or as a page of its own."""
    principal, conversation = enter_conversation(request, conversation_id)
    return _after(request, principal, conversation)


def _after(request: HttpRequest, principal: Principal, conversation: Conversation) -> HttpResponse:
    context = {
        "principal": principal,
        "conversation": conversation,
        "is_own": is_own(principal, conversation),
        "is_closed": conversation.owner_kind == Conversation.OwnerKind.CLOSED,
        "asks_for_rating": services.settings_of(principal).ask_for_rating,
        "survey": Survey.objects.filter(conversation=conversation).first(),
        "scores": (1, 2, 3, 4, 5),
        "mail_is_configured": mail_is_configured(),
    }
    name = "handoff/_after.html" if request.htmx else "handoff/after.html"  # type: ignore[attr-defined]
    return render(request, name, context)
