"""REST for corpora, documents and search; mounted under /api/v1/.

`request.auth` is the API key's `Principal`. Scopes: `knowledge:read` and `knowledge:write`; writing
also needs the role that the pages need.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import AfterValidator, Field, HttpUrl, TypeAdapter
from pydantic import ValidationError as PydanticError

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.assistants.contract import ModelUnavailable
from praxis.conversations.refusals import sentences_of
from praxis.jobs.models import Job
from praxis.jobs.running import PermanentFailure
from praxis.jobs.services import NotAllowedNow, pause, request_cancel, resume, retry
from praxis.knowledge import imports, records, services
from praxis.knowledge.access import (
    UnknownReader,
    corpora_of,
    documents_of,
    entries_from_names,
    get_corpus,
    get_document,
    get_record_of,
    with_names,
)
from praxis.knowledge.content import revise, revise_corpus
from praxis.knowledge.forms import CorpusForm, DocumentForm
from praxis.knowledge.models import Corpus, Document, versions_without_text
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


MAX_METADATA_CHARACTERS = 10_000


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    written = json.dumps(value)
    if len(written) > MAX_METADATA_CHARACTERS:
        raise ValueError(
            f"metadata has {len(written)} characters as JSON; at most {MAX_METADATA_CHARACTERS} are taken"
        )
    if "\\u0000" in written:
        raise ValueError("metadata must not hold the null character")
    return value


_ACCESS = Field(
    description="Who may find it: `role:agent` (a role includes the higher ones) or `user:NAME`. "
    "Empty: everyone in the workspace; of a document: who may find its corpus."
)
Access = Annotated[list[str], _ACCESS]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(_metadata),
    Field(description="Names and values that a search can filter by."),
]


class NewCorpus(Schema):
    name: str = Field(max_length=120)
    description: str = ""
    assistants: list[str] = Field([], description="Slugs; empty: every assistant.")
    access: Access = []
    metadata: Metadata = {}


class CorpusChange(Schema):
    """What is left out stays as it is; lists and metadata are replaced as a whole."""

    name: str = Field("", max_length=120)
    description: str = ""
    assistants: list[str] = []
    access: Access = []
    metadata: Metadata = {}


class DocumentChange(Schema):
    """What is left out stays as it is; the list and the metadata are replaced as a whole."""

    title: str = Field("", max_length=255)
    access: Access = []
    metadata: Metadata = {}


class NewImport(Schema):
    url: HttpUrl
    source: Literal["page", "site"] = Field("page", description="`site`: `url` is a sitemap.")


class Record(Schema):
    title: str = Field("", max_length=255, description="Shown with citations; empty: the key.")
    fields: dict[str, Any] = Field(
        description="Names and values: texts, numbers, lists or objects of them.", min_length=1
    )
    metadata: Metadata = {}
    access: Access | None = Field(None, description="Left out: as it is.")


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


_METADATA = TypeAdapter(Metadata)

_STEER: dict[str, Callable[[Job], Job]] = {
    "pause": pause,
    "resume": resume,
    "cancel": request_cancel,
    "retry": retry,
}


def _refusal(kind: str, message: str, **more: Any) -> Answer:
    return {"error": {"type": kind, "message": message, **more}}


def _invalid(form: ModelForm) -> Status:
    return Status(422, _refusal("invalid", sentences_of(form)))


def _unknown_reader(error: UnknownReader) -> Status:
    message = gettext(
        "access: “%(name)s” must be “role:” with a role (owner, admin, agent, member) or “user:” with "
        "the user name of a member."
    )
    return Status(422, _refusal("invalid", message % {"name": error.name}))


def _told(found: Corpus | Document) -> Answer:
    return with_names([found.to_dict()])[0]


@router.get("/corpora", summary="The workspace's corpora")
def list_corpora(request: AuthedRequest) -> list[Answer]:
    request.auth.require_scope("knowledge:read")
    corpora = corpora_of(request.auth).order_by("name", "pk")
    return with_names([corpus.to_dict() for corpus in corpora])


@router.post("/corpora", response={201: Answer, 422: Answer}, summary="Add a corpus")
def create_corpus(request: AuthedRequest, body: NewCorpus) -> Status:
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    try:
        access = entries_from_names(body.access, request.auth.workspace)
    except UnknownReader as error:
        return _unknown_reader(error)
    plain = body.dict(include={"name", "description", "assistants"})
    form = CorpusForm(plain, workspace=request.auth.workspace)
    if not form.is_valid():
        return _invalid(form)
    form.instance.access, form.instance.metadata = access, body.metadata
    corpus = form.save()
    record(request.auth, "corpus.create", corpus, access=access)
    return Status(201, _told(corpus))


@router.get("/corpora/{uuid:corpus_id}", summary="A corpus with its access list and metadata")
def read_corpus(request: AuthedRequest, corpus_id: UUID) -> Answer:
    request.auth.require_scope("knowledge:read")
    return _told(get_corpus(request.auth, corpus_id))


@router.patch(
    "/corpora/{uuid:corpus_id}",
    response={200: Answer, 422: Answer},
    summary="Change a corpus's name, description, assistants, access list or metadata",
)
def change_corpus(request: AuthedRequest, corpus_id: UUID, body: CorpusChange) -> Answer | Status:
    """Holds at once for everything that was read already."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    changes = body.dict(exclude_unset=True)
    try:
        if "access" in changes:
            changes["access"] = entries_from_names(body.access, corpus.workspace)
    except UnknownReader as error:
        return _unknown_reader(error)
    plain = {name: getattr(corpus, name) for name in ("name", "description", "assistants")}
    form = CorpusForm(
        {**plain, **changes, "access": "", "metadata": ""},
        instance=get_corpus(request.auth, corpus_id),
        workspace=corpus.workspace,
    )
    if not form.is_valid():
        return _invalid(form)
    changes |= {name: form.cleaned_data[name] for name in plain if name in changes}
    revise_corpus(corpus, **changes)
    record(request.auth, "corpus.edit", corpus, access=corpus.access)
    return _told(corpus)


