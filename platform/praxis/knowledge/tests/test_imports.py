"""Pages of the web, archives and a watched folder, and what of them is refused."""

import io
import os
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from praxis.accounts.models import User, Workspace
from praxis.guarded_http import AllowedNetwork
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import run_job
from praxis.jobs.services import request_cancel, retry
from praxis.jobs.sweeping import sweep
from praxis.knowledge import imports, sources
from praxis.knowledge.imports import refused_by
from praxis.knowledge.models import Corpus, Document, DocumentVersion
from praxis.knowledge.tests import files
from praxis.knowledge.tests.test_api import MakeKey, api_of  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db(transaction=True)


def do_import(corpus: Corpus, source: str, value: str) -> Job:
    job = imports.start_import(corpus=corpus, source=source, value=value)
    run_job(job.pk)
    job.refresh_from_db()
    return job


def only_reason(job: Job) -> str:
    """Why the one thing that the import refused was refused."""
    ((_name, reason),) = refused_by(job)
    return str(reason)


class Site(dict[str, tuple[int, str, bytes]]):
    """Path to status, media type (or, for a redirect, the address) and body."""

    address = ""


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    pages = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = pages.get(self.path, (404, "text/plain", b""))
            self.send_response(status)
            self.send_header("Location" if 300 <= status < 400 else "Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages.address = f"http://127.0.0.1:{server.server_port}"
    settings.IMPORT_ALLOWED_NETWORKS = [AllowedNetwork.parse("127.0.0.1/32")]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield pages
    server.shutdown()
    thread.join()
    server.server_close()


def html(text: str) -> tuple[int, str, bytes]:
    return 200, "text/html; charset=utf-8", f"<main><p>{text}</p></main>".encode()


def test_a_page_becomes_a_document_and_a_change_a_version(corpus: Corpus, site: Site) -> None:
    site["/help/returns"] = html("Thirty days.")
    job = do_import(corpus, "page", f"{site.address}/help/returns")
    assert (job.state, job.cursor["added"]) == (JobState.SUCCEEDED, 1)
    document = Document.objects.get()
    assert document.title == "127.0.0.1/help/returns"
    assert document.latest_version.file_name == "returns.html"
    assert do_import(corpus, "page", f"{site.address}/help/returns").cursor["known"] == 1
    site["/help/returns"] = html("Forty days.")
    do_import(corpus, "page", f"{site.address}/help/returns")
    assert Document.objects.get().versions.count() == 2


def test_a_sitemap_brings_the_pages_of_its_host_that_robots_allow(
    corpus: Corpus, site: Site
) -> None:
    site["/robots.txt"] = (200, "text/plain", b"User-agent: *\nDisallow: /private\n")
    site["/a"], site["/b"], site["/private/c"] = html("A."), html("B."), html("C.")
    site["/picture"] = (200, "image/png", b"\x89PNG")
    site["/away"] = (302, "http://elsewhere.test/x", b"")
    names = ("/a", "/b", "/private/c", "/gone", "/picture", "/away")
    places = [f"{site.address}{name}" for name in names]
    places.append("http://elsewhere.test/d")
    inner = "".join(f"<url><loc>{place}</loc></url>" for place in places)
    site["/pages.xml"] = (200, "application/xml", f"<urlset>{inner}</urlset>".encode())
    index = f"<sitemapindex><sitemap><loc>{site.address}/pages.xml</loc></sitemap></sitemapindex>"
    site["/sitemap.xml"] = (200, "application/xml", index.encode())
    job = do_import(corpus, "site", f"{site.address}/sitemap.xml")
    assert (job.state, job.cursor["added"], job.done, job.total) == (JobState.SUCCEEDED, 2, 6, 6)
    reasons = {name.removeprefix(site.address): str(why) for name, why in refused_by(job)}
    assert set(reasons) == {"/private/c", "/gone", "/picture", "/away"}
    assert "robots.txt forbids" in reasons["/private/c"]
    assert "404" in reasons["/gone"]
    assert "image/png" in reasons["/picture"]
    assert "another host (elsewhere.test)" in reasons["/away"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'<!DOCTYPE a [<!ENTITY x "boom">]><urlset><url><loc>&x;</loc></url></urlset>', "a DTD"),
        (b"no xml", "no XML"),
        (b"<urlset/>", "names no page"),
    ],
)
def test_a_sitemap_that_is_none_fails_with_the_cause(
    corpus: Corpus, site: Site, body: bytes, words: str
) -> None:
    site["/sitemap.xml"] = (200, "application/xml", body)
    job = do_import(corpus, "site", f"{site.address}/sitemap.xml")
    assert job.state == JobState.FAILED and words in str(job.reason)


