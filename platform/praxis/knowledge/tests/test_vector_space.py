"""Another encoder than the one that the passages were embedded by."""

from collections.abc import Callable, Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.knowledge import reembedding, vector_space
from praxis.knowledge.encoders import encoder_in_use
from praxis.knowledge.models import (
    EMBEDDING_WIDTH,
    Chunk,
    DocumentVersion,
    Encoder,
    EncoderSwitch,
    TunedVector,
    VectorSpace,
)
from praxis.knowledge.search import SearchResult, search
from praxis.knowledge.tests.conftest import AddDocument
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db(transaction=True)

OPENED = "# Storage\n\nAn opened bottle keeps for four weeks in the fridge."
TRAVEL = "# Travel\n\nCarry the medicine in your hand luggage."


@pytest.fixture(autouse=True)
def _asked_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(vector_space, "_believed_until", 0.0)
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE knowledge_chunk CASCADE")
        for table in ("knowledge_chunk", "knowledge_tunedvector"):
            cursor.execute(
                f"ALTER TABLE {table} ALTER COLUMN embedding TYPE halfvec({EMBEDDING_WIDTH})"
            )
        cursor.execute("ALTER TABLE knowledge_chunk DROP COLUMN IF EXISTS next_embedding")


@pytest.fixture
def find(owner: User, principal_of: Callable[..., Principal]) -> Callable[[], SearchResult]:
    principal = principal_of(owner)

    def found() -> SearchResult:
        vector_space.forget()
        return search(principal=principal, query="how long does an opened bottle keep", limit=5)

    return found


def change() -> str:
    out = StringIO()
    call_command("change_encoder", stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("width", [768, EMBEDDING_WIDTH])
def test_passages_are_embedded_anew(
    width: int,
    add_document: AddDocument,
    find: Callable[[], SearchResult],
    model_server: ModelServer,
    settings: Settings,
) -> None:
    add_document("a.md", OPENED)
    assert not find().explanation.words_only
    before = Chunk.objects.get()

    model_server.width = width
    settings.EMBEDDING_MODEL = model_server.embedding_model = "wide"
    if width == EMBEDDING_WIDTH:
        VectorSpace.objects.update(probe=vector_space.probed()[::-1])
    by_words = find()
    assert by_words.explanation.words_only
    assert [each.text for each in by_words.found] == [before.text]
    refused = add_document("b.md", TRAVEL)
    assert refused.state == DocumentVersion.State.FAILED
    assert "manage.py change_encoder" in str(refused.cause)

    assert "1 of 1 passages embedded" in change()
    after = Chunk.objects.get()
    assert len(after.embedding) == width
    found = find()
    assert not found.explanation.words_only
    assert [each.text for each in found.found] == [before.text]
    added = add_document("c.md", TRAVEL + " Always.")
    assert added.state == DocumentVersion.State.READY, added.cause
    assert "nothing was changed" in change()


def test_it_may_be_killed_and_run_again(
    add_document: AddDocument,
    find: Callable[[], SearchResult],
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reembedding, "BATCH", 1)
    for number in range(3):
        add_document(f"{number}.md", f"{OPENED} {number}")
    model_server.width = 512

    def killed(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reembedding.change_encoder(killed)
    assert find().explanation.words_only
    assert len(Chunk.objects.all()[0].embedding) == EMBEDDING_WIDTH

    told: list[tuple[int, int]] = []
    assert reembedding.change_encoder(lambda done, total: told.append((done, total)))
    assert told == [(2, 3), (3, 3)]
    assert len(find().found) == 3
    assert {len(each.embedding) for each in Chunk.objects.all()} == {512}


def test_encoders_tuned_from_the_one_before_are_retired(
    add_document: AddDocument, workspace: Workspace, model_server: ModelServer
) -> None:
    add_document("a.md", OPENED)
    tuned = Encoder.objects.create(
        workspace=workspace, name="ours", state=Encoder.State.INDEXED, recipe={}, sha256="0" * 64
    )
    EncoderSwitch.objects.create(workspace=workspace, encoder=tuned)
    TunedVector.objects.create(
        encoder=tuned, chunk=Chunk.objects.get(), embedding=[1.0] * EMBEDDING_WIDTH
    )
    model_server.width = 768
    change()
    tuned.refresh_from_db()
    assert tuned.state == Encoder.State.RETIRED
    assert encoder_in_use(workspace.pk) is None
    assert not TunedVector.objects.exists()


def test_an_empty_installation_takes_the_configured_encoder(
    add_document: AddDocument, find: Callable[[], SearchResult], model_server: ModelServer
) -> None:
    model_server.width = 1024
    assert add_document("a.md", OPENED).state == DocumentVersion.State.READY
    assert VectorSpace.objects.get().width == 1024
    assert not find().explanation.words_only


def test_a_vector_that_no_index_takes_is_refused(
    add_document: AddDocument, model_server: ModelServer
) -> None:
    model_server.width = vector_space.MOST_NUMBERS + 1
    refused = add_document("a.md", OPENED)
    assert refused.state == DocumentVersion.State.FAILED
    assert "at most 4000 fit" in str(refused.cause)
    with pytest.raises(CommandError, match="at most 4000 fit"):
        change()
