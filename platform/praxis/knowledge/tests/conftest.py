"""Corpora with documents in them, read by the real job handler."""

from collections.abc import Callable

import pytest

from praxis.accounts.models import Workspace
from praxis.jobs.running import run_job
from praxis.knowledge import services
from praxis.knowledge.models import Corpus, DocumentVersion
from tests.fakes import ModelServer

AddDocument = Callable[..., DocumentVersion]


@pytest.fixture(autouse=True)
def _files_of_this_test(settings: pytest.FixtureRequest, tmp_path: object) -> None:
    settings.MEDIA_ROOT = tmp_path  # type: ignore[attr-defined]


@pytest.fixture
def corpus(workspace: Workspace) -> Corpus:
    return Corpus.objects.create(workspace=workspace, name="Policies")


@pytest.fixture
def add_document(corpus: Corpus, model_server: ModelServer) -> AddDocument:
    """`add_document("a.md", b"…")`: uploaded and, unless `read=False`, read by its job."""
    default = corpus

    def add(
        file_name: str,
        content: bytes | str,
        *,
        corpus: Corpus | None = None,
        title: str = "",
        read: bool = True,
    ) -> DocumentVersion:
        version = services.add_document(
            corpus=corpus or default,
            title=title,
            file_name=file_name,
            content=content.encode() if isinstance(content, str) else content,
        )
        assert version.job_id is not None
        if read:
            run_job(version.job_id)
        return DocumentVersion.objects.select_related("document", "job").get(pk=version.pk)

    return add
