"""Secrets of other systems that must be stored: encrypted with a key derived from SECRET_KEY.

A dump of the database alone reveals none of them.
"""

import base64
import hashlib

from cryptography.fernet import Fernet
from django.conf import settings


def _fernet() -> Fernet:
    digest = hashlib.sha256(f"sealed secrets:{settings.SECRET_KEY}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(digest))


def seal(secret: str) -> bytes:
    return _fernet().encrypt(secret.encode())


def unseal(sealed: bytes | memoryview) -> str:
    """Raises `cryptography.fernet.InvalidToken` when SECRET_KEY has changed."""
    return _fernet().decrypt(bytes(sealed)).decode()
