"""Encoders of the workspace's search over REST. Scopes: `tuning:read` and `tuning:write`."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.jobs.services import NotAllowedNow, request_cancel
from praxis.knowledge.encoders import encoder_in_use, last_switch
from praxis.knowledge.models import Encoder
from praxis.tuning import encoders
from praxis.tuning.access import get_encoder

router = Router(tags=["fine-tuning"])

Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


class NewEncoder(Schema):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)
    epochs: float = Field(2.0, ge=0.1, le=20)
    learning_rate: float = Field(2e-5, ge=1e-7, le=1e-2)
    from_documents: int = Field(
        1000, ge=0, le=10_000, description="At most so many pairs come from the documents."
    )


def _allowed(request: AuthedRequest, scope: str) -> Principal:
    request.auth.require_scope(scope)
    request.auth.require(Role.ADMIN)
    return request.auth


def _refused(message: object, status: int) -> Status[Answer]:
    kind = "invalid" if status == 422 else "conflict"
    return Status(status, {"error": {"type": kind, "message": str(message)}})


def _in_use(principal: Principal) -> Answer:
    switched = last_switch(principal.workspace.pk)
    return {
        "encoder": str(switched.encoder_id) if switched and switched.encoder_id else None,
        "previous": str(switched.previous_id) if switched and switched.previous_id else None,
        "since": switched.at.isoformat() if switched else None,
    }


@router.get("/tuning/encoders", summary="Encoders, the newest first, and which one search uses")
def list_encoders(request: AuthedRequest) -> Answer:
    principal = _allowed(request, "tuning:read")
    found = Encoder.objects.filter(workspace=principal.workspace)
    rows = found.select_related("workspace", "job__workspace", "indexing__workspace")
    now = encoder_in_use(principal.workspace.pk)
    return {
        "in_use": _in_use(principal),
        "items": [encoders.to_dict(row, in_use=now) for row in rows.order_by("-created_at", "pk")],
    }


@router.post(
    "/tuning/encoders", response={201: Answer, 422: Answer}, summary="Tune an encoder for search"
)
def create_encoder(request: AuthedRequest, body: NewEncoder) -> Status[Answer]:
    """Pairs are mined from the golden set, the feedback and the documents; a part is held out."""
    principal = _allowed(request, "tuning:write")
    chosen = body.dict()
    try:
        encoder = encoders.launch(
            principal=principal, name=chosen.pop("name"), choices=encoders.Choices(**chosen)
        )
    except encoders.EncoderRefused as refusal:
        return _refused(refusal, 422)
    return Status(201, encoders.to_dict(encoder, in_use=None))


@router.get("/tuning/encoders/{uuid:encoder_id}", summary="One encoder: state, figures, jobs")
def read_encoder(request: AuthedRequest, encoder_id: UUID) -> Answer:
    return _shown(_allowed(request, "tuning:read"), encoder_id)


def _shown(principal: Principal, encoder_id: UUID) -> Answer:
    now = encoder_in_use(principal.workspace.pk)
    return encoders.to_dict(get_encoder(principal, encoder_id), in_use=now)


@router.post(
    "/tuning/encoders/{uuid:encoder_id}/cancel",
    response={200: Answer, 409: Answer},
    summary="Cancel the training, or the making of vectors",
)
def cancel_encoder(request: AuthedRequest, encoder_id: UUID) -> Status[Answer]:
    principal = _allowed(request, "tuning:write")
    encoder = get_encoder(principal, encoder_id)
    job = encoder.indexing or encoder.job
    try:
        if job is not None:
            request_cancel(job)
    except NotAllowedNow as refusal:
        return _refused(refusal, 409)
    return Status(200, _shown(principal, encoder_id))


@router.post(
    "/tuning/encoders/{uuid:encoder_id}/promote",
    response={200: Answer, 409: Answer},
    summary="Let search go over to an encoder",
)
def promote_encoder(request: AuthedRequest, encoder_id: UUID) -> Status[Answer]:
    """At once if it has all vectors; else they are made beside the old ones first, by the job
    `indexing`, and search goes over when none is missing."""
    principal = _allowed(request, "tuning:write")
    encoder = get_encoder(principal, encoder_id)
    try:
        encoders.search_with(principal=principal, encoder=encoder)
    except encoders.EncoderRefused as refusal:
        return _refused(refusal, 409)
    return Status(200, _shown(principal, encoder_id))


@router.post(
    "/tuning/encoders/return",
    response={200: Answer, 409: Answer},
    summary="Go back to what search used before",
)
def return_encoder(request: AuthedRequest) -> Status[Answer]:
    principal = _allowed(request, "tuning:write")
    try:
        encoders.go_back(principal=principal)
    except encoders.EncoderRefused as refusal:
        return _refused(refusal, 409)
    return Status(200, _in_use(principal))


@router.post(
    "/tuning/encoders/{uuid:encoder_id}/retire",
    response={200: Answer, 409: Answer},
    summary="Delete an encoder's files and vectors; its figures are kept",
)
def retire_encoder(request: AuthedRequest, encoder_id: UUID) -> Status[Answer]:
    principal = _allowed(request, "tuning:write")
    try:
        encoders.retire(principal=principal, encoder=get_encoder(principal, encoder_id))
    except encoders.EncoderRefused as refusal:
        return _refused(refusal, 409)
    return Status(200, _shown(principal, encoder_id))
