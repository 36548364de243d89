"""What every test has: real embedded services for this run alone, the cast, and a fake model server.

`pytest` needs nothing to run beforehand. This file is imported before Django's settings, so the
services are up (on sockets in a temporary directory) when the settings read their addresses. That
holds as long as pyproject.toml does not name DJANGO_SETTINGS_MODULE: pytest-django would load the
settings first.
"""

import atexit
import contextlib
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psutil
import pytest
from pytest_django import Settings

ROOT = Path(__file__).resolve().parent
# `python -m pytest` from elsewhere, and subprocesses of tests, find the packages too.
sys.path[:0] = [path for path in (str(ROOT / "platform"), str(ROOT)) if path not in sys.path]

RUN_PREFIX = "praxis-test-"
OWN_REDIS = not os.environ.get("REDIS_URL")


def _remove_dead_runs() -> None:
    """Directories of runs that were killed before they could clean up; the name holds the pid."""
    for left in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
        pid = left.name.removeprefix(RUN_PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _start_services() -> None:
    from praxis.local.services import start_postgres, start_valkey

    _remove_dead_runs()
    directory = Path(tempfile.mkdtemp(prefix=f"{RUN_PREFIX}{os.getpid()}-"))
    stack = contextlib.ExitStack()
    owner = os.getpid()

    def stop() -> None:
        if os.getpid() == owner:  # not in a forked child
            stack.close()

    atexit.register(stop)
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    os.environ["PRAXIS_VAR"] = str(directory / "var")
    (directory / "var" / "static").mkdir(parents=True)  # whitenoise warns when it is missing
    if not os.environ.get("DATABASE_URL"):
        postgres = start_postgres(directory / "pg", durable=False)
        stack.callback(postgres.stop)
        os.environ["DATABASE_URL"] = postgres.url
    if OWN_REDIS:
        valkey = start_valkey(directory / "vk", durable=False)
        stack.callback(valkey.stop)
        os.environ["REDIS_URL"] = valkey.url


def _exit_in_order(signum: int, frame: FrameType | None) -> None:
    """A run that is asked to stop leaves through `atexit`, as Ctrl-C does."""
    raise SystemExit(128 + signum)


for _signum in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_signum, _exit_in_order)
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
# No test may reach a model server that happens to run on this machine.
for _name in ("LLM_BASE_URL", "EMBEDDING_BASE_URL", "RERANK_BASE_URL", "LLM_API_KEY"):
    os.environ.pop(_name, None)
_start_services()
os.environ["DJANGO_SETTINGS_MODULE"] = "praxis.settings"
# The three domains of the product, and the tests' own fourth one.
os.environ.setdefault(
    "PRAXIS_DOMAIN_APPS", "apps.customer_service,apps.medical,apps.legal,tests.tiny_domain"
)

import django  # noqa: E402  (the services come first)

django.setup()

from django.conf import settings as django_settings  # noqa: E402
from django.contrib.auth.hashers import make_password  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import translation  # noqa: E402

from praxis.accounts.access import Principal  # noqa: E402
from praxis.accounts.models import Membership, Role, User, Workspace  # noqa: E402
from praxis.knowledge import vector_space  # noqa: E402
from praxis.local.preparation import (  # noqa: E402
    compile_translations,
    translation_directories,
)
from tests.fakes import ModelServer  # noqa: E402

