"""Whose golden sets one may see: those of the own workspace."""

from uuid import UUID

from django.http import Http404

from praxis.accounts.access import Principal
from praxis.workbench.models import GoldenQuestion, GoldenRun


def get_question(principal: Principal, question_id: UUID) -> GoldenQuestion:
    """The question, or 404 when it is none of the principal's workspace."""
    question = GoldenQuestion.objects.filter(workspace=principal.workspace, pk=question_id).first()
    if question is None:
        raise Http404
    return question


def get_run(principal: Principal, run_id: UUID) -> GoldenRun:
    """The run, or 404 when it is none of the principal's workspace."""
    run = (
        GoldenRun.objects.select_related("workspace", "job__workspace", "created_by")
        .filter(workspace=principal.workspace, pk=run_id)
        .first()
    )
    if run is None:
        raise Http404
    return run