def test_a_broken_robots_file_forbids_all(corpus: Corpus, site: Site) -> None:
    site["/robots.txt"] = (503, "text/plain", b"")
    site["/a"] = html("A.")
    assert not do_import(corpus, "page", f"{site.address}/a").cursor["added"]


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x", "http://169.254.169.254/latest"])
def test_addresses_of_the_private_network_are_refused(corpus: Corpus, address: str) -> None:
    reason = only_reason(do_import(corpus, "page", address))
    assert "private or reserved network" in reason


def test_too_large_a_page_is_refused(
    corpus: Corpus, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1_000)
    site["/a"] = (200, "text/plain", b"x" * 1_001)
    reason = only_reason(do_import(corpus, "page", f"{site.address}/a"))
    assert "larger than" in reason


def test_what_was_refused_is_told_in_the_language_of_who_reads_it(
    corpus: Corpus,
    site: Site,
    admin: User,
    client_for: Callable[[User], Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 1 << 20)
    site["/a"] = (200, "text/plain", b"x" * ((1 << 20) + 1))
    job = do_import(corpus, "page", f"{site.address}/a")
    before = ["old.txt", "Said in a version before."]
    Job.objects.filter(pk=job.pk).update(
        cursor={**job.cursor, "refused": [before, *job.cursor["refused"]]}
    )
    client = client_for(admin)
    for language, said in (("en", "It is larger than 1 MB."), ("zh-hans", "它大于 1 MB。")):
        client.cookies["django_language"] = language
        for name in ("corpus", "import_rows"):
            address = reverse(f"knowledge:{name}", args=[corpus.workspace.slug, corpus.pk])
            page = client.get(address).content.decode()
            assert said in page
            assert "Said in a version before." in page


# Archives.


def zipped(**entries: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return out.getvalue()


def link_in_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("link.txt")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def import_zip(corpus: Corpus, content: bytes) -> Job:
    return do_import(corpus, "archive", imports.store_archive(ContentFile(content)))


def test_an_archive_is_unpacked_file_by_file(
    corpus: Corpus,
    admin: User,
    api_of: MakeKey,  # noqa: F811
) -> None:
    content = zipped(
        rules__terms_dot_txt=b"Ten days.",
        rules__policy_dot_md=files.MARKDOWN,
        inner_dot_zip=zipped(a=b"x"),
        tool_dot_exe=b"MZ",
        macros_dot_docx=files.changed_word(word__vbaProject_dot_bin=b"macro"),
    )
    answer = api_of(admin).post_file(f"/corpora/{corpus.pk}/archives", "all.zip", content)
    assert answer.status_code == 202
    run_job(answer.json()["id"])
    (told,) = api_of(admin).get(f"/corpora/{corpus.pk}/imports").json()
    assert (told["state"], told["added"]) == ("succeeded", 3)
    reasons = {each["name"]: each["reason"] for each in told["refused"]}
    assert set(reasons) == {"inner.zip", "tool.exe"}
    assert {document.title for document in Document.objects.all()} == {
        "rules/terms",
        "rules/policy",
        "macros",
    }
    version = DocumentVersion.objects.get(file_name="macros.docx")
    assert version.job_id is not None
    run_job(version.job_id)
    version.refresh_from_db()
    assert "macros" in version.error
    assert default_storage.listdir(imports.ARCHIVES) == ([], []), "the archive is not kept"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no archive", "no ZIP archive"),
        (zipped(big_dot_txt=bytes(30_000_000)), "unpacks to far more"),
        (zipped(**{f"a{number}_dot_txt": b"" for number in range(2_001)}), "2001 files"),
    ],
)
def test_a_bad_archive_is_refused_as_a_whole(corpus: Corpus, content: bytes, words: str) -> None:
    job = import_zip(corpus, content)
    assert job.state == JobState.FAILED and words in str(job.reason)
    assert not Document.objects.exists()
    retry(job)
    run_job(job.pk)
    job.refresh_from_db()
    assert "Upload it again" in job.message


