"""What a visitor's browser asks for: the loader, the frame, and the conversation inside it.

The visitor is in the `Authorization` header and in no cookie, so the POSTs need no CSRF token: a
browser adds that header for nobody.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any
from uuid import UUID

from csp.constants import SELF
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from praxis.assistants.registry import get_assistant
from praxis.conversations.access import get_message
from praxis.conversations.models import Conversation, Message
from praxis.conversations.presentation import panel_fields, present
from praxis.conversations.refusals import MessageRefused, NotNow
from praxis.conversations.services import (
    LONGEST_MESSAGE,
    TooManyTurns,
    correct_state,
    post_message,
    regenerate,
    shown_messages,
    start_conversation,
    stop,
)
from praxis.conversations.streams import settle
from praxis.handoff import services as handoff
from praxis.handoff.models import Survey
from praxis.handoff.presence import present_users
from praxis.widget.models import Widget
from praxis.widget.visitors import (
    TooOften,
    Visit,
    conversation_of,
    enter,
    find_widget,
    may_speak,
    new_token,
    renewed,
)

LOADER = Path(__file__).with_name("loader.js")
LOADER_SECONDS = 300
SHOWN_MESSAGES = 60
LARGEST_BODY = 200_000
"""Bytes; the longest message is below it in UTF-8."""

Act = Callable[[Visit, Conversation, dict[str, Any]], None]


@require_GET
def loader(request: HttpRequest, key: str) -> HttpResponse:
    """The script that another site names; it makes a button, and the frame when it is pressed."""
    widget = find_widget(key)
    chosen = {"colour": widget.colour, "ink": widget.ink, "language": widget.language}
    script = f"{LOADER.read_text().rstrip()}({json.dumps(chosen)});\n"
    response = HttpResponse(script, content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = f"public, max-age={LOADER_SECONDS}"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response


@xframe_options_exempt
@require_GET
def frame(request: HttpRequest, key: str) -> HttpResponse:
    """The chat as other sites show it; browsers refuse it on sites that are not named."""
    widget = find_widget(key)
    with _language(request, widget):
        assistant = get_assistant(widget.assistant)
        context = {
            "widget": widget,
            "assistant": assistant,
            "longest": LONGEST_MESSAGE,
            "language": translation.get_language(),
        }
        response = render(request, "widget/frame.html", context)
    # Praxis itself shows it on the administrators' demo page.
    response._csp_replace = {"frame-ancestors": [SELF, *widget.origins]}  # type: ignore[attr-defined]
    response.headers["Cache-Control"] = "no-store"
    return response


def _language(request: HttpRequest, widget: Widget) -> AbstractContextManager[None]:
    """The widget's language, else the one that the site asks for, else the browser's."""
    asked = widget.language or request.GET.get("lang", "")
    try:
        return translation.override(translation.get_supported_language_variant(asked))
    except LookupError:
        return translation.override(translation.get_language())


def for_visitor(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view gets the visit in place of the key; refusals become a sentence in JSON."""

    @wraps(view)
    def entered(request: HttpRequest, key: str, **kwargs: Any) -> HttpResponse:
        widget = find_widget(key)
        with _language(request, widget):
            try:
                return view(request, enter(request, widget), **kwargs)
            except TooOften as error:
                return _refused(error, 429)
            except MessageRefused as error:
                return _refused(error, 422)
            except NotNow as error:
                return _refused(error, 409)
            except PermissionDenied:
                return JsonResponse({"error": _("This chat has ended. Reload it.")}, status=403)

    return entered


def _refused(error: Exception, status: int) -> JsonResponse:
    return JsonResponse({"error": str(error)}, status=status)


@csrf_exempt
@require_POST
def session(request: HttpRequest, key: str) -> HttpResponse:
    """A token: the same visitor's renewed, or a new visitor's."""
    widget = find_widget(key)
    with _language(request, widget):
        try:
            token = renewed(enter(request, widget))
        except PermissionDenied:
            try:
                token = new_token(widget, request)
            except TooOften as error:
                return _refused(error, 429)
    return JsonResponse({"token": token})


