"""Whether the parts that the product needs answer, each asked directly and with a short patience."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import httpx
import psycopg
import redis
from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader

PATIENCE_SECONDS = 2


@dataclass(frozen=True, kw_only=True)
class Check:
    """The state of one part."""

    name: str
    ok: bool
    required: bool
    """Without it no page works; the others only take features away."""
    problem: str = ""
    """For the operator; names no host and no password."""


def run_checks() -> list[Check]:
    """Ask every part at the same time."""
    parts: list[tuple[str, bool, Callable[[], str]]] = [
        ("database", True, database_problem),
        ("broker", True, broker_problem),
        ("model_server", False, lambda: model_server_problem(settings.LLM_BASE_URL)),
    ]
    if settings.EMBEDDING_BASE_URL != settings.LLM_BASE_URL:
        parts.append(
            ("embedding_server", False, lambda: model_server_problem(settings.EMBEDDING_BASE_URL))
        )
    with ThreadPoolExecutor(len(parts)) as pool:
        problems = list(pool.map(lambda part: part[2](), parts))
    return [
        Check(name=name, ok=not problem, required=required, problem=problem)
        for (name, required, _), problem in zip(parts, problems, strict=True)
    ]


def database_problem() -> str:
    """Empty when PostgreSQL answers and every migration is applied."""
    to = connections["default"].settings_dict
    try:
        # Not through Django's pool: a pool that waits for the database would wait here too.
        with psycopg.connect(
            host=to["HOST"],
            port=to["PORT"] or None,
            user=to["USER"],
            password=to["PASSWORD"],
            dbname=to["NAME"],
            connect_timeout=PATIENCE_SECONDS,
            options=f"-c statement_timeout={PATIENCE_SECONDS * 1000}",
        ) as connection:
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    except psycopg.errors.UndefinedTable:
        return "No migration is applied. Run manage.py migrate."
    except psycopg.Error as error:
        return f"PostgreSQL does not answer ({type(error).__name__})."
    missing = _newest_migrations() - applied
    if missing:
        names = ", ".join(f"{app}.{name}" for app, name in sorted(missing))
        return f"Migrations are not applied: {names}. Run manage.py migrate."
    return ""


@cache
def _newest_migrations() -> frozenset[tuple[str, str]]:
    """The last migration of each app, read from the disk once."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def broker_problem() -> str:
    try:
        with contextlib.closing(broker_client()) as client:
            client.ping()
    except redis.RedisError as error:
        return f"Redis does not answer ({type(error).__name__})."
    return ""


def broker_client() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=PATIENCE_SECONDS,
        socket_timeout=PATIENCE_SECONDS,
    )


def model_server_problem(base_url: str) -> str:
    """Empty when the server lists its models, which every OpenAI-compatible server does."""
    try:
        response = httpx.get(
            f"{base_url.rstrip('/')}/models",
            headers={"Authorization": f"Bearer {settings.LLM_API_KEY}"},
            timeout=PATIENCE_SECONDS,
        )
    except httpx.HTTPError as error:
        return f"The model server does not answer ({type(error).__name__})."
    if response.status_code in (401, 403):
        return f"The model server refuses the API key ({response.status_code}). Check LLM_API_KEY."
    if not response.is_success:
        path = urlsplit(base_url).path
        return f"The model server answers {response.status_code} at {path}/models."
    return ""
