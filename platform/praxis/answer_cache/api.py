"""The answer cache over REST: its figures, its settings, and emptying it; for administrators."""

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Role
from praxis.answer_cache import services
from praxis.assistants.models import AssistantSettings
from praxis.assistants.registry import all_assistants
from praxis.assistants.services import settings_for

router = Router(tags=["answer cache"])


class AuthedRequest(HttpRequest):
    auth: Principal


class CacheSettings(Schema):
    """What is left out stays as it is."""

    cache_answers: bool | None = None
    cache_similar: bool | None = None
    cache_hours: int | None = Field(None, ge=1, le=8760)


@router.get("/assistants/{slug}/answer-cache", summary="Figures and settings of the answer cache")
def read_cache(request: AuthedRequest, slug: str) -> dict[str, Any]:
    return _to_dict(_enter(request, slug, "knowledge:read"), slug)


@router.patch("/assistants/{slug}/answer-cache", summary="Switch the answer cache on or off")
def change_cache(request: AuthedRequest, slug: str, body: CacheSettings) -> dict[str, Any]:
    principal = _enter(request, slug, "knowledge:write")
    chosen = settings_for(principal.workspace, slug)
    changes = body.dict(exclude_none=True)
    for name, value in changes.items():
        setattr(chosen, name, value)
    chosen.save()
    record(principal, "assistant.settings", chosen, **changes)
    return _to_dict(principal, slug)


@router.delete(
    "/assistants/{slug}/answer-cache", response={204: None}, summary="Delete the stored answers"
)
def purge_cache(request: AuthedRequest, slug: str) -> Status:
    principal = _enter(request, slug, "knowledge:write")
    count = services.purge(principal.workspace, slug)
    record(principal, "answer_cache.purge", assistant=slug, entries=count)
    return Status(204, None)


def _enter(request: AuthedRequest, slug: str, scope: str) -> Principal:
    request.auth.require_scope(scope)
    request.auth.require(Role.ADMIN)
    if slug not in {one.slug for one in all_assistants()}:
        raise Http404
    return request.auth


def _to_dict(principal: Principal, slug: str) -> dict[str, Any]:
    chosen: AssistantSettings = settings_for(principal.workspace, slug)
    [figures] = services.figures(principal.workspace, [slug])
    return {
        "assistant": slug,
        "cache_answers": chosen.cache_answers,
        "cache_similar": chosen.cache_similar,
        "cache_hours": chosen.cache_hours,
        "days": services.DAYS,
        "exact": figures.exact,
        "similar": figures.similar,
        "missed": figures.missed,
        "hit_rate": figures.hit_rate,
        "saved_seconds": figures.saved_seconds,
        "entries": figures.entries,
    }
