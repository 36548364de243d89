"""The REST API under /api/v1/; every router takes a `Principal` as `request.auth`."""

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, ValidationError

from praxis.analytics.api import router as analytics_router
from praxis.answer_cache.api import router as answer_cache_router
from praxis.assistants.contract import ModelUnavailable
from praxis.assistants.registry import all_assistants
from praxis.conversations.services import MessageRefused, NotNow, TooManyTurns
from praxis.guarded_http import AddressRefused
from praxis.handoff.api import router as handoff_router
from praxis.integrations.authentication import KeyAuth
from praxis.integrations.channels_api import router as channels_router
from praxis.integrations.conversations_api import router as conversations_router
from praxis.integrations.idempotency import KeyReused
from praxis.integrations.webhooks_api import router as webhooks_router
from praxis.knowledge.api import router as knowledge_router
from praxis.tuning.api import router as tuning_router
from praxis.tuning.encoder_api import router as encoders_router
from praxis.widget.api import router as widgets_router
from praxis.workbench.api import router as workbench_router

api = NinjaAPI(
    title="Praxis",
    version="1",
    urls_namespace="api",
    auth=KeyAuth(),
    description="Assistants, conversations, knowledge, fine-tuning, webhooks and channels of one "
    "workspace: the one that the API key belongs to.",
)
api.add_router("", conversations_router)
api.add_router("", webhooks_router)
api.add_router("", channels_router)
api.add_router("", widgets_router)
api.add_router("", knowledge_router)
api.add_router("", tuning_router)
api.add_router("", encoders_router)
api.add_router("", answer_cache_router)
api.add_router("", workbench_router)
for assistant in all_assistants():
    if assistant.api:
        api.add_router(f"/{assistant.slug}", import_string(assistant.api))
api.add_router("", handoff_router)
api.add_router("", analytics_router)


def _error(request: HttpRequest, status: int, kind: str, message: str) -> HttpResponse:
    return api.create_response(
        request, {"error": {"type": kind, "message": message}}, status=status
    )


@api.exception_handler(AuthenticationError)
def _unauthenticated(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return _error(
        request,
        401,
        "unauthenticated",
        "The API key is missing, wrong, expired or revoked. Send it as "
        "'Authorization: Bearer prx_…'.",
    )


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _error(request, 404, "not_found", "There is no such object in this workspace.")


@api.exception_handler(PermissionDenied)
def _forbidden(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return _error(request, 403, "forbidden", str(error) or "The API key may not do this.")


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors
    )
    return _error(request, 422, "invalid", problems)


@api.exception_handler(MessageRefused)
def _refused(request: HttpRequest, error: MessageRefused) -> HttpResponse:
    return _error(request, 422, "invalid", str(error))


@api.exception_handler(AddressRefused)
def _address_refused(request: HttpRequest, error: AddressRefused) -> HttpResponse:
    return _error(request, 422, "address_refused", str(error))


@api.exception_handler(NotNow)
def _not_now(request: HttpRequest, error: NotNow) -> HttpResponse:
    return _error(request, 409, "conflict", str(error))


@api.exception_handler(KeyReused)
def _key_reused(request: HttpRequest, error: KeyReused) -> HttpResponse:
    return _error(request, error.status, "idempotency_key_reused", str(error))


@api.exception_handler(TooManyTurns)
def _too_many(request: HttpRequest, error: TooManyTurns) -> HttpResponse:
    response = _error(request, 429, "busy", str(error))
    response.headers["Retry-After"] = str(error.retry_after)
    return response


@api.exception_handler(ModelUnavailable)
def _no_model(request: HttpRequest, error: ModelUnavailable) -> HttpResponse:
    return _error(request, 503, "model_unavailable", str(error))
