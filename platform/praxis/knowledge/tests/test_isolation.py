"""Fifty tenants in one index, each with nearly the same text: nobody finds what is another's."""

from uuid import UUID

import pytest
from django.contrib.postgres.search import SearchVector
from django.db.models import Value

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, Workspace
from praxis.knowledge.models import Chunk, Corpus, Document, DocumentVersion
from praxis.knowledge.search import search
from tests.fakes import ModelServer, embed

pytestmark = pytest.mark.django_db

TENANTS = 50
CHUNKS = 6
QUESTION = "What is the canary password of the harbour office?"


def text_of(tenant: int, number: int) -> str:
    return f"The canary password of the harbour office number {number} is swordfish{tenant}."


@pytest.fixture
def tenants(model_server: ModelServer) -> list[Workspace]:
    workspaces = Workspace.objects.bulk_create(
        Workspace(slug=f"tenant-{tenant}", name=f"Tenant {tenant}") for tenant in range(TENANTS)
    )
    chunks = []
    for tenant, workspace in enumerate(workspaces):
        corpus = Corpus.objects.create(workspace=workspace, name="Papers")
        document = Document.objects.create(corpus=corpus, title="Paper")
        version = DocumentVersion.objects.create(
            document=document,
            number=1,
            file=f"{tenant}",
            file_name="paper.txt",
            media_type="text/plain",
            size=1,
            sha256="0" * 64,
            text="-",
            state=DocumentVersion.State.READY,
        )
        document.current_version = version
        document.save()
        for number in range(CHUNKS):
            text = text_of(tenant, number)
            chunks.append(
                Chunk(
                    version=version,
                    workspace=workspace,
                    ordinal=number,
                    start=0,
                    end=len(text),
                    text=text,
                    embedding=embed(text),
                    search=SearchVector(Value(text), config="english"),
                )
            )
    Chunk.objects.bulk_create(chunks)
    return workspaces


@pytest.mark.parametrize("exact_up_to", [10_000, 0], ids=["compared", "walked"])
def test_no_tenant_finds_what_is_anothers(
    tenants: list[Workspace], exact_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("praxis.knowledge.search.EXACT_UP_TO", exact_up_to)
    foreign: list[UUID] = list(Corpus.objects.values_list("pk", flat=True))
    for tenant, workspace in enumerate(tenants):
        principal = Principal(workspace=workspace, role=Role.OWNER)
        own = {text_of(tenant, number) for number in range(CHUNKS)}
        other = f"{QUESTION} swordfish{(tenant + 1) % TENANTS}"
        for query, corpora in ((QUESTION, None), (other, None), (QUESTION, foreign)):
            result = search(principal=principal, query=query, limit=50, corpora=corpora)
            assert {each.text for each in result.explanation.candidates} == own, workspace


def test_without_a_corpus_nothing_is_found(tenants: list[Workspace]) -> None:
    principal = Principal(workspace=tenants[0], role=Role.OWNER)
    assert search(principal=principal, query=QUESTION, limit=50, corpora=[]).found == ()
