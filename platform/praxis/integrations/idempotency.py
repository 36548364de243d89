"""`Idempotency-Key`: the same POST sent twice has one effect and one answer, for a day."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from ninja import Status

from praxis.accounts.access import Principal
from praxis.integrations.models import IdempotentRequest


class KeyReused(Exception):
    """The key came with another body, or the first request is still running."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def begin(request: HttpRequest, principal: Principal) -> IdempotentRequest | None:
    """The row of this request, with the stored response if there is one; None without the header.

    Raises `KeyReused` (422 for another body, 409 while the first request runs).
    """
    key = request.headers.get("Idempotency-Key", "")
    if not key or principal.api_key_id is None:
        return None
    if len(key) > 255:
        raise KeyReused(422, f"Idempotency-Key may have 255 characters, got {len(key)}.")
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.body)
    try:
        with transaction.atomic():
            return IdempotentRequest.objects.create(
                api_key_id=principal.api_key_id, key=key, request_sha256=digest.hexdigest()
            )
    except IntegrityError:
        row = IdempotentRequest.objects.get(api_key_id=principal.api_key_id, key=key)
    if row.request_sha256 != digest.hexdigest():
        raise KeyReused(422, "This Idempotency-Key came with another request; use a new key.")
    if row.status is None:
        raise KeyReused(409, "The first request with this Idempotency-Key is still running.")
    return row


def finish(row: IdempotentRequest | None, status: int, response: object) -> None:
    if row is not None:
        row.status, row.response = status, response
        row.save(update_fields=["status", "response"])


def abandon(row: IdempotentRequest | None) -> None:
    """The request had no effect; the key may be used again."""
    if row is not None and row.status is None:
        row.delete()


def once(
    request: HttpRequest, principal: Principal, work: Callable[[], Status[Any]]
) -> Status[Any]:
    """What `work` answers, or answered when the key came first; one that raises had no effect."""
    row = begin(request, principal)
    if row is not None and row.status is not None:
        return Status(row.status, row.response)
    try:
        answer = work()
    except Exception:
        abandon(row)
        raise
    finish(row, answer.status_code, answer.value)
    return answer
