from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from pytest_django import Settings

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User
from praxis.conversations import turns
from praxis.integrations.keys import SCOPES, create_key
from tests.fakes import ModelServer
from tests.live import live_platform


@pytest.fixture
def platform(
    transactional_db: None, model_server: ModelServer, settings: Settings
) -> Iterator[str]:
    """The address of the running platform, with the fake model server behind it."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    with live_platform() as address:
        yield address
        turns.drain(10)


@pytest.fixture
def key_of() -> Callable[..., str]:
    """`key_of(principal)`: the secret of a new API key with every scope."""

    def make(principal: Principal, **more: object) -> str:
        chosen = {"name": "test", "scopes": SCOPES, "role": Role(principal.role), **more}
        _key, secret = create_key(principal=principal, **chosen)  # type: ignore[arg-type]
        return secret

    return make


@pytest.fixture
def session_of(client_for: Callable[[User], Client]) -> Callable[[User], dict[str, str]]:
    """Cookies of a signed-in person, for an HTTP client outside Django."""

    def cookies(user: User) -> dict[str, str]:
        return {name: morsel.value for name, morsel in client_for(user).cookies.items()}

    return cookies