@router.delete(
    "/corpora/{uuid:corpus_id}",
    response={204: None},
    summary="Delete a corpus with all its documents for good",
)
def delete_corpus(request: AuthedRequest, corpus_id: UUID) -> Status:
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    record(request.auth, "corpus.delete", corpus)
    services.delete_corpus(corpus)
    return Status(204, None)


@router.get("/corpora/{uuid:corpus_id}/documents", summary="The documents of a corpus, by title")
def list_documents(request: AuthedRequest, corpus_id: UUID, rows: Query[Rows]) -> list[Answer]:
    request.auth.require_scope("knowledge:read")
    corpus = get_corpus(request.auth, corpus_id)
    documents = documents_of(request.auth, corpus).prefetch_related(versions_without_text())
    documents = documents.order_by("title", "pk")
    documents = documents[rows.offset : rows.offset + rows.limit]
    return with_names([document.to_dict() for document in documents])


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
    access: Form[list[str]] = [],  # noqa: B006  (read only; Ninja copies it)
    metadata: Form[str] = "",
) -> Status:
    """The file is read in the background: ask for the document until a version is `ready` or
    `failed`, or register the webhook `document.ready`. The same title or file name adds a version;
    the same content is refused with 409 and names the document that has it. `access` (repeated, an
    entry each) and `metadata` (a JSON object) hold from the first passage on; left out, a new
    document has its corpus's, and a new version those of its document."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    if file.size and file.size > MAX_FILE_BYTES:
        megabytes, limit = round(file.size / 1048576, 1), MAX_FILE_BYTES // 1048576
        values = {"megabytes": megabytes, "limit": limit}
        return Status(413, _refusal("too_large", str(sentence("too_large", values))))
    try:
        entries = entries_from_names(access, corpus.workspace) if access else None
        own = _METADATA.validate_json(metadata) if metadata else None
    except UnknownReader as error:
        return _unknown_reader(error)
    except PydanticError as error:
        problem = error.errors()[0]["msg"]
        return Status(422, _refusal("invalid", f"metadata must be a JSON object: {problem}"))
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
            access=entries,
            metadata=own,
            created_by=request.auth.user,
        )
    except services.UploadRefused as refusal:
        return Status(422, _refusal("invalid", str(refusal)))
    record(request.auth, "document.upload", version.document, version=version.number)
    return Status(202, _told(version.document))


@router.post(
    "/corpora/{uuid:corpus_id}/imports",
    response={202: Answer},
    summary="Import a web page, or every page that a sitemap names",
)
def start_import(request: AuthedRequest, corpus_id: UUID, body: NewImport) -> Status:
    """Pages of the same host that its robots.txt allows, 500 at most. Ask for it until it has
    ended; what was refused is named with the reason."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    job = imports.start_import(
        corpus=corpus, source=body.source, value=str(body.url), created_by=request.auth.user
    )
    record(request.auth, "corpus.import", corpus, source=body.source, job=str(job.pk))
    return Status(202, imports.to_dict(job))


