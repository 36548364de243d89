"""What is not read, and the sentence that says why and what to do."""

import io
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator

import pytest
from django.utils.translation import override

from praxis.accounts.models import Workspace
from praxis.knowledge import services
from praxis.knowledge.models import Corpus
from praxis.knowledge.parsing import formats, sandbox
from praxis.knowledge.parsing.blocks import Page, Refused
from praxis.knowledge.parsing.formats import format_of
from praxis.knowledge.parsing.sentences import sentence
from praxis.knowledge.tests import files


def refusal(name: str, content: bytes, **options: float) -> Refused:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        with pytest.raises(Refused) as caught:
            list(sandbox.read_file(file, format_of(name), **options))
    return caught.value


DOCTYPE = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "boom">]>'
    b'<cp:coreProperties xmlns:cp="urn:x">&x;</cp:coreProperties>'
)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.pdf", files.encrypted_pdf(["secret"], password="open"), "pdf_encrypted"),
        ("a.pdf", files.pdf(["text"])[:120], "pdf_broken"),
        ("a.pdf", b"%PDF-1.7\nnothing that a reader knows", "pdf_broken"),
        ("a.pdf", files.pdf([], []), "no_text_layer"),
        ("a.docx", files.word()[:500], "office_broken"),
        ("a.docx", files.changed_word(word__vbaProject_dot_bin=b"macro"), "macros"),
        ("a.docx", files.changed_word(docProps__core_dot_xml=DOCTYPE), "doctype"),
        ("a.docx", files.word_with_relationship("image", "http://evil.test/x.png"), "external"),
        (
            "a.docx",
            files.word_with_relationship("attachedTemplate", "http://evil.test/x.dotm"),
            "external",
        ),
        ("a.docx", files.changed_word(**{"../../etc/passwd": b"x"}), "zip_paths"),
        ("a.docx", files.changed_word(big_dot_bin=bytes(60_000_000)), "zip_bomb"),
        (
            "a.docx",
            files.changed_word(**{f"part{number}.bin": b"" for number in range(2_100)}),
            "zip_bomb",
        ),
        ("a.pptx", files.presentation()[:900], "office_broken"),
        ("a.pptx", files.changed(files.presentation(), "ppt/vbaProject.bin", b"m"), "macros"),
        ("a.xlsx", files.changed(files.workbook(), "xl/vbaProject.bin", b"m"), "macros"),
        ("a.xlsx", files.changed(files.workbook(), "docProps/core.xml", DOCTYPE), "doctype"),
        ("a.xlsx", files.word(), "other_content"),
        ("a.eml", b"no headers at all", "other_content"),
        ("a.jsonl", b'{"a": 1}\n[2]\n', "jsonl_broken"),
        ("a.jsonl", b"[" * 100_000, "jsonl_broken"),
        ("a.txt", bytes(range(256)) * 40, "binary"),
        ("a.csv", b"Name,Price\x00\x01\x02\x03\n" * 50, "binary"),
    ],
)
def test_it_is_refused_with_a_sentence(name: str, content: bytes, code: str) -> None:
    refused = refusal(name, content)
    assert refused.code == code
    with override("en"):
        text = str(sentence(refused.code, refused.values))
    assert text.endswith(".") and "%(" not in text


def test_a_symlink_in_the_archive_is_refused() -> None:
    out = io.BytesIO(files.word())
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("word/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert refusal("a.docx", out.getvalue()).code == "zip_paths"


def test_an_ordinary_zip_is_no_word_file() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "text")
    assert refusal("a.docx", out.getvalue()).code == "other_content"


def test_a_stream_that_unpacks_without_end_is_stopped() -> None:
    import zlib

    packed = zlib.compress(b"(x) Tj " * 40_000_000, 9)
    body = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 3 0 R /Resources << >> >>"
    )
    content = files._with_table(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
            body,
            page,
        ]
    )
    assert refusal("a.pdf", content, seconds=30).code in ("memory", "no_text_layer", "timeout")


