"""Calling a service's HTTP action: bounded, checked, and never with an address of anyone's choice.

Values of slots only ever fill the placeholders that the definition names; scheme, host and port come
from the address that an administrator configured.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from apps.customer_service.policy import Outcome
from apps.customer_service.schema import PLACEHOLDER, Action
from praxis.guarded_http import AddressRefused, AllowedNetwork, resolve

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10.0
LARGEST_ANSWER = 262_144
LONGEST_CODE = 60
_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "flag": (bool,),
    "list": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a service's actions live, and the token that opens them."""

    base_url: str
    secret: str = ""
    allowed: Sequence[AllowedNetwork] = ()
    """Private networks that the operator, not the workspace, opened for such calls."""


class AnswerTooLarge(Exception):
    """The endpoint sent more than `LARGEST_ANSWER` bytes."""


def call(
    action: Action,
    arguments: Mapping[str, Any],
    endpoint: Endpoint,
    *,
    idempotency_key: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Outcome:
    """Call the action with the values of its slots. A GET is tried twice, a change once.

    A change must carry an idempotency key, so that repeating it later does it once.
    """
    assert idempotency_key or not action.changes_something
    tries = 1 if action.changes_something else 2
    outcome = Outcome(kind="unavailable")
    for _attempt in range(tries):
        try:
            status, raw = _send(action, arguments, endpoint, idempotency_key, timeout_seconds)
        except AddressRefused as error:
            _log(action, endpoint, error)
            return Outcome(kind="unavailable")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            _log(action, endpoint, error)
            continue
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            _log(action, endpoint, error)
            # The request may have arrived; whether the change was made is not known.
            outcome = Outcome(kind="uncertain" if action.changes_something else "unavailable")
            continue
        except AnswerTooLarge as error:
            _log(action, endpoint, error)
            return Outcome(kind="wrong")
        outcome = read_answer(action, arguments, status, raw)
        if outcome.kind != "unavailable":
            return outcome
    return outcome


def _send(
    action: Action,
    arguments: Mapping[str, Any],
    endpoint: Endpoint,
    idempotency_key: str,
    timeout_seconds: float,
) -> tuple[int, bytes]:
    headers = {"Accept": "application/json"}
    if endpoint.secret:
        headers["Authorization"] = f"Bearer {endpoint.secret}"
    if action.changes_something:
        headers["Idempotency-Key"] = idempotency_key
    path = PLACEHOLDER.sub(lambda name: quote(str(arguments[name[1]]), safe=""), action.path)
    params = {key: arguments[slot] for key, slot in action.query.items() if slot in arguments}
    body = {
        key: _typed(arguments[slot], action.sent_as.get(key, ""))
        for key, slot in action.body.items()
        if slot in arguments
    }
    # No proxy of the environment, no redirect, no second look-up of the name: the token goes to the
    # configured address alone.
    address, host, port = resolve(endpoint.base_url, endpoint.allowed)
    parts = urlsplit(endpoint.base_url)
    headers["Host"] = parts.netloc
    dialled = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    deadline = time.monotonic() + timeout_seconds
    with (
        httpx.Client(timeout=timeout_seconds, follow_redirects=False, trust_env=False) as client,
        client.stream(
            action.method,
            f"{parts.scheme}://{dialled}{parts.path.rstrip('/')}{path}",
            params=params or None,
            json=body if action.body else None,
            headers=headers,
            extensions={"sni_hostname": host},
        ) as response,
    ):
        raw = bytearray()
        for piece in response.iter_bytes():
            raw += piece
            if len(raw) > LARGEST_ANSWER:
                raise AnswerTooLarge(f"more than {LARGEST_ANSWER} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout("The answer drips in too slowly.")
        return response.status_code, bytes(raw)


def _typed(value: Any, kind: str) -> Any:
    """A slot's value in the JSON type of the endpoint; the definition was checked for these."""
    if kind == "flag":
        return {"true": True, "false": False}[value]
    if kind == "number" and isinstance(value, str):
        return float(value) if "." in value else int(value)
    return str(value) if kind == "text" else value


def read_answer(action: Action, arguments: Mapping[str, Any], status: int, raw: bytes) -> Outcome:
    """What an answer means. Success has the promised fields and repeats what was sent."""
    data = _parse(raw)
    if 200 <= status < 300:
        if data is None or not _keeps_promise(action, arguments, data):
            return Outcome(kind="wrong")
        return Outcome(kind="ok", data=data)
    if status >= 500 or status in (408, 429):
        # A change that the server broke off in the middle may have been made.
        broke_off = action.changes_something and status >= 500
        return Outcome(kind="uncertain" if broke_off else "unavailable")
    if 400 <= status < 500:
        code = str((data or {}).get("code") or status)[:LONGEST_CODE]
        if code not in action.replies and str(status) in action.replies:
            code = str(status)
        return Outcome(kind="refused", code=code, data=data or {})
    return Outcome(kind="wrong")


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if isinstance(data, list):
        # A bare list is read as an object, so that its entries and their number have names.
        return {"items": data, "count": len(data)}
    return data if isinstance(data, dict) else None


def _keeps_promise(action: Action, arguments: Mapping[str, Any], data: dict[str, Any]) -> bool:
    for key, kind in action.result.items():
        value = data.get(key)
        if not isinstance(value, _TYPES[kind]) or (kind == "number" and isinstance(value, bool)):
            return False
    return all(
        str(data.get(key, "")).casefold() == str(arguments[slot]).casefold()
        for key, slot in action.echoes.items()
        if slot in arguments
    )


def _log(action: Action, endpoint: Endpoint, error: Exception) -> None:
    """Where and why, without the values, which are personal."""
    host = urlsplit(endpoint.base_url).netloc
    logger.warning(
        "Action %s %s at %s failed: %s", action.method, action.path, host, type(error).__name__
    )
