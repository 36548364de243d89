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
from praxis.knowledge.models import DocumentVersion
from praxis.knowledge.tests.test_chunking import prose
from tests.fakes import ModelServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

# Each part takes a while, as with a real encoder, so that there is a middle to be killed in.
WORK = """
import sys, time, django
django.setup()
from praxis.jobs.running import run_job
from praxis.knowledge import ingestion
embed = ingestion.embed
def slowly(texts, *, bulk):
    time.sleep(0.4)
    return embed(texts, bulk=bulk)
ingestion.embed = slowly
run_job(sys.argv[1])
"""


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
    deadline = time.monotonic() + 180
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
    # Paragraphs: a part ends between two messages of the reader, which hold whole blocks.
    content = "\n\n".join(prose(4) for _ in range(1_600)).encode()
    version = add_document("long.txt", content, read=False)
    job = version.job
    assert job is not None
    found = 0
    for _ in range(3):
        process = start_work(job, tmp_path, model_server)
        found = wait_for_chunks(version, found + 1, process)
        process.kill()
        process.wait()
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        release_expired_leases()
    run_job(job.pk)
    version.refresh_from_db()
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED
    whole = add_document("whole.txt", content + b"\n")
    assert version.text == whole.text and version.blocks == whole.blocks
    chunks = list(version.chunks.order_by("ordinal"))
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.text == version.text[chunk.start : chunk.end] for chunk in chunks)
    # Where a part ends depends on the time too, so the cuts may differ; what they cover may not.
    assert _covered(version) == _covered(whole)


def _covered(version: DocumentVersion) -> set[int]:
    spans = version.chunks.values_list("start", "end")
    places = {place for start, end in spans for place in range(start, end)}
    return {place for place in places if not version.text[place].isspace()}