@pytest.fixture
def instead_of_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`instead_of_reading("os.abort()")`: what the children of this test do from now on."""

    def set_up(statements: str) -> None:
        monkeypatch.setattr(sandbox, "_servers", threading.local())
        monkeypatch.setattr(
            sandbox,
            "_BOOTSTRAP",
            "import os, sys, time; sys.path.append(sys.argv.pop(1))\n"
            "from parsing import child, fork_server\n"
            f"def main(name):\n    {statements}; sys.stdout.flush()\n"
            "child.main = main\n"
            "fork_server.main()\n",
        )

    return set_up


def test_a_reader_that_takes_too_long_is_stopped(
    instead_of_reading: Callable[[str], None],
) -> None:
    instead_of_reading("time.sleep(60)")
    assert refusal("a.pdf", files.pdf(["text"]), seconds=0.2).code == "timeout"


@pytest.mark.parametrize(
    "statements",
    [
        'print(\'{"page": 1, "total": null, "blocks": [["script", "x", 0]], "notes": []}\')',
        "print('no json')",
        "os.abort()",
        "os.kill(os.getppid(), 9)",
    ],
)
def test_what_a_child_says_is_not_believed(
    statements: str, instead_of_reading: Callable[[str], None]
) -> None:
    instead_of_reading(statements)
    assert refusal("a.txt", b"text").code == "crashed"
    assert refusal("a.txt", b"text").code == "crashed", "the next file finds a server"


def test_closing_the_iterator_ends_the_child(instead_of_reading: Callable[[str], None]) -> None:
    import psutil

    instead_of_reading(
        'print(\'{"page": 1, "total": null, "blocks": [], "notes": []}\', flush=True); time.sleep(60)'
    )
    others = set(psutil.Process().children(recursive=True))
    with tempfile.TemporaryFile() as file:
        pages: Iterator[Page] = sandbox.read_file(file, format_of("a.txt"))
        next(pages)
        _, child = sorted(
            set(psutil.Process().children(recursive=True)) - others,
            key=lambda process: process.create_time(),
        )
        pages.close()  # type: ignore[attr-defined]
        assert not child.is_running()


def test_after_a_refusal_the_same_process_forks_the_next_reader() -> None:
    assert refusal("a.pdf", b"%PDF-1.7\nnothing that a reader knows").code == "pdf_broken"
    server = sandbox._server()
    with tempfile.TemporaryFile() as file:
        file.write(b"Some words.")
        file.seek(0)
        (page,) = sandbox.read_file(file, format_of("a.txt"))
    assert page.blocks[0].text == "Some words."
    assert sandbox._server() is server


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.exe", b"text", "can't be read"),
        ("a", b"text", "can't be read"),
        ("a.doc", b"text", "Save the file as .docx"),
        ("a.docm", b"PK\x03\x04", "macros"),
        ("a.xlsm", b"PK\x03\x04", "Save the file as .xlsx"),
        ("a.txt", b"", "empty"),
        ("a.pdf", b"just text", "not of that kind"),
        ("a.txt", files.pdf(["text"]), "looks like PDF"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "encrypted or in an old Office format"),
        ("a.md", b"\x89PNG\r\n", "looks like PNG"),
    ],
)
def test_an_upload_is_refused_at_once(
    workspace: Workspace, name: str, content: bytes, words: str
) -> None:
    corpus = Corpus.objects.create(workspace=workspace, name="Policies")
    with override("en"), pytest.raises(services.UploadRefused, match=words):
        services.add_document(corpus=corpus, title="", file_name=name, content=content)
    assert not corpus.documents.exists()


def test_a_too_large_upload_is_refused(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 10)
    corpus = Corpus.objects.create(workspace=workspace, name="Policies")
    with override("en"), pytest.raises(services.UploadRefused, match="MB"):
        services.add_document(corpus=corpus, title="", file_name="a.txt", content=b"x" * 11)
