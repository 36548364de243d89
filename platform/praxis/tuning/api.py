"""Data sets, runs and adapters over REST. Scopes: `tuning:read` and `tuning:write`."""

from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.registry import all_assistants
from praxis.jobs.services import NotAllowedNow
from praxis.tuning import adapters, datasets, runs
from praxis.tuning.access import get_adapter, get_dataset, get_run, get_version
from praxis.tuning.forms import MAX_UPLOAD_BYTES
from praxis.tuning.models import Adapter, Dataset, TuningRun
from praxis.tuning.serializers import (
    adapter_to_dict,
    dataset_to_dict,
    run_to_dict,
    version_to_dict,
)

router = Router(tags=["fine-tuning"])

Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class Page(Schema):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=100_000)


class NewRun(Schema):
    dataset_version: UUID
    assistant: str = Field(description="The slug of an assistant, as GET /assistants lists them.")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    rank: int = Field(16, ge=1, le=256)
    alpha: int = Field(32, ge=1, le=1024)
    epochs: float = Field(3.0, gt=0, le=100)
    steps: int = Field(0, ge=0, le=1_000_000, description="0 follows the epochs.")
    learning_rate: float = Field(2e-4, gt=0, le=0.1)
    schedule: Literal["cosine", "step"] = "cosine"
    max_tokens: int = Field(1024, ge=64, le=datasets.LONGEST_CONVERSATION)
    evaluation_share: float = Field(0.05, ge=0, le=0.5)
    experts: bool = Field(False, description="A mixture's routed experts too")


class Promotion(Schema):
    assistant: str


def _refused(message: object, status: int = 422) -> Status[Answer]:
    kind = "invalid" if status == 422 else "conflict"
    return Status(status, {"error": {"type": kind, "message": str(message)}})


def _unknown_assistant(slug: str) -> str | None:
    known = [assistant.slug for assistant in all_assistants()]
    if slug in known:
        return None
    return f"assistant must be one of {', '.join(known)}, got {slug!r}."


def _reader(request: AuthedRequest) -> Principal:
    request.auth.require_scope("tuning:read")
    request.auth.require(Role.ADMIN)
    return request.auth


def _writer(request: AuthedRequest) -> Principal:
    request.auth.require_scope("tuning:write")
    request.auth.require(Role.ADMIN)
    return request.auth


@router.get("/datasets", summary="Data sets with their versions, the newest first")
def list_datasets(request: AuthedRequest, page: Query[Page]) -> Answer:
    found = Dataset.objects.filter(workspace=_reader(request).workspace)
    rows = found.prefetch_related("versions").order_by("-created_at", "pk")
    return {
        "count": found.count(),
        "items": [dataset_to_dict(row) for row in rows[page.offset : page.offset + page.limit]],
    }


@router.post(
    "/datasets",
    response={201: Answer, 422: Answer},
    summary="Upload a JSONL of conversations as a data set's next version",
)
def upload_dataset(
    request: AuthedRequest, file: File[UploadedFile], name: Form[str]
) -> Status[Answer]:
    """`name` chooses the data set; it is made when there is none of that name yet.

    A small file is examined at once, a larger one has the state `examining` for a while.
    """
    principal = _writer(request)
    name = name.strip()
    if not 1 <= len(name) <= 120:
        return _refused(f"name must have 1 to 120 characters, got {len(name)}.")
    if not file.size or file.size > MAX_UPLOAD_BYTES:
        return _refused(f"file must have 1 to {MAX_UPLOAD_BYTES} bytes, got {file.size or 0}.")
    try:
        version = datasets.store_upload(principal=principal, name=name, file=file)
    except datasets.DatasetRefused as refusal:
        return _refused(refusal)
    return Status(201, version_to_dict(version, report=True))


@router.get("/datasets/{uuid:dataset_id}", summary="One data set with its versions")
def read_dataset(request: AuthedRequest, dataset_id: UUID) -> Answer:
    return dataset_to_dict(get_dataset(_reader(request), dataset_id))


