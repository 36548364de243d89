"""`manage.py up`: the whole product in the foreground, from nothing, with one command.

This runs before Django reads its settings, because they need the addresses of the services that are
started here. Once those answer, Django is loaded once and the web server, the workers and beat are
forked from it: a start costs one import of the product instead of five.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import psycopg
from django.core.exceptions import ImproperlyConfigured

from praxis.environment import read_int, read_text, read_url
from praxis.local.processes import LocalProcess
from praxis.local.services import Service, ServiceFailed, last_lines, start_postgres, start_valkey
from praxis.local.supervisor import Child, ChildFailed, StopRequested, Supervisor, program

ROOT = Path(__file__).resolve().parents[3]
SMALLEST_FREE_BYTES = 500_000_000
GRACEFUL_WEB_SECONDS = 10
MODEL_SERVER_SECONDS = 90
"""How long the start waits for the model before it shows the address all the same."""
DEMO_SECONDS = 90
"""The same for the demo's documents, at the first start."""
SERVICE_BACKOFF_SECONDS = 5
MOST_READERS = 8
"""Each takes about 100 MB with its reader, and two connections to the database."""
INGEST_NICENESS = 10
"""Reading documents takes what answers leave of the CPU; see also the bulk lane of the model server."""

# The stages of the supervisor, stopped from the last to the first.
MODEL, WORKERS, WEB = 1, 2, 3


class CannotStart(Exception):
    """The product cannot start; the text says what to do."""


def main() -> int:
    """Run until Ctrl-C or SIGTERM. Returns the exit code."""
    began = time.monotonic()
    supervisor = Supervisor()
    supervisor.listen()
    try:
        with contextlib.ExitStack() as stack:
            try:
                _start(supervisor, stack, began)
                supervisor.run_forever()
            except StopRequested:
                supervisor.say("stopping")
    except (CannotStart, ServiceFailed, ChildFailed, ImproperlyConfigured) as problem:
        print(f"\nPraxis cannot start. {problem}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    supervisor.say("stopped")
    return 0


def _start(supervisor: Supervisor, stack: contextlib.ExitStack, began: float) -> None:
    var = Path(read_text("PRAXIS_VAR", str(ROOT / "var"))).resolve()
    host = read_text("PRAXIS_HOST", "127.0.0.1")
    port = read_int("PRAXIS_PORT", default=8000, minimum=1, maximum=65535)
    database_url = read_url(
        "DATABASE_URL",
        schemes=("postgres", "postgresql"),
        example="postgresql://praxis:secret@db.internal:5432/praxis",
    )
    redis_url = read_url(
        "REDIS_URL", schemes=("redis", "rediss", "unix"), example="redis://cache.internal:6379/0"
    )
    run = var / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_free_space(var)
    lock = stack.enter_context(_only_one(run))
    web_socket = stack.enter_context(contextlib.closing(_listen(host, port)))

    addresses: dict[str, str] = {}
    services_file = run / "services.json"
    stack.callback(services_file.unlink, missing_ok=True)
    supervisor.say(f"starting in {var}")
    if not database_url:
        addresses["DATABASE_URL"] = _keep_service(supervisor, stack, "postgres", var)
    if not redis_url:
        addresses["REDIS_URL"] = _keep_service(supervisor, stack, "valkey", var)
    stack.callback(supervisor.stop)  # runs first, before the databases stop
    model_url = _start_model_server(supervisor, var, addresses)
    os.environ |= addresses
    _write_private(services_file, json.dumps(addresses, indent=1))

    # The web server answers as soon as it runs; until then connections wait in the socket.
    import django

    os.environ["CELERY_SKIP_CHECKS"] = "1"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "praxis.settings")
    django.setup()
    admin_name, password = _prepare(supervisor)

    def child(name: str, work: str, *arguments: object, stage: int, grace_seconds: float) -> None:
        def begin() -> None:
            lock.close()
            if web_socket not in arguments:
                web_socket.close()
            _WORK[work](*arguments)

        supervisor.start(
            Child(name, supervisor.forked(name, begin), stage=stage, grace_seconds=grace_seconds)
        )

    child("web", "web", web_socket, stage=WEB, grace_seconds=GRACEFUL_WEB_SECONDS + 4)
    child("worker", "worker", "interactive", 2, stage=WORKERS, grace_seconds=12)
    child("ingest", "worker", "ingest", num_readers(), stage=WORKERS, grace_seconds=12)
    child("tuning", "worker", "tuning", 1, stage=WORKERS, grace_seconds=12)
    child("beat", "beat", run / "beat-schedule", stage=WEB, grace_seconds=4)
    ready_urls = _start_processes_of_apps(supervisor)

    base = f"http://{_for_url(host)}:{port}"
    if not supervisor.wait_until(lambda: _answers(f"{base}/live"), timeout_seconds=120):
        raise CannotStart(f"The web server did not answer at {base}/live within 120 s.")
    if model_url:
        ready_urls[model_url] = "the model server"
    for url, name in ready_urls.items():
        seconds = MODEL_SERVER_SECONDS
        if not supervisor.wait_until(lambda url=url: _answers(url), timeout_seconds=seconds):  # type: ignore[misc]
            supervisor.say(f"{name} is not ready yet; its pages say so until it is.")
    if password:
        supervisor.say("reading the demo's documents")
        supervisor.wait_until(_demo_is_read, timeout_seconds=DEMO_SECONDS)
    supervisor.say(f"ready after {time.monotonic() - began:.0f} s. Ctrl-C stops everything.")
    supervisor.say(f"Address:  {base}/")
    if admin_name:
        supervisor.say(f"Sign in:  {admin_name}")
    if password:
        supervisor.say(f"Password: {password}   (shown this once; change it after signing in)")


