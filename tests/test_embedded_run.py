"""A run of the tests itself: it starts its services, and takes them away however it ends."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest
from django.conf import settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MARK = "PRAXIS_TEST_MARK"
TEST = """
import pathlib, time

def test_it():
    pathlib.Path({started!r}).touch()
    time.sleep({seconds})
"""


class Run:
    """A pytest process of its own, on a test that sleeps."""

    def __init__(self, tmp: Path, seconds: float) -> None:
        self.mark = uuid.uuid4().hex
        self.tmp = tmp
        self.started = tmp / f"started-{self.mark}"
        test = tmp / "test_sleep.py"
        test.write_text(TEST.format(started=str(self.started), seconds=seconds))
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "REDIS_URL", "PRAXIS_VAR", "DJANGO_SETTINGS_MODULE")
            and not name.startswith("PYTEST")
        }
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"),
                *("-c", str(settings.BASE_DIR / "pyproject.toml")),
                *("--rootdir", str(settings.BASE_DIR)),
                *("--confcutdir", str(settings.BASE_DIR)),
                *("-p", "conftest", str(test)),
            ],
            cwd=settings.BASE_DIR,
            env={**kept, MARK: self.mark, "TMPDIR": str(self.tmp)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + 90
        while not self.started.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(self.output())
            time.sleep(0.05)

    def output(self) -> str:
        self.process.kill()
        return self.process.communicate()[0].decode()

    def processes(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            try:
                # The servers write their titles over their environment; they run in our folder.
                ours = process.environ().get(MARK) == self.mark or process.cwd().startswith(
                    str(self.tmp)
                )
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    def left(self) -> list[str]:
        return [path.name for path in self.tmp.glob("praxis*")]


def stop(run: Run, signum: signal.Signals) -> None:
    run.process.send_signal(signum)
    output = run.process.communicate(timeout=60)[0].decode()
    assert run.process.returncode != 0
    assert (run.processes(), run.left()) == ([], []), output


def test_a_run_that_is_stopped_leaves_no_process_and_no_file(server_directory: Path) -> None:
    run = Run(server_directory, seconds=60)
    run.wait_until_started()
    assert len(run.processes()) > 3, "PostgreSQL and Valkey run"
    assert len(run.left()) == 1
    stop(run, signal.SIGINT)


def test_a_run_that_is_killed_leaves_no_process_and_the_next_removes_its_files(
    server_directory: Path,
) -> None:
    run = Run(server_directory, seconds=60)
    run.wait_until_started()
    run.process.kill()
    run.process.communicate()
    deadline = time.monotonic() + 15
    while run.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.processes() == []
    left = run.left()
    assert len(left) == 1
    following = Run(server_directory, seconds=60)
    following.wait_until_started()
    assert len(following.left()) == 1 and following.left() != left
    stop(following, signal.SIGTERM)
