"""From an upload to something that is searched, and every way it can go wrong."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from django.utils.translation import override

from praxis.accounts.models import Workspace
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import JobRun, run_job
from praxis.jobs.services import request_cancel, retry
from praxis.jobs.sweeping import release_expired_leases
from praxis.knowledge import ingestion, services
from praxis.knowledge.editing import edit_chunk
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
from praxis.knowledge.tests import files
from praxis.knowledge.tests.test_chunking import prose
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db(transaction=True)

State = DocumentVersion.State
AddDocument = Callable[..., DocumentVersion]


def run_again(job: Job) -> Job:
    Job.objects.filter(pk=job.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    run_job(job.pk)
    return Job.objects.get(pk=job.pk)


def job_of(version: DocumentVersion) -> Job:
    assert version.job_id is not None
    return Job.objects.get(pk=version.job_id)


def stored_files() -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.md", files.MARKDOWN, "five days"),
        ("a.txt", b"Money comes back in five days.", "five days"),
        ("a.html", files.HTML, "in two days"),
        ("a.pdf", files.pdf(["Money comes back in five days."]), "five days"),
        ("a.docx", files.word(), "thirty days"),
        ("a.csv", b"Name,Back in\nCard,five days\n", "five days"),
    ],
)
def test_every_format_becomes_searchable(
    add_document: AddDocument, name: str, content: bytes, words: str
) -> None:
    version = add_document(name, content)
    assert (version.state, version.error) == (State.READY, "")
    assert version.document.current_version_id == version.pk
    assert version.ready_at is not None
    chunks = list(version.chunks.order_by("ordinal"))
    assert any(words in chunk.text for chunk in chunks)
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.text == version.text[chunk.start : chunk.end]
        assert chunk.workspace_id == version.document.corpus.workspace_id


def test_the_headings_are_embedded_with_the_chunk(
    add_document: AddDocument, model_server: ModelServer
) -> None:
    add_document("policy.md", files.MARKDOWN)
    asked = [
        text
        for request in model_server.requests
        if request.path == "/v1/embeddings"
        for text in request.body["input"]
    ]
    assert "policy › Policy › Refunds\nMoney comes back in five days." in asked[1]


def test_a_refused_file_tells_the_cause_on_version_and_job(add_document: AddDocument) -> None:
    version = add_document("scan.pdf", files.pdf([], []))
    assert version.state == State.FAILED
    assert version.error.startswith("The PDF has no text layer")
    assert version.job is not None and version.job.state == JobState.FAILED
    assert version.job.reason == version.cause
    assert version.document.current_version is None


def test_a_file_of_nothing_is_refused(add_document: AddDocument) -> None:
    assert add_document("a.txt", b" \n\n ").error.startswith("The file holds no text")


def test_the_cause_is_told_in_the_language_of_who_reads_it(add_document: AddDocument) -> None:
    version = add_document("a.jsonl", b'{"a": 1}\n[2]\n')
    job = job_of(version)
    with override("zh-hans"):
        assert str(version.cause) == str(job.reason) == job.to_dict()["message"]
        assert str(version.cause).startswith("第 2 行不是 JSON 对象")
        assert version.to_dict()["error"] == str(version.cause)
    assert str(version.cause).startswith("Line 2 is no JSON object")


def test_it_waits_for_the_embedding_server_and_then_goes_on(
    add_document: AddDocument, model_server: ModelServer
) -> None:
    model_server.down()
    version = add_document("a.md", files.MARKDOWN)
    job = job_of(version)
    assert (job.state, job.stage) == (JobState.QUEUED, "Waiting for the embedding server")
    assert job.message and job.next_attempt_at > timezone.now()
    assert version.document.current_version is None

    model_server.up()
    assert run_again(job).state == JobState.SUCCEEDED
    version.refresh_from_db()
    assert version.state == State.READY and version.chunks.exists()


def test_it_fails_when_the_embedding_server_stays_away(
    add_document: AddDocument, model_server: ModelServer
) -> None:
    model_server.down()
    version = add_document("a.md", files.MARKDOWN, read=False)
    Job.objects.filter(pk=job_of(version).pk).update(attempt=ingestion.MAX_ATTEMPTS - 1)
    assert version.job is not None
    assert run_again(version.job).state == JobState.DEAD
    version.refresh_from_db()
    assert version.state == State.FAILED and "embedding server" in version.error

    model_server.up()
    run_again(retry(version.job))
    version.refresh_from_db()
    assert (version.state, version.error) == (State.READY, "")


def test_an_encoder_of_another_width_is_named(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "embed", lambda texts, bulk: [[0.1] * 768 for _ in texts])
    version = add_document("a.md", files.MARKDOWN)
    assert version.state == State.FAILED
    assert "768" in str(version.cause) and "384" in str(version.cause)


def spans_of(version: DocumentVersion) -> list[tuple[int, int, str]]:
    return list(version.chunks.order_by("ordinal").values_list("start", "end", "text"))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestion, "PART_CHARACTERS", 500)
    monkeypatch.setattr(ingestion, "PART_SHARE", 1_000)


def pages_of_prose(number: int) -> bytes:
    """Each page has a heading of its own, or goes on with the section of the page before."""
    return files.pdf(
        *(
            [f"{page} Section {page}"] * (page % 3 == 0)
            + [f"Page {page} says in line {line} what is due then." for line in range(8)]
            for page in range(1, number + 1)
        )
    )


@pytest.mark.parametrize("stored_before", [0, 1, 2])
def test_a_crash_in_the_middle_loses_and_doubles_nothing(
    add_document: AddDocument,
    monkeypatch: pytest.MonkeyPatch,
    small_parts: None,
    stored_before: int,
) -> None:
    content = pages_of_prose(8)
    whole = add_document("whole.pdf", content)
    assert len(spans_of(whole)) >= 4

    embedded: list[int] = []
    real = ingestion.embed

    def embed_until_the_crash(texts: list[str], *, bulk: bool) -> list[list[float]]:
        if len(embedded) == stored_before:
            raise SystemError("the process is gone")
        embedded.append(len(texts))
        return real(texts)

    monkeypatch.setattr(ingestion, "embed", embed_until_the_crash)
    version = add_document("crashed.pdf", content + b"\n")
    assert version.chunks.count() == sum(embedded)

    asked: list[int] = []

    def embed_and_count(texts: list[str], *, bulk: bool) -> list[list[float]]:
        asked.append(len(texts))
        return real(texts)

    monkeypatch.setattr(ingestion, "embed", embed_and_count)
    assert run_again(job_of(version)).state == JobState.SUCCEEDED
    version.refresh_from_db()
    assert sum(asked) == len(spans_of(whole)) - sum(embedded)
    for name in ("text", "blocks", "page_starts", "notes"):
        assert getattr(version, name) == getattr(whole, name), name
    assert spans_of(version) == spans_of(whole)
    assert [chunk.heading for chunk in version.chunks.order_by("ordinal")] == [
        chunk.heading for chunk in whole.chunks.order_by("ordinal")
    ]


def test_parts_make_the_same_text_as_the_whole(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    content = pages_of_prose(7)
    in_parts = add_document("parts.pdf", content)
    monkeypatch.setattr(ingestion, "PART_CHARACTERS", 1_000_000)
    at_once = add_document("once.pdf", content + b"\n")
    assert in_parts.text == at_once.text and in_parts.blocks == at_once.blocks
    assert in_parts.page_starts == at_once.page_starts
    covered = [
        {
            place
            for start, end, _ in spans_of(version)
            for place in range(start, end)
            if not version.text[place].isspace()
        }
        for version in (in_parts, at_once)
    ]
    assert covered[0] == covered[1]
    for chunk in in_parts.chunks.all():
        assert chunk.text == in_parts.text[chunk.start : chunk.end]
        assert chunk.page == in_parts.page_of(chunk.start)


def test_the_first_version_is_searched_while_it_is_read_and_a_later_one_when_it_is_ready(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    seen: list[tuple[int, bool]] = []
    real = ingestion.embed
    version = add_document("a.pdf", pages_of_prose(6), read=False)

    def embed_and_look(texts: list[str], *, bulk: bool) -> list[list[float]]:
        document = Document.objects.get(pk=version.document_id)
        chunks = Chunk.objects.filter(version=document.current_version_id or version.pk)
        seen.append((chunks.count(), document.current_version_id == version.pk))
        return real(texts)

    monkeypatch.setattr(ingestion, "embed", embed_and_look)
    run_job(job_of(version).pk)
    assert seen[0] == (0, False)
    assert all(searched for _, searched in seen[1:]) and seen[1][0] > 0
    assert [count for count, _ in seen] == sorted({count for count, _ in seen})

    whole = version.chunks.count()
    seen.clear()
    add_document("a.pdf", pages_of_prose(7))
    assert len(seen) > 2
    assert set(seen) == {(whole, True)}, "the version before, and all of it"


def test_what_fails_in_the_middle_is_searched_no_longer(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    real = ingestion.embed
    calls: list[int] = []

    def embed_twice(texts: list[str], *, bulk: bool) -> list[list[float]]:
        calls.append(1)
        return real(texts) if len(calls) < 3 else [[0.1] * 768 for _ in texts]

    monkeypatch.setattr(ingestion, "embed", embed_twice)
    version = add_document("a.pdf", pages_of_prose(6))
    assert version.state == State.FAILED and version.chunks.exists()
    assert version.document.current_version_id is None
    monkeypatch.setattr(ingestion, "embed", real)
    assert run_again(retry(job_of(version))).state == JobState.SUCCEEDED
    assert Document.objects.get().current_version_id == version.pk


def test_a_job_from_before_parts_begins_anew(add_document: AddDocument) -> None:
    version = add_document("a.txt", prose(100))
    wanted = spans_of(version)
    DocumentVersion.objects.filter(pk=version.pk).update(state=State.EMBEDDING)
    Job.objects.filter(pk=job_of(version).pk).update(
        state=JobState.QUEUED, finished_at=None, cursor={"read": True}
    )
    assert run_again(job_of(version)).state == JobState.SUCCEEDED
    assert spans_of(version) == wanted


def test_cancel_and_retry(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch, small_parts: None
) -> None:
    real = ingestion.embed
    version = add_document("a.pdf", pages_of_prose(8), read=False)
    assert version.job is not None
    job = version.job

    def embed_and_cancel(texts: list[str], *, bulk: bool) -> list[list[float]]:
        if not Job.objects.get(pk=job.pk).cancel_requested:
            request_cancel(job)
        return real(texts)

    monkeypatch.setattr("praxis.jobs.running.CHECK_SECONDS", 0)
    monkeypatch.setattr(ingestion, "embed", embed_and_cancel)
    run_job(job.pk)
    job.refresh_from_db()
    version.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert version.chunks.exists() and version.is_given_up

    monkeypatch.setattr(ingestion, "embed", real)
    assert run_again(retry(job)).state == JobState.SUCCEEDED


def test_progress_names_stage_and_pages(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, int, int | None, str]] = []
    real = JobRun.progress

    def progress(self: JobRun, done: int, total: int | None = None, **more: str) -> None:
        real(self, done, total, **more)
        shown.append((self.job.stage, done, total, self.job.unit))

    monkeypatch.setattr(JobRun, "progress", progress)
    monkeypatch.setattr(ingestion, "PART_SECONDS", 0)
    add_document("a.pdf", files.pdf(["One."], ["Two."], ["Three."]))
    stage = "Reading and indexing"
    assert shown[1:] == [(stage, 0, 3, "pages")] + [(stage, n, 3, "pages") for n in (1, 2, 3)]
    shown.clear()
    add_document("a.txt", "Some words.")
    assert shown[-1] == ("Indexing", 1, 1, "passages")


def test_the_same_content_is_stored_once(corpus: Corpus, add_document: AddDocument) -> None:
    first = add_document("a.md", files.MARKDOWN)
    again = services.add_document(
        corpus=corpus, title="Other", file_name="b.md", content=files.MARKDOWN
    )
    assert again.pk == first.pk
    assert DocumentVersion.objects.count() == len(stored_files()) == Job.objects.count() == 1


def test_the_same_content_may_be_in_two_corpora(
    workspace: Workspace, add_document: AddDocument
) -> None:
    other = Corpus.objects.create(workspace=workspace, name="Other")
    add_document("a.md", files.MARKDOWN)
    add_document("a.md", files.MARKDOWN, corpus=other)
    assert Document.objects.count() == 2


@pytest.mark.parametrize(("name", "title"), [("terms.txt", ""), ("other.txt", "terms")])
def test_the_same_name_or_title_makes_a_version(
    add_document: AddDocument, name: str, title: str
) -> None:
    first = add_document("terms.txt", "Ten days.")
    waiting = add_document(name, "Twenty days.", title=title, read=False)
    assert (waiting.document_id, waiting.number) == (first.document_id, 2)
    assert waiting.document.current_version_id == first.pk, "the old one is searched meanwhile"
    assert waiting.job_id
    run_job(waiting.job_id)
    document = Document.objects.get()
    assert document.current_version_id == waiting.pk
    assert first.chunks.exists() and first.text == "Ten days."


def test_an_older_version_that_is_ready_later_does_not_take_over(
    add_document: AddDocument,
) -> None:
    slow = add_document("a.txt", "Ten days.", read=False)
    quick = add_document("a.txt", "Twenty days.")
    assert slow.job_id
    run_job(slow.job_id)
    assert Document.objects.get().current_version_id == quick.pk


def test_deleting_leaves_no_rows_and_no_files(corpus: Corpus, add_document: AddDocument) -> None:
    add_document("a.txt", "Ten days.")
    version = add_document("a.txt", "Twenty days.")
    kept = add_document("kept.txt", "Stays.")
    services.delete_document(version.document)
    assert list(Document.objects.all()) == [kept.document]
    assert set(Chunk.objects.values_list("version_id", flat=True)) == {kept.pk}
    assert len(stored_files()) == 1
    services.delete_corpus(corpus)
    assert not Chunk.objects.exists() and not stored_files()


def test_a_document_deleted_while_it_is_read_is_gone(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ingestion.embed
    version = add_document("a.txt", prose(300), read=False)

    def embed_and_delete(texts: list[str], *, bulk: bool) -> list[list[float]]:
        if document := Document.objects.filter(pk=version.document_id).first():
            services.delete_document(document)
        return real(texts)

    monkeypatch.setattr(ingestion, "embed", embed_and_delete)
    assert version.job_id
    run_job(version.job_id)
    assert not Chunk.objects.exists() and not DocumentVersion.objects.exists()
    assert job_of(version).is_finished


def test_a_failed_upload_leaves_no_file(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> Job:
        raise RuntimeError("no job")

    monkeypatch.setattr(services, "enqueue", broken)
    with pytest.raises(RuntimeError):
        services.add_document(corpus=corpus, title="", file_name="a.txt", content=b"text")
    assert not stored_files() and not Document.objects.exists()


def test_every_change_of_what_is_found_raises_the_content_version(
    corpus: Corpus, add_document: AddDocument
) -> None:
    def content_version() -> int:
        return Corpus.objects.get(pk=corpus.pk).content_version

    seen = [content_version()]
    first = add_document("a.txt", "Ten days.")
    seen.append(content_version())
    add_document("a.txt", "Twenty days.")
    seen.append(content_version())
    services.delete_document(first.document)
    seen.append(content_version())
    assert seen == sorted(set(seen)), "it grows with each"


def test_chunks_inherit_access_and_metadata(corpus: Corpus, add_document: AddDocument) -> None:
    corpus.access, corpus.metadata = ["role:admin"], {"area": "shop", "year": 2025}
    corpus.save()
    version = add_document("a.txt", "Ten days.", read=False)
    version.document.metadata = {"year": 2026}
    version.document.save()
    assert version.job_id
    run_job(version.job_id)
    chunk = version.chunks.get()
    assert (chunk.access, chunk.metadata) == (["role:admin"], {"area": "shop", "year": 2026})


def test_rights_that_change_while_it_is_read_hold_for_what_comes_after(
    corpus: Corpus,
    add_document: AddDocument,
    monkeypatch: pytest.MonkeyPatch,
    small_parts: None,
) -> None:
    real = ingestion.embed
    version = add_document("a.pdf", pages_of_prose(6), read=False)
    calls: list[int] = []

    def embed_and_close(texts: list[str], *, bulk: bool) -> list[list[float]]:
        calls.append(1)
        if len(calls) == 2:
            Corpus.objects.filter(pk=corpus.pk).update(access=["role:admin"])
        return real(texts)

    monkeypatch.setattr(ingestion, "embed", embed_and_close)
    run_job(job_of(version).pk)
    assert len(calls) > 2
    assert {tuple(chunk.access) for chunk in version.chunks.all()} == {("role:admin",)}


def test_a_document_whose_workers_die_too_often_fails_with_a_webhook(
    add_document: AddDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(
        ingestion, "emit", lambda _, name, *, subject, data: told.append((name, data["error"]))
    )
    version = add_document("a.txt", "Ten days.", read=False)
    Job.objects.filter(pk=job_of(version).pk).update(
        state=JobState.RUNNING,
        attempt=ingestion.MAX_ATTEMPTS,
        lease_until=timezone.now() - timedelta(seconds=1),
    )
    assert release_expired_leases() == 1
    version.refresh_from_db()
    assert version.state == State.FAILED and "stopped unexpectedly" in version.error
    assert told == [("document.failed", str(version.cause))]
    assert release_expired_leases() == 0 and len(told) == 1


def test_what_is_stored_in_bulk_is_what_an_edit_would_store(add_document: AddDocument) -> None:
    version = add_document(
        "退货.md", "# Returns – 退货\n\nThirty days, it’s free.\n\n退货政策：三十天。"
    )
    stored = version.chunks.order_by("ordinal")
    words = list(stored.values_list("search", "terms"))
    vectors = list(stored.values_list("embedding", flat=True))
    for chunk in stored:
        edit_chunk(chunk, "", edited_by=None)
    assert words == list(stored.values_list("search", "terms")) and all(words[0])
    for before, after in zip(vectors, stored.values_list("embedding", flat=True), strict=True):
        assert before == pytest.approx(after, rel=1e-3, abs=1e-6)