@router.post(
    "/corpora/{uuid:corpus_id}/archives",
    response={202: Answer, 413: Answer},
    summary="Upload a ZIP archive of documents",
)
def upload_archive(request: AuthedRequest, corpus_id: UUID, file: File[UploadedFile]) -> Status:
    """Unpacked as an import. Links, archives in the archive, encrypted files and what is larger than
    a document may be are refused one by one; an archive that unpacks to far more than its size as a
    whole."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    if (file.size or 0) > imports.MOST_ARCHIVE_BYTES:
        limit = imports.MOST_ARCHIVE_BYTES // 1048576
        return Status(413, _refusal("too_large", gettext("An archive may have %s MB.") % limit))
    job = imports.start_import(
        corpus=corpus,
        source="archive",
        value=imports.store_archive(file),
        created_by=request.auth.user,
    )
    record(request.auth, "corpus.import", corpus, source="archive", job=str(job.pk))
    return Status(202, imports.to_dict(job))


@router.get("/corpora/{uuid:corpus_id}/imports", summary="The running and the latest imports")
def list_imports(request: AuthedRequest, corpus_id: UUID) -> list[Answer]:
    request.auth.require_scope("knowledge:read")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    return [imports.to_dict(job) for job in imports.imports_of(corpus)]


@router.put(
    "/corpora/{uuid:corpus_id}/records/{key}",
    response={200: Answer, 201: Answer, 422: Answer, 503: Answer},
    summary="Store a live record under its key",
)
def put_record(request: AuthedRequest, corpus_id: UUID, key: str, body: Record) -> Status:
    """Searchable when this returns: 201 for a new version, 200 when its content is the same. Other
    systems call it whenever a product, an order or a price changes."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    corpus = get_corpus(request.auth, corpus_id)
    try:
        access = None if body.access is None else entries_from_names(body.access, corpus.workspace)
        version, changed = records.put_record(
            corpus=corpus,
            key=key,
            fields=body.fields,
            title=body.title,
            metadata=body.metadata,
            access=access,
            created_by=request.auth.user,
        )
    except UnknownReader as error:
        return _unknown_reader(error)
    except records.RecordRefused as refusal:
        return Status(422, _refusal("invalid", str(refusal)))
    except (ModelUnavailable, PermanentFailure) as error:
        return Status(503, _refusal("unavailable", str(error)))
    if changed:
        record(request.auth, "record.put", version.document, version=version.number)
    return Status(201 if changed else 200, _told(get_record_of(corpus, key)))


@router.get("/corpora/{uuid:corpus_id}/records/{key}", summary="A live record by its key")
def read_record(request: AuthedRequest, corpus_id: UUID, key: str) -> Answer:
    request.auth.require_scope("knowledge:read")
    found = get_record_of(get_corpus(request.auth, corpus_id), key)
    return _told(get_document(request.auth, found.pk))


@router.delete(
    "/corpora/{uuid:corpus_id}/records/{key}",
    response={204: None},
    summary="Delete a live record with all its versions",
)
def delete_record(request: AuthedRequest, corpus_id: UUID, key: str) -> Status:
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    document = get_record_of(get_corpus(request.auth, corpus_id), key)
    record(request.auth, "record.delete", document)
    services.delete_document(document)
    return Status(204, None)


@router.get("/documents/{uuid:document_id}", summary="A document and the state of its versions")
def read_document(request: AuthedRequest, document_id: UUID) -> Answer:
    request.auth.require_scope("knowledge:read")
    return _told(get_document(request.auth, document_id))


@router.patch(
    "/documents/{uuid:document_id}",
    response={200: Answer, 422: Answer},
    summary="Change a document's title, access list or metadata",
)
def change_document(
    request: AuthedRequest, document_id: UUID, body: DocumentChange
) -> Answer | Status:
    """Holds at once for every passage of it. Its own access list replaces the corpus's; its metadata
    is on top of the corpus's."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    document = get_document(request.auth, document_id)
    changes = body.dict(exclude_unset=True)
    try:
        if "access" in changes:
            changes["access"] = entries_from_names(body.access, document.corpus.workspace)
    except UnknownReader as error:
        return _unknown_reader(error)
    if "title" in changes:
        form = DocumentForm({"title": body.title}, instance=get_document(request.auth, document_id))
        if not form.is_valid():
            return _invalid(form)
        changes["title"] = form.cleaned_data["title"]
    revise(document, **changes)
    record(request.auth, "document.edit", document, access=document.access)
    return _told(document)


@router.post(
    "/documents/{uuid:document_id}/{action}",
    response={200: Answer, 409: Answer},
    summary="Pause, resume, cancel or retry the reading of a document",
)
def steer_document(
    request: AuthedRequest,
    document_id: UUID,
    action: Literal["pause", "resume", "cancel", "retry"],
) -> Answer | Status:
    """Of its newest version. What the state allows is listed in the version's
    `progress.actions`; anything else is 409 with the reason."""
    request.auth.require_scope("knowledge:write")
    request.auth.require(Role.ADMIN)
    document = get_document(request.auth, document_id)
    job = document.latest_version.job
    try:
        if job is None:
            raise NotAllowedNow(gettext("This document was not read by a job."))
        _STEER[action](job)
    except NotAllowedNow as refusal:
        return Status(409, _refusal("conflict", str(refusal)))
    record(request.auth, f"job.{action}", job, kind=job.kind)
    return _told(get_document(request.auth, document_id))


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
