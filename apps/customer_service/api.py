"""Service definitions over REST. Scopes: `assistants:read` and `assistants:write`."""

from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest
from ninja import File, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from apps.customer_service import drafts
from apps.customer_service.access import get_definition, get_draft
from apps.customer_service.comparison import differences
from apps.customer_service.drafts import DraftRefused
from apps.customer_service.editing import checked_address
from apps.customer_service.forms import LARGEST_IMPORT
from apps.customer_service.importing import ImportRefused, from_files
from apps.customer_service.models import ServiceDefinition, ServiceDraft
from apps.customer_service.schema import DefinitionError, Problem
from apps.customer_service.second_stage_api import router as second_stage_router
from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role

router = Router(tags=["services"])
router.add_router("", second_stage_router)
Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class NewDraft(Schema):
    definition: dict[str, Any] = Field(description="As docs/how-to/define-a-service.md says.")
    base_url: str = Field(max_length=300)
    secret: str | None = Field(
        None, description="The endpoint's bearer token; left out, the present one is kept."
    )


class ChosenVersion(Schema):
    version: int


def _reader(request: AuthedRequest) -> Principal:
    request.auth.require_scope("assistants:read")
    request.auth.require(Role.AGENT)
    return request.auth


def _writer(request: AuthedRequest) -> Principal:
    request.auth.require_scope("assistants:write")
    request.auth.require(Role.ADMIN)
    return request.auth


def version_to_dict(row: ServiceDefinition, *, whole: bool = False) -> Answer:
    found: Answer = {
        "name": row.name,
        "version": row.version,
        "published": row.published,
        "title": row.definition["title"],
        "base_url": row.base_url,
        "created_at": row.created_at.isoformat(),
    }
    return {**found, "definition": row.definition} if whole else found


def draft_to_dict(draft: ServiceDraft) -> Answer:
    return {
        "name": draft.name,
        "definition": draft.definition,
        "base_url": draft.base_url,
        "has_secret": bool(draft.secret_encrypted),
        "based_on": draft.based_on.version if draft.based_on else None,
        "problems": _problems(drafts.problems_of(draft.definition)),
        "report": [str(note) for note in draft.notes],
        "updated_at": draft.updated_at.isoformat(),
    }


def _problems(problems: list[Problem]) -> list[Answer]:
    return [{"place": problem.place, "message": problem.message} for problem in problems]


def _refused(message: object, status: int = 422) -> Status[Answer]:
    kind = "invalid" if status == 422 else "conflict"
    return Status(status, {"error": {"type": kind, "message": str(message)}})


@router.get("/services", summary="Services: the version in use, the newest version, the draft")
def list_services(request: AuthedRequest) -> Answer:
    workspace = _reader(request).workspace
    found: dict[str, Answer] = {}
    for row in ServiceDefinition.objects.filter(workspace=workspace).order_by("name", "version"):
        entry = found.setdefault(row.name, {"name": row.name, "published": None, "draft": False})
        entry |= {"title": row.definition["title"], "newest": row.version}
        if row.published:
            entry["published"] = row.version
    for draft in ServiceDraft.objects.filter(workspace=workspace):
        entry = found.setdefault(
            draft.name,
            {
                "name": draft.name,
                "published": None,
                "newest": None,
                "title": draft.definition["title"],
            },
        )
        entry["draft"] = True
    return {"count": len(found), "items": list(found.values())}


@router.post(
    "/services/import",
    response={201: Answer, 409: Answer, 422: Answer},
    summary="Make a draft from an OpenAPI description, Rasa's files or an exported service",
)
def import_service(request: AuthedRequest, files: File[list[UploadedFile]]) -> Status[Answer]:
    """The draft's `report` lists what could not be taken over."""
    principal = _writer(request)
    if sum(file.size or 0 for file in files) > LARGEST_IMPORT:
        return _refused(f"The files may have {LARGEST_IMPORT} bytes together.")
    try:
        imported = from_files([(file.name or "file", file.read()) for file in files])
        draft = drafts.begin_draft(
            principal,
            imported.definition,
            base_url=imported.base_url,
            secret="",
            report=imported.report,
        )
    except ImportRefused as refusal:
        return _refused(refusal)
    except DraftRefused as refusal:
        return _refused(refusal, 409)
    return Status(201, draft_to_dict(draft))


