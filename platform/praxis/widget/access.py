"""Who may see and change a widget: administrators of its workspace."""

from uuid import UUID

from django.http import Http404

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.widget.models import Widget


def get_widget(principal: Principal, widget_id: UUID) -> Widget:
    widget = Widget.objects.filter(workspace=principal.workspace, pk=widget_id).first()
    if widget is None:
        raise Http404
    principal.require(Role.ADMIN)
    return widget
