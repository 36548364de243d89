"""API keys: made once, shown once, found by prefix, compared by hash.

Format `prx_` + 32 random characters + 6 check characters: the checksum lets a secret scanner and
this server tell a typo from an unknown key without a query.
"""

import binascii
import hashlib
import hmac
import secrets
import string
from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils import timezone

from praxis.accounts.access import Principal, record
from praxis.accounts.models import Membership, Role
from praxis.integrations.models import ApiKey

SCOPES = (
    "assistants:read",
    "assistants:write",
    "channels:read",
    "channels:write",
    "chat",
    "conversations:read",
    "conversations:write",
    "handoff:read",
    "handoff:write",
    "knowledge:read",
    "knowledge:write",
    "tuning:read",
    "tuning:write",
    "webhooks:read",
    "webhooks:write",
)
_MARK = "prx_"
_ALPHABET = string.ascii_letters + string.digits
_PREFIX_LENGTH = len(_MARK) + 8
_USED_EVERY = timedelta(minutes=1)


def _check_characters(body: str) -> str:
    number = binascii.crc32(body.encode())
    characters = ""
    for _position in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        characters += _ALPHABET[digit]
    return characters


def create_key(
    *,
    principal: Principal,
    name: str,
    scopes: Collection[str],
    role: Role,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """The stored key and its secret, which can't be shown again.

    Raises `PermissionDenied` when the role is above the maker's own, `ValueError` for an unknown
    scope.
    """
    principal.require(Role.ADMIN)
    principal.require(role)
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise ValueError(f"scopes must be among {', '.join(SCOPES)}, got {', '.join(unknown)}")
    if principal.user is None:
        raise ValueError("an API key is made by a signed-in person")
    body = "".join(secrets.choice(_ALPHABET) for _position in range(32))
    secret = f"{_MARK}{body}{_check_characters(body)}"
    key = ApiKey.objects.create(
        workspace=principal.workspace,
        name=name,
        prefix=secret[:_PREFIX_LENGTH],
        sha256=hashlib.sha256(secret.encode()).hexdigest(),
        role=role,
        scopes=sorted(scopes),
        owner=principal.user,
        expires_at=expires_at,
    )
    record(principal, "api_key.create", key, scopes=sorted(scopes), role=role)
    return key, secret


def authenticate(secret: str, address: str | None = None) -> Principal | None:
    """The principal of a key, or None for a wrong, revoked or expired one.

    The owner's membership is read on every request: who leaves the workspace takes the keys along,
    and a key never has a higher role than its owner has now.
    """
    body, check = secret[len(_MARK) : -6], secret[-6:]
    if not secret.startswith(_MARK) or not hmac.compare_digest(
        check.encode(), _check_characters(body).encode()
    ):
        return None
    key = (
        ApiKey.objects.select_related("workspace", "owner")
        .filter(prefix=secret[:_PREFIX_LENGTH])
        .first()
    )
    digest = hashlib.sha256(secret.encode()).hexdigest()
    if key is None or not hmac.compare_digest(key.sha256, digest) or not key.is_valid:
        return None
    membership = Membership.objects.filter(
        user=key.owner, workspace=key.workspace, user__is_active=True
    ).first()
    if membership is None:
        return None
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > _USED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    role = max(Role(key.role), Role(membership.role), key=list(Role).index)
    return Principal(
        workspace=key.workspace,
        role=role,
        user=key.owner,
        api_key_id=key.pk,
        scopes=frozenset(key.scopes),
        address=address,
    )


def revoke(*, principal: Principal, key: ApiKey) -> None:
    principal.require(Role.ADMIN)
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    record(principal, "api_key.revoke", key)