def _keep_service(supervisor: Supervisor, stack: contextlib.ExitStack, name: str, var: Path) -> str:
    """Start an embedded service, start it again when it crashes, stop it at the end."""
    start = {"postgres": start_postgres, "valkey": start_valkey}[name]
    current: list[Service] = [start(var / name)]
    stack.callback(lambda: current[0].stop())
    again_at = 0.0

    def tend() -> None:
        nonlocal again_at
        code = current[0].process.poll()
        if code is None or time.monotonic() < again_at:
            return
        supervisor.say(f"{name} stopped with exit code {code}; it is started again.")
        supervisor.say(last_lines(current[0].log, 5), name=name)
        again_at = time.monotonic() + SERVICE_BACKOFF_SECONDS
        try:
            current[0] = start(var / name)
        except ServiceFailed as problem:
            supervisor.say(str(problem), name=name)

    supervisor.tenders.append(tend)
    return current[0].url


def _demo_is_read() -> bool:
    """Whether the first questions will find the documents that the demo came with.

    Asked without Django, whose connections must not exist in the process that forks the others.
    """
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        waiting = connection.execute(
            "SELECT EXISTS (SELECT FROM jobs_job WHERE kind = 'knowledge.ingest'"
            " AND state IN ('queued', 'running'))"
        ).fetchone()
    return waiting == (False,)


