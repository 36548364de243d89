"""A real process, killed with -9 while it reads: the next goes on, nothing lost, nothing double."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from praxis.jobs.models import Job, JobState
from praxis.jobs.running import run_job
from praxis.jobs.sweeping import release_expired_leases
from praxis.knowledge.chunking import split
from praxis.knowledge.models import DocumentVersion
from praxis.knowledge.tests.test_chunking import prose
from tests.fakes import ModelServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

WORK = (
    "import sys, django; django.setup();"
    "from praxis.jobs.running import run_job; run_job(sys.argv[1])"
)


def start_work(job: Job, var: Path, model_server: ModelServer) -> subprocess.Popen[bytes]:
    database = urlsplit(os.environ["DATABASE_URL"])
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(job.pk)],
        env={
            **os.environ,
            "DATABASE_URL": urlunsplit(
                database._replace(path=f"/{connection.settings_dict['NAME']}")
            ),
            "EMBEDDING_BASE_URL": model_server.base_url,
            "EMBEDDING_MODEL": model_server.embedding_model,
            "LLM_API_KEY": model_server.api_key,
            "PRAXIS_VAR": str(var),
            "PYTHONPATH": f"{settings.BASE_DIR / 'platform'}{os.pathsep}{settings.BASE_DIR}",
        },
    )


def wait_for_chunks(version: DocumentVersion, number: int, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while (found := version.chunks.count()) < number:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline, "no chunk came"
        time.sleep(0.01)
    return found


def test_kill_9_in_the_middle_loses_and_doubles_nothing(
    add_document: Callable[..., DocumentVersion],
    model_server: ModelServer,
    settings: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    settings.MEDIA_ROOT = tmp_path / "files"  # type: ignore[attr-defined]
    version = add_document("long.txt", prose(6_000), read=False)
    job = version.job
    assert job is not None
    found = 0
    for _ in range(2):
        process = start_work(job, tmp_path, model_server)
        found = wait_for_chunks(version, found + 1, process)
        process.kill()
        process.wait()
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        release_expired_leases()
        version.document.refresh_from_db()
        assert version.document.current_version is None
    run_job(job.pk)
    version.refresh_from_db()
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED
    wanted = [
        (span.ordinal, span.start, span.end)
        for span in split(version.text, version.blocks, version.page_starts)
    ]
    assert len(wanted) > found
    stored = version.chunks.order_by("ordinal").values_list("ordinal", "start", "end")
    assert list(stored) == wanted
