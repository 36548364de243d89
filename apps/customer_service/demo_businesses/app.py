"""One HTTP program for all demo businesses: `/shop/…`, `/restaurant/…`, `/clinic/…`."""

import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from apps.customer_service.demo_businesses.business import Business, Endpoint, refuse
from apps.customer_service.demo_businesses.clinic import Clinic
from apps.customer_service.demo_businesses.restaurant import Restaurant
from apps.customer_service.demo_businesses.shop import Shop

LARGEST_BODY = 16_384


def create_app(token: str, businesses: Sequence[Business] = ()) -> Starlette:
    """The businesses behind `Authorization: Bearer <token>`; an empty token is refused.

    Without `businesses` a new one of each.
    """
    if not token:
        raise ValueError("The demo businesses need a token, got an empty one.")
    mounts = [
        Mount(f"/{business.name}", routes=_routes(business, token))
        for business in businesses or (Shop(), Restaurant(), Clinic())
    ]
    return Starlette(routes=[Route("/health", _health), *mounts])


def _health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _routes(business: Business, token: str) -> list[Route]:
    def guarded(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                return refuse(401, "unauthorised", "The token is missing or wrong.")
            body: dict[str, Any] = {}
            if request.method != "GET":
                raw = await request.body()
                if len(raw) > LARGEST_BODY:
                    return refuse(413, "too_large", "The body is too large.")
                try:
                    parsed = json.loads(raw or b"{}")
                except ValueError:
                    return refuse(400, "not_json", "The body is not JSON.")
                if not isinstance(parsed, dict):
                    return refuse(400, "not_json", "The body must be a JSON object.")
                body = parsed
            path = request.url.path.removeprefix(f"/{business.name}")
            with business.lock:
                return _answer_once(business, endpoint, request, path, body)

        return respond

    async def reset(request: Request) -> Response:
        business.reset()
        return JSONResponse({"reset": True})

    routes = [
        Route(path, guarded(endpoint), methods=[method])
        for method, path, endpoint in business.endpoints()
    ]
    return [*routes, Route("/reset", reset, methods=["POST"])]


def _answer_once(
    business: Business, endpoint: Endpoint, request: Request, path: str, body: dict[str, Any]
) -> JSONResponse:
    """A repeated key gets the first answer again; with another request it is refused."""
    key = request.headers.get("idempotency-key", "")
    if request.method == "GET":
        return endpoint(request, body)
    sent = {**request.query_params, **body}
    fingerprint = json.dumps([path, sent], sort_keys=True)
    if key and key in business.answers:
        first, status, answer = business.answers[key]
        if first != fingerprint:
            return refuse(422, "key_reused", "This key came with another request before.")
        return JSONResponse(answer, status_code=status)
    response = endpoint(request, body)
    if response.status_code < 300:
        business.calls.append((request.method, path, sent))
    if key:
        answer = json.loads(bytes(response.body))
        business.answers[key] = (fingerprint, response.status_code, answer)
    return response
