"""What the answer cache saves, what it holds, and the buttons that empty it."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from praxis.accounts.access import enter_workspace, record
from praxis.accounts.models import Role
from praxis.answer_cache import services
from praxis.answer_cache.models import CachedAnswer
from praxis.assistants.registry import all_assistants
from praxis.assistants.services import settings_for

ENTRIES_A_PAGE = 50


@login_required
@require_GET
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    assistants = {one.slug: one for one in all_assistants()}
    rows = [
        {
            "assistant": assistants[figures.assistant],
            "figures": figures,
            "percent": None if figures.hit_rate is None else round(100 * figures.hit_rate),
            "settings": settings_for(principal.workspace, figures.assistant),
        }
        for figures in services.figures(principal.workspace, assistants)
    ]
    entries = (
        CachedAnswer.objects.filter(workspace=principal.workspace, expires_at__gt=Now())
        .defer("events")
        .select_related("message__conversation")
        .order_by("-used_at", "pk")
    )
    page = Paginator(entries, ENTRIES_A_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "answer_cache/index.html",
        {
            "principal": principal,
            "rows": rows,
            "page": page,
            "titles": {slug: one.title for slug, one in assistants.items()},
            "days": services.DAYS,
            "most_entries": services.MOST_ENTRIES,
        },
    )


@login_required
@require_POST
def purge(request: HttpRequest, workspace: str) -> HttpResponse:
    """Empty the cache, or with `assistant` that assistant's part of it."""
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    assistant = request.POST.get("assistant", "")
    if assistant and assistant not in {one.slug for one in all_assistants()}:
        raise Http404
    count = services.purge(principal.workspace, assistant)
    record(principal, "answer_cache.purge", assistant=assistant, entries=count)
    messages.success(
        request,
        ngettext("%(count)d stored answer deleted.", "%(count)d stored answers deleted.", count)
        % {"count": count},
    )
    return redirect("answer_cache:index", workspace=workspace)


@login_required
@require_POST
def delete(request: HttpRequest, workspace: str, entry_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace, role=Role.ADMIN)
    entry = CachedAnswer.objects.filter(workspace=principal.workspace, pk=entry_id).first()
    if entry is None:
        raise Http404
    record(principal, "answer_cache.delete", entry)
    entry.delete()
    messages.success(request, _("The stored answer was deleted; the next who asks gets a new one."))
    return redirect("answer_cache:index", workspace=workspace)
