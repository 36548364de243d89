"""The workbench over REST: stored search settings, the golden set, its scores; for administrators."""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from ninja import Body, File, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.knowledge.access import get_corpus, get_document
from praxis.knowledge.models import Corpus
from praxis.knowledge.search_settings import (
    SearchSettings,
    forget_settings,
    save_settings,
    settings_for,
)
from praxis.workbench import golden
from praxis.workbench.access import get_question, get_run
from praxis.workbench.models import QUESTION_CHARACTERS, GoldenQuestion, GoldenRun

router = Router(tags=["retrieval workbench"])

Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class Of(Schema):
    corpus_id: UUID | None = Field(None, description="Of this corpus; else of the workspace.")


class Rows(Schema):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0)


class ExpectedHere(Schema):
    document_id: UUID
    passage: str = Field("", max_length=20_000, description="Its words; empty: the document.")


class NewQuestion(Schema):
    question: str = Field(min_length=1, max_length=QUESTION_CHARACTERS)
    corpus_id: UUID | None = Field(None, description="Where it is asked; else of every corpus.")
    expected: list[ExpectedHere] = Field(min_length=1, max_length=200)


class NewRun(Schema):
    settings: dict[str, Any] | None = Field(
        None, description="Try these instead of the stored ones; what is left out has its default."
    )


def _enter(request: AuthedRequest, scope: str) -> Principal:
    request.auth.require_scope(scope)
    request.auth.require(Role.ADMIN)
    return request.auth


def _invalid(message: str) -> Status:
    return Status(422, {"error": {"type": "invalid", "message": message}})


def _sentence(error: ValidationError) -> str:
    return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())


def _corpus(principal: Principal, corpus_id: UUID | None) -> Corpus | None:
    return get_corpus(principal, corpus_id) if corpus_id else None


@router.get("/search/settings", summary="The search settings in force")
def read_settings(request: AuthedRequest, of: Query[Of]) -> Answer:
    principal = _enter(request, "knowledge:read")
    corpus = _corpus(principal, of.corpus_id)
    return settings_for(principal.workspace, [corpus.pk] if corpus else []).to_dict()


@router.put(
    "/search/settings", response={200: Answer, 422: Answer}, summary="Store search settings"
)
def write_settings(
    request: AuthedRequest, of: Query[Of], body: Body[dict[str, Any]]
) -> Answer | Status:
    """What is left out has its default. A golden set is scored anew."""
    principal = _enter(request, "knowledge:write")
    corpus = _corpus(principal, of.corpus_id)
    try:
        settings = SearchSettings.from_dict(body)
    except ValidationError as error:
        return _invalid(_sentence(error))
    save_settings(settings, workspace=principal.workspace, corpus=corpus, by=principal.user)
    record(principal, "search.settings", corpus, values=settings.to_dict())
    golden.settings_changed(principal.workspace, by=principal.user)
    return settings.to_dict()


@router.delete(
    "/search/settings", response={204: None}, summary="Back to the workspace's or the defaults"
)
def delete_settings(request: AuthedRequest, of: Query[Of]) -> Status:
    principal = _enter(request, "knowledge:write")
    corpus = _corpus(principal, of.corpus_id)
    forget_settings(workspace=principal.workspace, corpus=corpus)
    record(principal, "search.settings.forget", corpus)
    golden.settings_changed(principal.workspace, by=principal.user)
    return Status(204, None)


@router.get("/golden-questions", summary="The golden set, the newest question first")
def list_questions(request: AuthedRequest, rows: Query[Rows]) -> list[Answer]:
    principal = _enter(request, "knowledge:read")
    questions = (
        GoldenQuestion.objects.filter(workspace=principal.workspace)
        .prefetch_related("expected__document")
        .order_by("-created_at", "pk")
    )
    return [each.to_dict() for each in questions[rows.offset : rows.offset + rows.limit]]


@router.post(
    "/golden-questions", response={201: Answer, 422: Answer}, summary="Expect documents or passages"
)
def create_question(request: AuthedRequest, body: NewQuestion) -> Status:
    """The same question again adds to what it should find."""
    principal = _enter(request, "knowledge:write")
    corpus = _corpus(principal, body.corpus_id)
    documents = [get_document(principal, each.document_id) for each in body.expected]
    if corpus and any(document.corpus_id != corpus.pk for document in documents):
        raise Http404
    try:
        question = golden.add_question(
            workspace=principal.workspace, text=body.question, corpus=corpus, by=principal.user
        )
    except golden.GoldenRefused as refusal:
        return _invalid(str(refusal))
    for document, each in zip(documents, body.expected, strict=True):
        golden.expect(question, document, each.passage)
    return Status(201, question.to_dict())


@router.delete(
    "/golden-questions/{uuid:question_id}", response={204: None}, summary="Take a question out"
)
def delete_question(request: AuthedRequest, question_id: UUID) -> Status:
    principal = _enter(request, "knowledge:write")
    get_question(principal, question_id).delete()
    return Status(204, None)


@router.post(
    "/golden-questions/import",
    response={200: Answer, 422: Answer},
    summary="Import questions from a CSV file",
)
def import_questions(request: AuthedRequest, file: File[UploadedFile]) -> Answer | Status:
    """Columns: `question`, `document` (its title), and if wanted `passage` and `corpus`."""
    principal = _enter(request, "knowledge:write")
    try:
        taken, problems = golden.import_csv(
            workspace=principal.workspace, content=file.read(), by=principal.user
        )
    except golden.GoldenRefused as refusal:
        return _invalid(str(refusal))
    record(principal, "golden.import", lines=taken)
    return {"lines": taken, "problems": problems}


@router.get("/golden-runs", summary="The scores over time, the newest first")
def list_runs(request: AuthedRequest, rows: Query[Rows]) -> list[Answer]:
    principal = _enter(request, "knowledge:read")
    runs = (
        GoldenRun.objects.filter(workspace=principal.workspace)
        .defer("results")
        .select_related("job")
        .order_by("-created_at", "pk")
    )
    return [run.to_dict() for run in runs[rows.offset : rows.offset + rows.limit]]


@router.post("/golden-runs", response={202: Answer, 422: Answer}, summary="Score the golden set")
def create_run(request: AuthedRequest, body: NewRun) -> Status:
    """It runs in the background: ask for the run until it has `figures`."""
    principal = _enter(request, "knowledge:write")
    try:
        tried = SearchSettings.from_dict(body.settings) if body.settings is not None else None
        run = golden.start_run(
            workspace=principal.workspace,
            origin=GoldenRun.Origin.ASKED,
            by=principal.user,
            tried=tried,
        )
    except ValidationError as error:
        return _invalid(_sentence(error))
    except golden.GoldenRefused as refusal:
        return _invalid(str(refusal))
    return Status(202, run.to_dict())


@router.get("/golden-runs/{uuid:run_id}", summary="A run, question by question")
def read_run(request: AuthedRequest, run_id: UUID) -> Answer:
    principal = _enter(request, "knowledge:read")
    run = get_run(principal, run_id)
    return {**run.to_dict(), "results": run.results}
