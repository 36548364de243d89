"""Widgets over REST, for administrators. Scopes: `channels:read` and `channels:write`."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.refusals import MessageRefused, sentences_of
from praxis.widget import services
from praxis.widget.access import get_widget
from praxis.widget.forms import WidgetForm
from praxis.widget.models import DEFAULT_COLOUR, Widget

router = Router(tags=["widgets"])
Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class NewWidget(Schema):
    name: str
    assistant: str = Field(description="The slug of an assistant, as GET /assistants lists them.")
    origins: list[str] = Field(
        description="Scheme and host of the sites that may show it, like https://shop.example.org."
    )
    greeting: str = Field("", description="Empty: the assistant's own line.")
    colour: str = Field(DEFAULT_COLOUR, description="`#` and six hexadecimal digits.")
    language: str = Field(
        "", description="`en`, `zh-hans`, or empty: the page's, else the browser's."
    )
    enabled: bool = True


class WidgetChange(Schema):
    """What is left out stays as it is; `origins` is replaced as a whole."""

    name: str = ""
    assistant: str = ""
    origins: list[str] = []
    greeting: str = ""
    colour: str = ""
    language: str = ""
    enabled: bool = True


FIELDS = tuple(NewWidget.model_fields)


def widget_to_dict(request: HttpRequest, widget: Widget) -> Answer:
    return {
        "id": str(widget.pk),
        **{name: getattr(widget, name) for name in FIELDS},
        "key": widget.key,
        "script_url": request.build_absolute_uri(reverse("widget:loader", args=[widget.key])),
        "created_at": widget.created_at.isoformat(),
    }


@router.get("/widgets", summary="The workspace's widgets, by name")
def list_widgets(request: AuthedRequest) -> list[Answer]:
    request.auth.require_scope("channels:read")
    request.auth.require(Role.ADMIN)
    rows = request.auth.workspace.widgets.order_by("name")
    return [widget_to_dict(request, row) for row in rows]


@router.post("/widgets", response={201: Answer}, summary="Make a widget")
def create_widget(request: AuthedRequest, body: NewWidget) -> Status:
    request.auth.require_scope("channels:write")
    widget = Widget(workspace=request.auth.workspace)
    return Status(201, _saved(request, widget, body.dict()))


@router.get("/widgets/{uuid:widget_id}", summary="One widget")
def read_widget(request: AuthedRequest, widget_id: UUID) -> Answer:
    request.auth.require_scope("channels:read")
    return widget_to_dict(request, get_widget(request.auth, widget_id))


@router.patch("/widgets/{uuid:widget_id}", summary="Change a widget, or switch it on or off")
def change_widget(request: AuthedRequest, widget_id: UUID, body: WidgetChange) -> Answer:
    request.auth.require_scope("channels:write")
    widget = get_widget(request.auth, widget_id)
    now = {name: getattr(widget, name) for name in FIELDS}
    return _saved(request, widget, {**now, **body.dict(exclude_unset=True)})


@router.delete("/widgets/{uuid:widget_id}", response={204: None}, summary="Delete a widget")
def delete_widget(request: AuthedRequest, widget_id: UUID) -> Status:
    request.auth.require_scope("channels:write")
    services.delete(principal=request.auth, widget=get_widget(request.auth, widget_id))
    return Status(204, None)


def _saved(request: AuthedRequest, widget: Widget, fields: Answer) -> Answer:
    """What the form of the pages takes is taken here, and nothing else."""
    form = WidgetForm({**fields, "origins": "\n".join(fields["origins"])}, instance=widget)
    saved = services.save(principal=request.auth, form=form)
    if saved is None:
        raise MessageRefused(sentences_of(form))
    return widget_to_dict(request, saved)
