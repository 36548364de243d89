"""The drafts of a workspace: list, one with its check, the Word file, a lawyer's review."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from apps.legal.access import drafts_of, get_draft
from apps.legal.drafting import assemble, to_docx
from apps.legal.interview import QUESTIONS
from praxis.accounts.access import enter_workspace, record
from praxis.accounts.models import Role

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@login_required
def index(request: HttpRequest, workspace: str) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    rows = drafts_of(principal).select_related("workspace").order_by("-created_at", "pk")[:200]
    return render(request, "legal/index.html", {"principal": principal, "drafts": rows})


@login_required
def draft(request: HttpRequest, workspace: str, draft_id: UUID) -> HttpResponse:
    """POST marks the draft as reviewed, or takes the mark back."""
    principal = enter_workspace(request, workspace)
    row = get_draft(principal, draft_id)
    if request.method == "POST":
        principal.require(Role.AGENT)
        done = "reviewed" in request.POST
        row.reviewed_by = principal.user if done else None
        row.reviewed_at = timezone.now() if done else None
        row.save(update_fields=["reviewed_by", "reviewed_at"])
        record(principal, "legal.review", row, reviewed=done)
        messages.success(request, _("Saved."))
        return redirect("legal:draft", workspace=workspace, draft_id=draft_id)
    agreement = assemble(row.values)
    facts = [(question.label, question.show(row.values[question.key])) for question in QUESTIONS]
    context = {"principal": principal, "draft": row, "agreement": agreement, "facts": facts}
    return render(request, "legal/draft.html", context)


@login_required
def docx(request: HttpRequest, workspace: str, draft_id: UUID) -> HttpResponse:
    principal = enter_workspace(request, workspace)
    row = get_draft(principal, draft_id)
    name = slugify(f"nda {row.values['party_a']} {row.values['party_b']} v{row.number}") or "nda"
    response = HttpResponse(to_docx(assemble(row.values)), content_type=DOCX)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.docx"'
    record(principal, "legal.download", row)
    return response
