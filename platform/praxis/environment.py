"""Typed readers of environment variables.

A wrong value stops start-up with the variable, what was given and what is allowed.
"""

import os
from collections.abc import Collection
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


def read_text(name: str, default: str) -> str:
    return os.environ.get(name, "").strip() or default


def read_bool(name: str, *, default: bool) -> bool:
    given = os.environ.get(name, "").strip().lower()
    if not given:
        return default
    if given in TRUE_WORDS:
        return True
    if given in FALSE_WORDS:
        return False
    raise ImproperlyConfigured(
        f"{name} must be one of {', '.join(TRUE_WORDS + FALSE_WORDS)}, got {given!r}."
    )


def read_int(name: str, *, default: int, minimum: int, maximum: int) -> int:
    given = os.environ.get(name, "").strip()
    if not given:
        return default
    try:
        value = int(given)
    except ValueError:
        value = minimum - 1
    if not minimum <= value <= maximum:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {minimum} to {maximum}, got {given!r}."
        )
    return value


def read_list(name: str, default: Collection[str]) -> list[str]:
    given = os.environ.get(name, "")
    return [part.strip() for part in given.split(",") if part.strip()] or list(default)


def read_url(name: str, *, schemes: Collection[str], example: str) -> str:
    """The URL in `name`, or "" when the variable is unset (the embedded part is used then)."""
    given = os.environ.get(name, "").strip()
    if not given:
        return ""
    try:
        parts = urlsplit(given)
        well_formed = parts.scheme in schemes and (parts.netloc or parts.path)
        _ = parts.port
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ImproperlyConfigured(
            f"{name} must be a URL with scheme {' or '.join(sorted(schemes))}, "
            f"such as {example}; got {_without_password(given)!r}."
        )
    return given


def _without_password(url: str) -> str:
    """The URL as it may be shown in a log."""
    head, at, tail = url.rpartition("@")
    return f"…@{tail}" if at and head else url