@router.get(
    "/services/{slug:name}", summary="A service: its versions, and the one in use as a whole"
)
def read_service(request: AuthedRequest, name: str) -> Answer:
    principal = _reader(request)
    newest = get_definition(principal, name)
    versions = ServiceDefinition.objects.filter(workspace=principal.workspace, name=name)
    in_use = versions.filter(published=True).first()
    return {
        **version_to_dict(in_use or newest, whole=True),
        "versions": [version_to_dict(row) for row in versions.order_by("-version")],
    }


@router.get(
    "/services/{slug:name}/versions/{int:version}",
    summary="One version with its definition and what it changed",
)
def read_version(request: AuthedRequest, name: str, version: int) -> Answer:
    principal = _reader(request)
    row = get_definition(principal, name, version)
    before = (
        ServiceDefinition.objects.filter(
            workspace=principal.workspace, name=name, version__lt=version
        )
        .order_by("-version")
        .first()
    )
    changed = differences(before.definition, row.definition) if before else []
    return {
        **version_to_dict(row, whole=True),
        "changes": [
            {"place": one.place, "before": one.before, "after": one.after} for one in changed
        ],
    }


@router.get("/services/{slug:name}/draft", summary="The draft with what is wrong with it")
def read_draft(request: AuthedRequest, name: str) -> Answer:
    return draft_to_dict(get_draft(_writer(request), name))


@router.put(
    "/services/{slug:name}/draft",
    response={200: Answer, 422: Answer},
    summary="Write the draft of a service, new or known",
)
def write_draft(request: AuthedRequest, name: str, body: NewDraft) -> Status[Answer]:
    """A draft may still have problems, which the answer lists; only one without can be published."""
    principal = _writer(request)
    if body.definition.get("name") != name:
        return _refused(f"definition.name must be {name!r}, got {body.definition.get('name')!r}.")
    if not isinstance(body.definition.get("title"), str):
        return _refused("definition.title must be a text.")
    try:
        base_url = checked_address(body.base_url)
    except ValidationError as error:
        return _refused(f"base_url: {error.messages[0]}")
    try:
        draft = get_draft(principal, name)
    except Http404:
        draft = _opened(principal, name, body, base_url)
    if body.secret is not None or base_url != draft.base_url:
        # A new address doesn't get the old one's token.
        draft.secret = body.secret or ""
    draft.base_url = base_url
    draft.save(update_fields=["base_url", "secret_encrypted"])
    drafts.change(principal, draft, body.definition)
    return Status(200, draft_to_dict(draft))


def _opened(principal: Principal, name: str, body: NewDraft, base_url: str) -> ServiceDraft:
    version = drafts.newest_version(principal.workspace, name)
    if version is not None:
        return drafts.open_draft(principal, version)
    return drafts.begin_draft(
        principal, body.definition, base_url=base_url, secret=body.secret or "", report=[]
    )


@router.delete("/services/{slug:name}/draft", response={204: None}, summary="Discard the draft")
def delete_draft(request: AuthedRequest, name: str) -> Status[None]:
    principal = _writer(request)
    drafts.discard(principal, get_draft(principal, name))
    return Status(204, None)


@router.post(
    "/services/{slug:name}/draft/publish",
    response={201: Answer, 409: Answer},
    summary="Make the draft the next version and put it into use",
)
def publish_draft(request: AuthedRequest, name: str) -> Status[Answer]:
    principal = _writer(request)
    draft = get_draft(principal, name)
    try:
        made = drafts.publish(principal, draft)
    except (DefinitionError, DraftRefused) as refusal:
        return _refused(refusal, 409)
    return Status(201, version_to_dict(made, whole=True))


@router.post(
    "/services/{slug:name}/published", response={200: Answer}, summary="Put a version into use"
)
def publish_version(request: AuthedRequest, name: str, body: ChosenVersion) -> Answer:
    principal = _writer(request)
    row = get_definition(principal, name, body.version, role=Role.ADMIN)
    row.publish()
    record(principal, "service.publish", row, name=name, version=row.version)
    return version_to_dict(row)
