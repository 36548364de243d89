"""The workspace's widgets: made, changed and taken away by its administrators."""

from uuid import UUID

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from praxis.accounts.access import Principal, enter_workspace
from praxis.accounts.models import Role
from praxis.widget import services
from praxis.widget.access import get_widget
from praxis.widget.forms import WidgetForm
from praxis.widget.models import Widget


@login_required
@require_http_methods(["GET", "POST"])
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    return _page(request, principal, Widget(workspace=principal.workspace))


@login_required
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, workspace: str, widget_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    return _page(request, principal, get_widget(principal, widget_id))


@login_required
@require_GET
@csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]  # its type knows no view with arguments
def demo(request: HttpRequest, workspace: str, widget_id: UUID) -> HttpResponse:
    """A page with the widget's line in it, as another site has it."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    widget = get_widget(principal, widget_id)
    return render(request, "widget/demo.html", {"principal": principal, "widget": widget})


def _page(request: HttpRequest, principal: Principal, widget: Widget) -> HttpResponse:
    """The list with the form for a new widget, or for the one that is changed."""
    form = WidgetForm(request.POST or None, instance=widget)
    if request.method == "POST" and services.save(principal=principal, form=form):
        notes.success(request, _("The widget is stored."))
        return redirect("widgets:index", principal.workspace.slug)
    widgets = [
        {
            "widget": one,
            "address": request.build_absolute_uri(reverse("widget:loader", args=[one.key])),
        }
        for one in Widget.objects.filter(workspace=principal.workspace).order_by("name")
    ]
    context = {
        "principal": principal,
        "widgets": widgets,
        "form": form,
        "editing": None if widget._state.adding else widget,
    }
    return render(request, "widget/index.html", context, status=422 if form.errors else 200)


@login_required
@require_POST
def delete(request: HttpRequest, workspace: str, widget_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    services.delete(principal=principal, widget=get_widget(principal, widget_id))
    notes.success(request, _("The widget is deleted."))
    return redirect("widgets:index", principal.workspace.slug)