@router.get(
    "/datasets/versions/{uuid:version_id}",
    summary="One version with its report: what is wrong, line by line",
)
def read_version(request: AuthedRequest, version_id: UUID) -> Answer:
    return version_to_dict(get_version(_reader(request), version_id), report=True)


@router.get("/tuning/runs", summary="Runs, the newest first")
def list_runs(request: AuthedRequest, page: Query[Page]) -> Answer:
    found = TuningRun.objects.filter(workspace=_reader(request).workspace)
    ordered = found.select_related("job", "workspace").order_by("-created_at", "pk")
    rows = list(ordered[page.offset : page.offset + page.limit])
    figures = runs.latest_figures([row.job_id for row in rows])
    return {
        "count": found.count(),
        "items": [run_to_dict(row, figures.get(row.job_id, {})) for row in rows],
    }


@router.post("/tuning/runs", response={201: Answer, 422: Answer}, summary="Start a run")
def create_run(request: AuthedRequest, body: NewRun) -> Status[Answer]:
    principal = _writer(request)
    if problem := _unknown_assistant(body.assistant):
        return _refused(problem)
    chosen = body.dict()
    version = get_version(principal, chosen.pop("dataset_version"))
    assistant, name = chosen.pop("assistant"), chosen.pop("name")
    try:
        run = runs.launch(
            principal=principal,
            version=version,
            assistant=assistant,
            name=name,
            choices=runs.Choices(**chosen),
        )
    except runs.LaunchRefused as refusal:
        return _refused(refusal)
    return Status(201, run_to_dict(run, {}))


@router.get("/tuning/runs/{uuid:run_id}", summary="One run: state, speed, losses, time left")
def read_run(request: AuthedRequest, run_id: UUID) -> Answer:
    run = get_run(_reader(request), run_id)
    return run_to_dict(run, runs.latest_figures([run.job_id]).get(run.job_id, {}))


@router.get("/tuning/runs/{uuid:run_id}/metrics", summary="What was measured after a step")
def read_metrics(request: AuthedRequest, run_id: UUID, after: int = -1) -> Answer:
    """Ask again with the last step while `more` is true or `finished` is false."""
    return runs.progress_of(get_run(_reader(request), run_id), after)


@router.post(
    "/tuning/runs/{uuid:run_id}/cancel",
    response={200: Answer, 409: Answer},
    summary="Cancel a run; a checkpoint is kept",
)
def cancel_run(request: AuthedRequest, run_id: UUID) -> Status[Answer]:
    principal = _writer(request)
    run = get_run(principal, run_id)
    try:
        runs.cancel(principal=principal, run=run)
    except NotAllowedNow as refusal:
        return _refused(refusal, 409)
    return Status(200, run_to_dict(get_run(principal, run_id), {}))


@router.get("/adapters", summary="Adapters, the newest first")
def list_adapters(request: AuthedRequest, page: Query[Page]) -> Answer:
    found = Adapter.objects.filter(workspace=_reader(request).workspace)
    rows = found.prefetch_related("evaluations", "used_by").order_by("-created_at", "pk")
    return {
        "count": found.count(),
        "items": [adapter_to_dict(row) for row in rows[page.offset : page.offset + page.limit]],
    }


@router.get("/adapters/{uuid:adapter_id}", summary="One adapter with its figures")
def read_adapter(request: AuthedRequest, adapter_id: UUID) -> Answer:
    return adapter_to_dict(get_adapter(_reader(request), adapter_id))


@router.post(
    "/adapters/{uuid:adapter_id}/promote",
    response={200: Answer, 409: Answer, 422: Answer},
    summary="Put an adapter behind an assistant; its next answer uses it",
)
def promote_adapter(request: AuthedRequest, adapter_id: UUID, body: Promotion) -> Status[Answer]:
    principal = _writer(request)
    adapter = get_adapter(principal, adapter_id)
    if problem := _unknown_assistant(body.assistant):
        return _refused(problem)
    try:
        adapters.promote(principal=principal, assistant=body.assistant, adapter=adapter)
    except adapters.AdapterRefused as refusal:
        return _refused(refusal, 409)
    return Status(200, adapter_to_dict(get_adapter(principal, adapter_id)))
