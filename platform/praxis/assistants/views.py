"""The workspace's page of assistant settings."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from praxis.accounts.access import enter_workspace, record
from praxis.accounts.models import Role
from praxis.assistants.forms import AssistantSettingsForm
from praxis.assistants.registry import all_assistants, get_assistant
from praxis.assistants.services import settings_for


@login_required
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    rows = []
    for assistant in all_assistants():
        chosen = settings_for(principal.workspace, assistant.slug)
        form = AssistantSettingsForm(instance=chosen, prefix=assistant.slug)
        rows.append({"assistant": assistant, "settings": chosen, "form": form})
    return render(request, "assistants/index.html", {"principal": principal, "rows": rows})


@login_required
def edit(request: HttpRequest, workspace: str, assistant: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    try:
        declared = get_assistant(assistant)
    except KeyError as error:
        raise Http404 from error
    chosen = settings_for(principal.workspace, assistant)
    form = AssistantSettingsForm(request.POST or None, instance=chosen, prefix=assistant)
    if form.is_valid():
        saved = form.save()
        record(principal, "assistant.settings", saved, **form.cleaned_data)
        messages.success(request, _("Saved: %(title)s.") % {"title": declared.title})
        return redirect("assistants:index", workspace=workspace)
    rows = [{"assistant": declared, "settings": chosen, "form": form}]
    return render(request, "assistants/index.html", {"principal": principal, "rows": rows})
