"""The embedded servers: they answer, keep what they were given, and come back after a crash."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from praxis.local.processes import wait_until
from praxis.local.services import (
    LONGEST_SOCKET_PATH,
    Service,
    ServiceFailed,
    _buffer_megabytes,
    embedded_services,
    start_postgres,
    start_valkey,
)


@pytest.fixture
def services() -> Iterator[list[Service]]:
    """What a test starts and must be stopped afterwards."""
    started: list[Service] = []
    yield started
    for service in reversed(started):
        service.stop()


def ask_postgres(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone() if question else None
        return row[0] if row else None


@pytest.mark.parametrize(("memory_megabytes", "kept"), [(256, 128), (2_000, 500), (24_000, 4_096)])
def test_postgres_keeps_pages_by_the_memory_there_is(memory_megabytes: int, kept: int) -> None:
    assert _buffer_megabytes(memory_megabytes * 2**20) == kept


def test_a_containers_memory_is_what_it_may_use(
    server_directory: Path,
    services: list[Service],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    monkeypatch.setattr("praxis.local.services.MEMORY_LIMIT", tmp_path / "memory.max")
    service = start_postgres(server_directory / "pg")
    services.append(service)
    assert ask_postgres(service.url, "SHOW shared_buffers") == "256MB"


def test_postgres_keeps_its_rows_over_a_crash(
    server_directory: Path, services: list[Service]
) -> None:
    first = start_postgres(server_directory / "pg")
    services.append(first)
    with psycopg.connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    # As a power failure: nobody cleans up, and the pid file stays.
    children = psutil.Process(first.process.pid).children()
    first.process.kill()
    for process in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    first.process.wait()
    assert (server_directory / "pg" / "data" / "postmaster.pid").exists()
    second = start_postgres(server_directory / "pg")
    services.append(second)
    assert second.url == first.url
    assert ask_postgres(second.url, "SELECT answer FROM kept") == 42


def test_postgres_starts_although_its_old_pid_is_another_program_now(
    server_directory: Path, services: list[Service]
) -> None:
    start_postgres(server_directory / "pg", durable=False).stop()
    (server_directory / "pg" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    services.append(start_postgres(server_directory / "pg", durable=False))
    assert ask_postgres(services[0].url, "SELECT 1") == 1


def test_postgres_needs_the_password_and_listens_on_no_port(
    server_directory: Path, services: list[Service]
) -> None:
    service = start_postgres(server_directory / "pg", durable=False)
    services.append(service)
    wrong = service.url.replace(
        f":{(server_directory / 'pg' / 'password').read_text()}@", ":wrong@"
    )
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    assert ask_postgres(service.url, "SHOW listen_addresses") == ""
    assert ask_postgres(service.url, "SHOW fsync") == "off"
    assert stat.S_IMODE((server_directory / "pg" / "password").stat().st_mode) == 0o600


def test_a_start_on_damaged_files_says_what_postgres_says(server_directory: Path) -> None:
    start_postgres(server_directory / "pg", durable=False).stop()
    (server_directory / "pg" / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServiceFailed, match=r"(?s)stopped with exit code 1.*9\.6"):
        start_postgres(server_directory / "pg", durable=False)


def test_valkey_keeps_its_keys_and_its_address(
    server_directory: Path, services: list[Service]
) -> None:
    first = start_valkey(server_directory / "vk")
    with contextlib.closing(redis.Redis.from_url(first.url)) as client:
        client.set("kept", "yes")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}
    first.stop()
    second = start_valkey(server_directory / "vk")
    services.append(second)
    assert second.url == first.url
    with contextlib.closing(redis.Redis.from_url(second.url)) as client:
        assert client.get("kept") == b"yes"
    nameless = second.url.replace(f":{(server_directory / 'vk' / 'password').read_text()}@", "")
    with (
        contextlib.closing(redis.Redis.from_url(nameless)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_a_long_path_gets_short_sockets_that_go_away(server_directory: Path) -> None:
    directory = server_directory / ("long" * 30)
    with embedded_services(directory, durable=False) as (database_url, redis_url):
        assert ask_postgres(database_url, "SELECT 1") == 1
        with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
            assert client.ping()
            socket = Path(str(client.connection_pool.connection_kwargs["path"]))
        assert len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH
        assert not socket.is_relative_to(server_directory)
    assert not socket.parent.exists()


PARENT = """
import sys, time
from pathlib import Path
from praxis.local.services import start_postgres, start_valkey
directory = Path(sys.argv[1])
postgres = start_postgres(directory / "pg", durable=False)
valkey = start_valkey(directory / "vk", durable=False)
print(postgres.process.pid, valkey.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_they_end_with_a_parent_that_is_killed_and_start_again(
    server_directory: Path, services: list[Service]
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(server_directory)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout
    with parent.stdout:
        pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    # At once, while they may still be on their way out.
    services.append(start_postgres(server_directory / "pg", durable=False))
    services.append(start_valkey(server_directory / "vk", durable=False))
    assert ask_postgres(services[0].url, "SELECT 1") == 1

    def ended(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    assert wait_until(lambda: all(ended(pid) for pid in pids), timeout_seconds=10)
