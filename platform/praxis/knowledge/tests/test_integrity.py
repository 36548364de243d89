"""Deleting leaves nothing, and the check sees what doesn't agree."""

import os
from collections.abc import Callable

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection

from praxis.knowledge import integrity, services
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion, TermCount
from praxis.knowledge.tests import files

pytestmark = pytest.mark.django_db(transaction=True)

AddDocument = Callable[..., DocumentVersion]


def test_after_uploads_versions_and_deletions_all_agrees(
    corpus: Corpus, add_document: AddDocument, capsys: pytest.CaptureFixture[str]
) -> None:
    add_document("a.md", files.MARKDOWN)
    add_document("a.md", files.MARKDOWN + b"\nMore.")
    gone = add_document("b.pdf", files.pdf(["One."], ["Two."]))
    services.delete_document(gone.document)
    call_command("check_knowledge")
    assert "agree" in capsys.readouterr().out


def _other_text(version: DocumentVersion) -> str:
    Chunk.objects.filter(version=version, ordinal=0).update(text="something else")
    return "its text is not the one"


def _gap(version: DocumentVersion) -> str:
    Chunk.objects.filter(version=version, ordinal=0).delete()
    return "is missing or there twice"


def _counts(version: DocumentVersion) -> str:
    TermCount.objects.create(workspace=version.document.corpus.workspace, term=0, num_chunks=1)
    return "counts other chunks"


def _no_file(version: DocumentVersion) -> str:
    default_storage.delete(str(version.file))
    return "it is missing"


def _no_row(version: DocumentVersion) -> str:
    name = default_storage.save("knowledge/left/behind", ContentFile(b"x"))
    os.utime(default_storage.path(name), (0, 0))
    return "no document has it"


@pytest.mark.parametrize("spoil", [_other_text, _gap, _counts, _no_file, _no_row])
def test_the_check_names_what_does_not_agree(
    spoil: Callable[[DocumentVersion], str],
    add_document: AddDocument,
    capsys: pytest.CaptureFixture[str],
) -> None:
    complaint = spoil(add_document("a.md", files.MARKDOWN))
    with pytest.raises(CommandError):
        call_command("check_knowledge")
    assert complaint in capsys.readouterr().out


def test_what_a_deletion_leaves_is_named(
    corpus: Corpus, add_document: AddDocument, caplog: pytest.LogCaptureFixture
) -> None:
    version = add_document("a.md", files.MARKDOWN)
    name = str(version.file)
    services.delete_document(version.document)
    assert "left something behind" not in caplog.text
    assert integrity.left_of(versions=[version.pk], files=[name], corpus=corpus.pk) == []

    kept = add_document("b.md", files.MARKDOWN)
    left = integrity.left_of(versions=[kept.pk], files=[str(kept.file)], corpus=corpus.pk)
    assert len(left) == 3 and "chunks" in left[2]
    assert "left something behind" in caplog.text


def test_vectors_and_words_go_with_the_chunks(corpus: Corpus, add_document: AddDocument) -> None:
    version = add_document("a.md", files.MARKDOWN)
    services.delete_document(version.document)
    assert not Document.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM knowledge_chunk")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT coalesce(sum(num_chunks), 0) FROM knowledge_termcount")
        assert cursor.fetchone() == (0,)