@require_GET
@for_visitor
def transcript(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The conversation as HTML; only the greeting before the first message."""
    conversation = conversation_of(visit)
    context: dict[str, Any] = {
        "widget": visit.widget,
        "assistant": get_assistant(visit.widget.assistant),
        "conversation": conversation,
    }
    if conversation is not None:
        context |= _told(visit, conversation)
    return render(request, "widget/transcript.html", context)


def _told(visit: Visit, conversation: Conversation) -> dict[str, Any]:
    messages = [settle(one) for one in shown_messages(conversation)[-SHOWN_MESSAGES:]]
    for message in messages:
        message.conversation = conversation
    is_closed = conversation.owner_kind == Conversation.OwnerKind.CLOSED
    return {
        "shown": present(messages, visit.principal, conversation),
        "panel": None if is_closed else panel_fields(conversation),
        "is_closed": is_closed,
        "somebody_is_there": bool(present_users(visit.widget.workspace_id)),
        "asks_for_rating": is_closed and handoff.settings_of(visit.principal).ask_for_rating,
        "survey": Survey.objects.filter(conversation=conversation).first(),
        "scores": (1, 2, 3, 4, 5),
    }


@csrf_exempt
@require_POST
@for_visitor
def say(request: HttpRequest, visit: Visit) -> HttpResponse:
    """A message of the visitor; the first one, and the first after the end, begins a conversation."""
    text = str(_body(request).get("text", ""))
    may_speak(visit)
    conversation = conversation_of(visit)
    if conversation is None or conversation.owner_kind == Conversation.OwnerKind.CLOSED:
        conversation = start_conversation(
            principal=visit.principal, assistant=visit.widget.assistant, channel="widget"
        )
    try:
        said = post_message(principal=visit.principal, conversation=conversation, text=text)
    except TooManyTurns as busy:  # the message is kept, and its answer says what to do
        said = busy.answer
    return JsonResponse({"message": str(said.pk)}, status=201)


@csrf_exempt
@require_POST
@for_visitor
def act(request: HttpRequest, visit: Visit, name: str) -> HttpResponse:
    """One of `ACTS` in the visitor's conversation."""
    conversation = conversation_of(visit)
    if conversation is None:
        raise Http404
    ACTS[name](visit, conversation, _body(request))
    return JsonResponse({})


def _body(request: HttpRequest) -> dict[str, Any]:
    """Raises `MessageRefused` unless the body is a JSON object."""
    raw = request.read(LARGEST_BODY + 1)
    if len(raw) > LARGEST_BODY:
        raise MessageRefused(_("The message is too long."))
    try:
        found = json.loads(raw or b"{}")
    except ValueError as error:
        raise MessageRefused(_("The request is not JSON.")) from error
    if not isinstance(found, dict):
        raise MessageRefused(_("The request is not a JSON object."))
    return found


def _ask_for_person(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    handoff.ask_for_person(principal=visit.principal, conversation=conversation)


def _end(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    handoff.close(principal=visit.principal, conversation=conversation)


def _rate(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    score = body.get("score")
    handoff.rate(
        principal=visit.principal,
        conversation=conversation,
        score=score if isinstance(score, int) else 0,
        comment=str(body.get("comment", "")),
    )


def _typing(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    handoff.say_typing(principal=visit.principal, conversation=conversation)


def _correct(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    """A field of what the assistant has understood."""
    key, value = str(body.get("key", "")), str(body.get("value", ""))
    shown = panel_fields(conversation) or ()
    if key not in {one.field.key for one in shown if one.field.editable}:
        raise Http404
    try:
        correct_state(principal=visit.principal, conversation=conversation, key=key, value=value)
    except ValueError as error:
        raise MessageRefused(str(error)) from error


def _stop(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    stop(principal=visit.principal, message=_message(visit, conversation, body))


def _again(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> None:
    """Ask for another answer where the first failed."""
    may_speak(visit)
    try:
        regenerate(principal=visit.principal, message=_message(visit, conversation, body))
    except TooManyTurns:
        return  # the new answer says so


def _message(visit: Visit, conversation: Conversation, body: dict[str, Any]) -> Message:
    try:
        message_id = UUID(str(body.get("message", "")))
    except ValueError as error:
        raise Http404 from error
    return get_message(visit.principal, message_id, conversation_id=conversation.pk)


ACTS: dict[str, Act] = {
    "person": _ask_for_person,
    "end": _end,
    "rating": _rate,
    "typing": _typing,
    "correct": _correct,
    "stop": _stop,
    "again": _again,
}
