"""A widget is stored and taken away, from the pages and over REST."""

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.widget.forms import WidgetForm
from praxis.widget.models import Widget


def save(*, principal: Principal, form: WidgetForm) -> Widget | None:
    """The stored widget; None where the form has errors, among them a name that is taken."""
    principal.require(Role.ADMIN)
    if not form.is_valid():
        return None
    try:
        with transaction.atomic():
            saved: Widget = form.save()
            record(principal, "widget.save", saved, origins=saved.origins)
    except IntegrityError:
        form.add_error("name", _("There is a widget with this name already."))
        return None
    return saved


def delete(*, principal: Principal, widget: Widget) -> None:
    """The visitors' conversations stay in the workspace; no visitor comes to them any more."""
    principal.require(Role.ADMIN)
    record(principal, "widget.delete", widget)
    widget.delete()