compile_translations(translation_directories())

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True, scope="session")
def _fast_passwords() -> None:
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True, scope="session")
def _encoder_is_the_same() -> None:
    """Tests count requests; whether the encoder changed is asked now and then, so here never."""
    vector_space._believed_until = math.inf


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Settings) -> None:
    """Templates may name static files without `collectstatic` having run."""
    settings.STORAGES = {
        **django_settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(autouse=True)
def _default_language() -> None:
    """A request activates its language for the whole thread; the next test begins in the default."""
    translation.deactivate()


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Rate limits and cached values of one test don't reach the next.

    Clearing empties the whole Redis database, so it is done only to our own.
    """
    if OWN_REDIS:
        cache.clear()
    yield


@pytest.fixture(scope="session")
def make_server_directory() -> Iterator[Callable[[], Path]]:
    """`make_server_directory()`: an empty directory for embedded servers.

    Its path is short enough for sockets, and it lies outside pytest's own directories: under root
    PostgreSQL runs as another user, from whom every other run of pytest takes the way in.
    """
    with contextlib.ExitStack() as stack:
        yield lambda: Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="praxis-srv-")))


@pytest.fixture
def server_directory(make_server_directory: Callable[[], Path]) -> Path:
    return make_server_directory()


# The cast: one workspace with a person in every role, and a stranger with a workspace of their own.


@pytest.fixture
def workspace(db: None) -> Workspace:
    return Workspace.objects.create(slug="north-clinic", name="North Clinic")


@pytest.fixture
def other_workspace(db: None) -> Workspace:
    return Workspace.objects.create(slug="south-office", name="South Office")


@pytest.fixture
def make_member(db: None) -> Callable[[str, Workspace, Role], User]:
    """`make_member("ana", workspace, Role.AGENT)`: a user with that role in the workspace."""

    def make(name: str, workspace: Workspace, role: Role) -> User:
        user = User.objects.create(
            username=name, email=f"{name}@example.test", password=make_password(PASSWORD)
        )
        Membership.objects.create(user=user, workspace=workspace, role=role)
        return user

    return make


MakeMember = Callable[[str, Workspace, Role], User]


@pytest.fixture
def owner(workspace: Workspace, make_member: MakeMember) -> User:
    return make_member("owner", workspace, Role.OWNER)


@pytest.fixture
def admin(workspace: Workspace, make_member: MakeMember) -> User:
    return make_member("admin", workspace, Role.ADMIN)


@pytest.fixture
def agent(workspace: Workspace, make_member: MakeMember) -> User:
    return make_member("agent", workspace, Role.AGENT)


@pytest.fixture
def member(workspace: Workspace, make_member: MakeMember) -> User:
    return make_member("member", workspace, Role.MEMBER)


@pytest.fixture
def stranger(other_workspace: Workspace, make_member: MakeMember) -> User:
    return make_member("stranger", other_workspace, Role.OWNER)


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """`client_for(user)`: a test client with that person signed in."""

    def client(user: User) -> Client:
        signed_in = Client()
        signed_in.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return signed_in

    return client


@pytest.fixture
def principal_of() -> Callable[..., Principal]:
    """`principal_of(user)`: the principal of that person in their (only) workspace.

    `principal_of(user, workspace)` where they belong to several.
    """

    def principal(user: User, workspace: Workspace | None = None) -> Principal:
        memberships = Membership.objects.select_related("workspace").filter(user=user)
        if workspace is not None:
            memberships = memberships.filter(workspace=workspace)
        membership = memberships.get()
        return Principal(
            workspace=membership.workspace,
            role=Role(membership.role),
            user=user,
            scopes=frozenset({"*"}),
            address="127.0.0.1",
        )

    return principal


@pytest.fixture(scope="session")
def fake_model_server() -> Iterator[ModelServer]:
    """One HTTP server for the whole run; tests take `model_server`, which resets it."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def model_server(fake_model_server: ModelServer, settings: Settings) -> Iterator[ModelServer]:
    """A fake model server that the settings point at; see `tests/fakes.py`."""
    fake_model_server.reset()
    settings.LLM_BASE_URL = fake_model_server.base_url
    settings.EMBEDDING_BASE_URL = fake_model_server.base_url
    settings.RERANK_BASE_URL = fake_model_server.base_url
    settings.LLM_MODEL = fake_model_server.chat_model
    settings.STATE_READING_MS = 0  # it has not learnt the form; a test that scripts it turns it on
    settings.EMBEDDING_MODEL = fake_model_server.embedding_model
    settings.LLM_API_KEY = fake_model_server.api_key
    yield fake_model_server
    fake_model_server.reset()