@pytest.mark.parametrize(
    ("content", "words"),
    [(link_in_zip(), "symbolic link"), (zipped(**{"..__..__etc__a_dot_txt": b"x"}), "leads out")],
)
def test_links_and_paths_out_of_an_archive_are_refused(
    corpus: Corpus, content: bytes, words: str
) -> None:
    reason = only_reason(import_zip(corpus, content))
    assert words in reason and not Document.objects.exists()


def test_an_import_goes_on_where_it_was(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    content = zipped(**{f"a{number}_dot_txt": b"%d" % number for number in range(4)})
    job = imports.start_import(
        corpus=corpus, source="archive", value=imports.store_archive(ContentFile(content))
    )
    Job.objects.filter(pk=job.pk).update(cursor={"done": 3, "added": 3, "known": 0, "refused": []})
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.cursor["added"], Document.objects.get().title) == (4, "a3")


def lose_worker(job: Job) -> None:
    """A worker that had it died at its last attempt."""
    Job.objects.filter(pk=job.pk).update(
        state=JobState.RUNNING, attempt=job.max_attempts, lease_until=timezone.now()
    )
    sweep()


def lose_worker_while_cancelling(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    lose_worker(job)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (request_cancel, JobState.CANCELLED),
        (lose_worker, JobState.DEAD),
        (lose_worker_while_cancelling, JobState.CANCELLED),
    ],
)
def test_an_archive_goes_with_an_import_that_ends_without_its_handler(
    corpus: Corpus, end: Callable[[Job], object], state: JobState
) -> None:
    archive = imports.store_archive(ContentFile(zipped(a_dot_txt=b"text")))
    job = imports.start_import(corpus=corpus, source="archive", value=archive)
    end(job)
    job.refresh_from_db()
    assert job.state == state
    assert not default_storage.exists(archive)
    run_job(retry(job).pk)
    job.refresh_from_db()
    assert (job.state, "Upload it again" in job.message) == (JobState.FAILED, True)


# The watched folder.


@pytest.fixture
def watched(workspace: Workspace, corpus: Corpus, settings: Settings, tmp_path: Path) -> Path:
    settings.WATCHED_FOLDER = str(tmp_path / "watched")
    folder = tmp_path / "watched" / workspace.slug / corpus.name
    folder.mkdir(parents=True)
    return folder


def put(path: Path, content: bytes, *, seconds_ago: float = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    changed = time.time() - seconds_ago
    os.utime(path, (changed, changed))


def look(run: Callable[[], None] = imports.watch) -> list[Job]:
    before = set(Job.objects.filter(kind=imports.KIND).values_list("pk", flat=True))
    run()
    jobs = list(Job.objects.filter(kind=imports.KIND).exclude(pk__in=before))
    for job in jobs:
        run_job(job.pk)
        job.refresh_from_db()
    return jobs


def test_what_is_put_into_the_folder_is_imported_once_and_again_when_it_changes(
    watched: Path, tmp_path: Path
) -> None:
    put(watched / "sub" / "terms.txt", b"Ten days.")
    put(watched / "new.txt", b"Half writ", seconds_ago=0)
    put(watched / ".hidden.txt", b"x")
    secret = tmp_path / "secret.txt"
    put(secret, b"outside")
    os.symlink(secret, watched / "link.txt")
    os.utime(watched / "link.txt", (1, 1), follow_symlinks=False)
    (tmp_path / "elsewhere").mkdir()
    put(tmp_path / "elsewhere" / "deep.txt", b"outside")
    os.symlink(tmp_path / "elsewhere", watched / "linked")

    (job,) = look()
    assert Document.objects.get().title == "sub/terms"
    assert only_reason(job) == "It is a symbolic link, which is not followed."
    assert look() == [], "nothing has changed"
    put(watched / "sub" / "terms.txt", b"Twenty days.", seconds_ago=30)
    assert len(look()) == 1
    assert Document.objects.get().versions.count() == 2


def test_folders_of_no_corpus_are_left_alone(watched: Path) -> None:
    put(watched.parent / "Unknown" / "a.txt", b"x")
    put(watched.parent.parent / "unknown" / "Policies" / "a.txt", b"x")
    os.symlink(watched, watched.parent / "Other")
    assert look() == []
