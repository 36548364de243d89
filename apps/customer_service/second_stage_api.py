"""The second stage of intents over REST, for administrators. Scopes: `tuning:read`, `tuning:write`."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from apps.customer_service import second_stage
from apps.customer_service.access import get_intent_model
from apps.customer_service.models import IntentModel
from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.conversations.refusals import NotNow
from praxis.integrations.conversations_api import Page
from praxis.integrations.idempotency import once
from praxis.jobs.services import NotAllowedNow, request_cancel

router = Router(tags=["services"])
Answer = dict[str, Any]


class AuthedRequest(HttpRequest):
    auth: Principal


def _allowed(request: AuthedRequest, scope: str) -> Principal:
    request.auth.require_scope(scope)
    request.auth.require(Role.ADMIN)
    return request.auth


@router.get("/second-stages", summary="Second stages of intents, the newest first")
def list_second_stages(request: AuthedRequest, page: Query[Page]) -> Answer:
    """`in_use` is the id of the one that decides beside the first stage, or null. The one in
    training is among them, and what came of the newest training that failed."""
    workspace = _allowed(request, "tuning:read").workspace
    found = IntentModel.objects.filter(workspace=workspace)
    used = found.filter(in_use=True).values_list("pk", flat=True).first()
    rows = found.select_related("workspace", "job__workspace").order_by("-created_at", "pk")
    return {
        "count": found.count(),
        "in_use": str(used) if used else None,
        "items": [
            second_stage.to_dict(row) for row in rows[page.offset : page.offset + page.limit]
        ],
    }


@router.post(
    "/second-stages",
    response={202: Answer, 409: Answer},
    summary="Train a second stage on the samples of all services in use",
)
def train_second_stage(request: AuthedRequest) -> Status[Answer]:
    """It is used by itself if it was better on held-out samples. 409 while one is being trained, and
    when there are too few samples to judge by. Takes an `Idempotency-Key`."""
    principal = _allowed(request, "tuning:write")

    def started() -> Status[Answer]:
        try:
            model = second_stage.launch(principal=principal)
        except second_stage.SecondStageRefused as refusal:
            raise NotNow(str(refusal)) from refusal
        return Status(202, second_stage.to_dict(model))

    return once(request, principal, started)


@router.get("/second-stages/{uuid:model_id}", summary="One second stage: state, figures, job")
def read_second_stage(request: AuthedRequest, model_id: UUID) -> Answer:
    return second_stage.to_dict(get_intent_model(_allowed(request, "tuning:read"), model_id))


@router.post(
    "/second-stages/{uuid:model_id}/cancel",
    response={200: Answer, 409: Answer},
    summary="Cancel the training",
)
def cancel_second_stage(request: AuthedRequest, model_id: UUID) -> Answer:
    principal = _allowed(request, "tuning:write")
    model = get_intent_model(principal, model_id)
    if model.job is not None:
        try:
            request_cancel(model.job)
        except NotAllowedNow as refusal:
            raise NotNow(str(refusal)) from refusal
    return second_stage.to_dict(get_intent_model(principal, model_id))


@router.post(
    "/second-stages/{uuid:model_id}/promote",
    response={200: Answer, 409: Answer},
    summary="Let a trained one decide beside the first stage, from the next message on",
)
def promote_second_stage(request: AuthedRequest, model_id: UUID) -> Answer:
    """Also one that was not better."""
    principal = _allowed(request, "tuning:write")
    try:
        second_stage.use(principal=principal, model=get_intent_model(principal, model_id))
    except second_stage.SecondStageRefused as refusal:
        raise NotNow(str(refusal)) from refusal
    return second_stage.to_dict(get_intent_model(principal, model_id))


@router.post(
    "/second-stages/return",
    response={204: None},
    summary="Go back to the first stage alone; the trained ones are kept",
)
def return_to_first_stage(request: AuthedRequest) -> Status[None]:
    second_stage.use(principal=_allowed(request, "tuning:write"), model=None)
    return Status(204, None)
