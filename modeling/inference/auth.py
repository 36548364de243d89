"""Who may call the server."""

import hmac
import ipaddress
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from modeling.inference.errors import ApiError

OPEN_PATHS = frozenset({"/health"})


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class BearerToken:
    """Lets a request pass with the right bearer token; /health needs none.

    Without a key the server listens on loopback only. Then the Host header must name loopback
    too: a web page in the operator's browser could otherwise reach it through a host name of its
    own that resolves to 127.0.0.1.
    """

    def __init__(self, app: ASGIApp, *, api_key: str | None) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode() if api_key is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            refusal = self._refusal(dict(scope["headers"]))
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> ApiError | None:
        if self._expected is None:
            host = headers.get(b"host", b"").decode("latin-1")
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if is_loopback(name):
                return None
            return ApiError(
                HTTPStatus.FORBIDDEN,
                "invalid_request_error",
                f"Host must name this machine's loopback while no API key is set, got {host!r}",
                code="host_not_allowed",
            )
        given = headers.get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            return None
        return ApiError(
            HTTPStatus.UNAUTHORIZED,
            "invalid_request_error",
            "Incorrect or missing API key; send it as 'Authorization: Bearer KEY'",
            code="invalid_api_key",
        )