def _start_model_server(supervisor: Supervisor, var: Path, addresses: dict[str, str]) -> str:
    """Start the embedded model server unless both of its addresses are given.

    Returns the URL that says when it is ready, or "".
    """
    given = {
        name: read_url(name, schemes=("http", "https"), example="http://vllm.internal:8000/v1")
        for name in ("LLM_BASE_URL", "EMBEDDING_BASE_URL")
    }
    if all(given.values()):
        return ""
    port = _free_port()
    key = read_text("LLM_API_KEY", "") or secrets.token_urlsafe(24)
    addresses["LLM_API_KEY"] = key
    given["RERANK_BASE_URL"] = read_url(
        "RERANK_BASE_URL", schemes=("http", "https"), example="http://rerank.internal:8000/v1"
    )
    for name, url in given.items():
        if not url:
            addresses[name] = f"http://127.0.0.1:{port}/v1"
    # With a server elsewhere for the language model, LLM_MODEL is a name of that server's.
    chosen = {
        "--model": "" if given["LLM_BASE_URL"] else read_text("LLM_MODEL", ""),
        "--type": read_text("PRAXIS_WEIGHT_TYPE", ""),
        "--encoder": read_text("PRAXIS_ENCODER", ""),
        "--reranker": read_text("PRAXIS_RERANKER", ""),
    }
    spawn = program(
        *(sys.executable, "-m", "modeling.inference.server"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--models-dir", str(var / "models"), "--adapters-dir", str(var / "adapters")),
        *("--encoders-dir", str(var / "encoders")),
        *("--api-key-env", "PRAXIS_LLM_KEY"),
        *(part for flag, value in chosen.items() if value for part in (flag, value)),
        env={
            "PRAXIS_LLM_KEY": key,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )
    supervisor.start(Child("model", spawn, stage=MODEL, grace_seconds=8))
    return f"http://127.0.0.1:{port}/health"


def _prepare(supervisor: Supervisor) -> tuple[str, str]:
    """Migrate, compile, collect and seed in a copy of this process, which opens no connection."""
    result_end, report_end = os.pipe()

    def work() -> None:
        from praxis.local.preparation import prepare

        admin = prepare()
        os.write(report_end, json.dumps([admin.name, admin.password]).encode())

    try:
        supervisor.run_to_end(Child("prepare", supervisor.forked("prepare", work), stage=WORKERS))
        name, password = json.loads(os.read(result_end, 65536))
    except ChildFailed as problem:
        raise CannotStart(
            f"Preparing the database failed: {problem} The lines above say why."
        ) from problem
    finally:
        os.close(result_end)
        os.close(report_end)
    return name, password


def _start_processes_of_apps(supervisor: Supervisor) -> dict[str, str]:
    """Start what installed apps declare; returns the ready URLs with the names."""
    from django.apps import apps

    declared: list[LocalProcess] = [
        process
        for config in apps.get_app_configs()
        for process in getattr(config, "local_processes", ())
    ]
    source_roots = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    for process in declared:
        spawn = program(
            *process.argv,
            env={
                "PYTHONPATH": os.pathsep.join([source_roots, os.environ.get("PYTHONPATH", "")]),
                "PYTHONUNBUFFERED": "1",
            },
        )
        supervisor.start(Child(process.name, spawn, stage=WORKERS, grace_seconds=5))
    return {process.ready_url: process.name for process in declared if process.ready_url}


# What the forked children do.


def _serve(web_socket: socket.socket) -> None:
    import uvicorn
    from django.urls import get_resolver

    from praxis.assistants.registry import warm_up
    from praxis.conversations.turns import interrupt_all

    warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")
    threading.Thread(target=warm_up, daemon=True).start()

    get_resolver().url_patterns  # noqa: B018  (the first visitor need not wait for the imports)
    config = uvicorn.Config(
        "praxis.asgi:application",
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_WEB_SECONDS,
    )

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Running answers are stored as interrupted first, which also ends their streams."""
            threading.Thread(target=interrupt_all, daemon=True).start()
            super().handle_exit(sig, frame)

    Server(config).run(sockets=[web_socket])


def num_readers() -> int:
    """Documents that are read at once: one for each CPU that encodes, and one whose part is being
    split or stored meanwhile."""
    num_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return min(num_cpus + 1, MOST_READERS)


def work_on(queues: str, concurrency: int) -> None:
    """A Celery worker, until it is told to stop."""
    if queues == "ingest":
        os.nice(INGEST_NICENESS)
    from celery.platforms import SecurityWarning

    from praxis.celery import app

    # Whoever starts the whole product as root has decided so; the warning would only hide others.
    warnings.simplefilter("ignore", SecurityWarning)
    app.worker_main(
        [
            *("--quiet", "worker", "--queues", queues, "--concurrency", str(concurrency)),
            *("--hostname", f"{queues.split(',')[0]}@%h", "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle"),
        ]
    )


def _beat(schedule: Path) -> None:
    from praxis.celery import app

    app.Beat(schedule=str(schedule), loglevel="WARNING", quiet=True).run()


_WORK: dict[str, Callable[..., None]] = {"web": _serve, "worker": work_on, "beat": _beat}


# What is checked before anything starts.


def _check_free_space(var: Path) -> None:
    free = shutil.disk_usage(var).free
    if free < SMALLEST_FREE_BYTES:
        raise CannotStart(
            f"The disk of {var} has {free // 1_000_000} MB left, at least "
            f"{SMALLEST_FREE_BYTES // 1_000_000} MB are needed. Free some space, or set PRAXIS_VAR "
            "to a directory on another disk."
        )


@contextlib.contextmanager
def _only_one(run: Path) -> Iterator[IO[str]]:
    """Hold the lock of this data directory."""
    file = (run / "up.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise CannotStart(
            f"It already runs on {run.parent} (process {holder}). Stop that one first, or give this "
            "one its own data with PRAXIS_VAR and its own port with PRAXIS_PORT."
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    with contextlib.closing(file):
        yield file


def _listen(host: str, port: int) -> socket.socket:
    """The web server's socket, held by the supervisor so that a restart refuses nobody."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotStart(
            f"PRAXIS_HOST must be an address of this machine, got {host!r}: {error.strerror}."
        ) from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise CannotStart(_why_not(host, port, error)) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken{_holder_of(port)}. Stop that program, or choose "
            f"another port: PRAXIS_PORT={port + 1 if port < 65535 else 8001}."
        )
    if error.errno == errno.EACCES:
        return (
            f"Port {port} needs rights this user lacks. Choose a port from 1024: PRAXIS_PORT=8000."
        )
    return (
        f"PRAXIS_HOST must be an address of this machine, got {host!r}, port {port}: "
        f"{error.strerror}."
    )


def _holder_of(port: int) -> str:
    """Who listens there, as far as this user may know."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310  (our own http address)
            return bool(200 <= response.status < 300)
    except (URLError, OSError):
        return False


def _for_url(host: str) -> str:
    """Where a browser on this machine finds a server that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
