"""REST for corpora, documents and search; mounted under /api/v1/.

`request.auth` is the API key's `Principal`. Scopes: `knowledge:read` and `knowledge:write`; writing
also needs the role that the pages need.
"""

from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.knowledge import services
from praxis.knowledge.access import corpora_of, get_corpus, get_document
from praxis.knowledge.forms import CorpusForm
from praxis.knowledge.models import versions_without_text
from praxis.knowledge.parsing.formats import MAX_FILE_BYTES
from praxis.knowledge.parsing.sentences import sentence
from praxis.knowledge.search import search
from praxis.knowledge.search_settings import SearchSettings

router = Router(tags=["knowledge"])

Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class Rows(Schema):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0)


class NewCorpus(Schema):
    name: str = Field(max_length=120)
    description: str = ""
    assistants: list[str] = Field([], description="Slugs; empty: every assistant.")


class SearchQuestion(Schema):
    query: str = Field(min_length=1, max_length=2000)
    assistant: str = Field("", description="Search what this assistant may search.")
    corpus_ids: list[UUID] = Field([], description="Or these corpora; empty: every corpus.")
    filters: dict[str, Any] = Field({}, description="Metadata: name to value or list of values.")
    earlier: list[str] = Field([], description="The questions before it, for a follow-up.")
    settings: dict[str, Any] | None = Field(
        None, description="Instead of the stored search settings; for administrators."
    )
    explain: bool = Field(False, description="Also how it was found; for administrators.")
    limit: int = Field(8, ge=1, le=50)


def _refusal(kind: str, message: str, **more: Any) -> Answer:
    return {"error": {"type": kind, "message": message, **more}}


@router.get("/corpora", summary="The workspace's corpora")
def list_corpora(request: AuthedRequest) -> list[Answer]:
    request.auth.require_scope("knowledge:read")
    return [corpus.to_dict() for corpus in corpora_of(request.auth).order_by("name", "pk")]


@router.post("/corpora", response={201: Answer, 422: Answer}, summary="Add a corpus")
def create_corpus(request: AuthedRequest, body: NewCorpus) -> Status:
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    form = CorpusForm(body.dict(), workspace=request.auth.workspace)
    if not form.is_valid():
        problems = "; ".join(
            f"{field}: {' '.join(map(str, errors))}" for field, errors in form.errors.items()
        )
        return Status(422, _refusal("invalid", problems))
    corpus = form.save()
    record(request.auth, "corpus.create", corpus)
    return Status(201, corpus.to_dict())


@router.get("/corpora/{uuid:corpus_id}/documents", summary="The documents of a corpus, by title")
def list_documents(request: AuthedRequest, corpus_id: UUID, rows: Query[Rows]) -> list[Answer]:
    request.auth.require_scope("knowledge:read")
    corpus = get_corpus(request.auth, corpus_id)
    documents = corpus.documents.prefetch_related(versions_without_text()).order_by("title", "pk")
    return [document.to_dict() for document in documents[rows.offset : rows.offset + rows.limit]]


@router.post(
    "/corpora/{uuid:corpus_id}/documents",
    response={202: Answer, 409: Answer, 413: Answer, 422: Answer},
    summary="Upload a document",
)
def upload_document(
    request: AuthedRequest,
    corpus_id: UUID,
    file: File[UploadedFile],
    title: Form[str] = "",
) -> Status:
    """The file is read in the background: ask for the document until a version is `ready` or
    `failed`, or register the webhook `document.ready`. The same title or file name adds a version;
    the same content is refused with 409 and names the document that has it."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    if file.size and file.size > MAX_FILE_BYTES:
        megabytes, limit = round(file.size / 1048576, 1), MAX_FILE_BYTES // 1048576
        values = {"megabytes": megabytes, "limit": limit}
        return Status(413, _refusal("too_large", sentence("too_large", values)))
    content = file.read()
    if existing := services.find_content(corpus, content):
        return Status(
            409,
            _refusal(
                "duplicate",
                "The corpus has a document with the same content.",
                document_id=str(existing.document_id),
            ),
        )
    try:
        version = services.add_document(
            corpus=corpus,
            title=title,
            file_name=file.name or "",
            content=content,
            created_by=request.auth.user,
        )
    except services.UploadRefused as refusal:
        return Status(422, _refusal("invalid", str(refusal)))
    record(request.auth, "document.upload", version.document, version=version.number)
    return Status(202, version.document.to_dict())


@router.get("/documents/{uuid:document_id}", summary="A document and the state of its versions")
def read_document(request: AuthedRequest, document_id: UUID) -> Answer:
    request.auth.require_scope("knowledge:read")
    return get_document(request.auth, document_id).to_dict()


@router.delete(
    "/documents/{uuid:document_id}", response={204: None}, summary="Delete a document for good"
)
def delete_document(request: AuthedRequest, document_id: UUID) -> Status:
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    document = get_document(request.auth, document_id)
    record(request.auth, "document.delete", document)
    services.delete_document(document)
    return Status(204, None)


@router.post(
    "/search",
    response={200: Answer, 422: Answer},
    summary="Passages about a question, best first",
)
def search_passages(request: AuthedRequest, body: SearchQuestion) -> Answer | Status:
    """Each passage is the citation object that answers carry."""
    request.auth.require_scope("knowledge:read")
    principal = request.auth
    if body.explain or body.settings is not None:
        principal.require(Role.ADMIN)
    for corpus_id in body.corpus_ids:
        get_corpus(principal, corpus_id)
    try:
        tried = SearchSettings.from_dict(body.settings) if body.settings is not None else None
        result = search(
            principal=principal,
            assistant=body.assistant,
            corpora=body.corpus_ids or None,
            query=body.query,
            limit=body.limit,
            settings=tried,
            filters=body.filters,
            earlier=body.earlier,
        )
    except ValidationError as error:
        return Status(422, _refusal("invalid", " ".join(error.messages)))
    answer: Answer = {
        "query": body.query,
        "passages": [passage.to_dict() for passage in result.passages],
    }
    if body.explain:
        answer["explanation"] = result.explanation.to_dict()
    return answer
