"""Supervised processes: restarted when they crash, stopped in order, their output in one place."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from praxis.local.supervisor import Child, ChildFailed, Supervisor, program


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.stop()


def python(name: str, code: str, *, stage: int = 1, grace_seconds: float = 5) -> Child:
    return Child(
        name, program(sys.executable, "-u", "-c", code), stage=stage, grace_seconds=grace_seconds
    )


def wait_for(supervisor: Supervisor, path: Path, seconds: float = 15) -> None:
    assert supervisor.wait_until(path.exists, timeout_seconds=seconds)


def test_every_line_carries_the_name(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor.run_to_end(python("web", "print('first\\n\\nsecond', end='')"))
    assert capsys.readouterr().out == "web     | first\nweb     | second\n"


def test_a_step_that_fails_is_reported(supervisor: Supervisor) -> None:
    with pytest.raises(ChildFailed, match="step stopped with exit code 3"):
        supervisor.run_to_end(python("step", "raise SystemExit(3)"))


def test_a_crashed_child_is_started_again_after_a_growing_wait(
    supervisor: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = tmp_path / "starts"
    code = f"import sys; open({str(starts)!r}, 'a').write('x'); print('about to fail'); sys.exit(7)"
    child = supervisor.start(python("worker", code))
    assert supervisor.wait_until(
        lambda: starts.exists() and starts.read_text() == "xxx", timeout_seconds=20
    )
    assert supervisor.wait_until(lambda: child.restart_at is not None, timeout_seconds=10)
    out = capsys.readouterr().out
    assert "worker stopped with exit code 7; it is started again in 1 s." in out
    assert "it is started again in 2 s." in out
    assert "    about to fail" in out
    assert child.backoff_seconds == 8


def test_a_forked_child_does_its_work_in_a_copy(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "note"

    def work() -> None:
        note.write_text(f"{os.getpid()} {os.getppid()} {os.getsid(0)}")

    supervisor.run_to_end(Child("copy", supervisor.forked("copy", work), stage=1))
    pid, parent, session = note.read_text().split()
    assert (pid, parent) == (session, str(os.getpid()))


def test_an_error_in_a_forked_child_stays_there(
    supervisor: Supervisor, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(ChildFailed, match="exit code 1"):
        supervisor.run_to_end(Child("copy", supervisor.forked("copy", work), stage=1))
    assert "copy    | LookupError: nothing there" in capsys.readouterr().out


def test_stopping_goes_from_the_last_stage_to_the_first(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    code = """
import pathlib, signal, sys, time
log, up = {paths!r}
def stop(*_):
    open(log, "a").write({name!r} + " ")
    sys.exit()
signal.signal(signal.SIGTERM, stop)
pathlib.Path(up).touch()
time.sleep(60)
"""
    for stage, name in enumerate(["database", "worker", "web"]):
        up = tmp_path / name
        supervisor.start(
            python(name, code.format(paths=(str(log), str(up)), name=name), stage=stage)
        )
        wait_for(supervisor, up)
    supervisor.stop()
    assert log.read_text().split() == ["web", "worker", "database"]


def test_what_ignores_sigterm_is_killed_with_all_it_started(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
group = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
open({str(pids)!r} + ".new", "w").write(f"{{os.getpid()}} {{group.pid}}")
os.rename({str(pids)!r} + ".new", {str(pids)!r})
time.sleep(60)
"""
    supervisor.start(python("stubborn", code, grace_seconds=0.3))
    wait_for(supervisor, pids)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    for pid in map(int, pids.read_text().split()):
        # SIGKILL was sent; on a busy machine the kernel delivers it a moment later.
        while not _is_gone(pid):
            assert time.monotonic() - began < 10
            time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_second_request_to_stop_does_not_wait(supervisor: Supervisor, tmp_path: Path) -> None:
    up = tmp_path / "up"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(up)!r}).touch(); time.sleep(60)"
    )
    supervisor.start(python("stubborn", code, grace_seconds=30))
    wait_for(supervisor, up)
    supervisor._stops = 1
    supervisor._on_signal(signal.SIGTERM, None)
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
