"""The golden set: kept by a click or a file, scored on demand and when something changes."""

from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from praxis.accounts.models import Workspace
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import run_job
from praxis.knowledge.models import Chunk, Corpus, DocumentVersion
from praxis.knowledge.services import delete_document
from praxis.knowledge.tests.conftest import AddDocument
from praxis.workbench import golden
from praxis.workbench.models import Expectation, GoldenQuestion, GoldenRun
from tests.fakes import ModelServer

pytestmark = pytest.mark.django_db

QUESTION = "How long is the warranty?"


def post(client: Client, workspace: Workspace, name: str, **values: Any) -> Any:
    htmx = values.pop("htmx", False)
    headers = {"HX-Request": "true"} if htmx else {}
    url = reverse(f"workbench:{name}", args=[workspace.slug])
    return client.post(url, values, headers=headers, follow=not htmx)


def chunk_of(version: DocumentVersion, begin: str) -> Chunk:
    return version.chunks.get(text__startswith=begin)


def scored(workspace: Workspace) -> GoldenRun:
    """The newest run, its job done."""
    run = GoldenRun.objects.filter(workspace=workspace).latest("created_at")
    assert run.job_id is not None
    run_job(run.job_id)
    return GoldenRun.objects.select_related("job").get(pk=run.pk)


@pytest.fixture
def question(workspace: Workspace, shop: DocumentVersion) -> GoldenQuestion:
    """Expects its right passage."""
    added = golden.add_question(workspace=workspace, text=QUESTION, corpus=None, by=None)
    golden.expect(added, shop.document, "The kettle has a warranty of three years.")
    return added


def test_a_click_on_a_result_adds_it_and_another_takes_it_back(
    browser: Client, workspace: Workspace, shop: DocumentVersion
) -> None:
    chunk = chunk_of(shop, "The kettle")
    values = {"question": QUESTION, "chunk": str(chunk.pk), "next": "/"}
    response = post(browser, workspace, "expect", htmx=True, **values)
    assert response.status_code == 204 and response.headers["HX-Trigger"] == "golden-changed"
    expectation = Expectation.objects.get()
    assert (expectation.question.text, expectation.quote) == (QUESTION, chunk.text)
    page = browser.get(reverse("workbench:index", args=[workspace.slug]), {"q": QUESTION})
    shown = page.content.decode()
    assert "★ expected" in shown and "nDCG@10 1.000" in shown
    post(browser, workspace, "expect", htmx=True, **values, whole="1")
    assert Expectation.objects.count() == 2
    post(browser, workspace, "expect", htmx=True, **values)
    post(browser, workspace, "expect", htmx=True, **values, whole="1")
    assert not GoldenQuestion.objects.exists()


def test_a_chunk_of_another_workspace_cannot_be_expected(
    browser: Client,
    workspace: Workspace,
    other_workspace: Workspace,
    add_document: AddDocument,
) -> None:
    theirs = Corpus.objects.create(workspace=other_workspace, name="Theirs")
    secret = add_document("secret.txt", "The password is swordfish.", corpus=theirs)
    chunk = secret.chunks.get()
    for given in (str(chunk.pk), "", "nine", "9" * 30):
        response = post(browser, workspace, "expect", question="Password?", chunk=given)
        assert response.status_code == 404
    assert not GoldenQuestion.objects.exists()


def test_a_file_comes_in_and_goes_out_the_same(
    browser: Client, workspace: Workspace, corpus: Corpus, shop: DocumentVersion
) -> None:
    lines = [
        "question,document,passage,corpus",
        '"How long, the warranty?",shop,The kettle has a warranty of three years.,Policies',
        "How fast?,shop,,",
        "How fast?,nowhere,,",
        "How fast?,shop,,Elsewhere",
        ",shop,,",
    ]
    file = SimpleUploadedFile("golden.csv", "\r\n".join(lines).encode("utf-8-sig"))
    page = unescape(post(browser, workspace, "import", file=file).content.decode())
    assert "2 lines were imported." in page
    assert "Line 4: There is no document with the title “nowhere”." in page
    assert "Line 5: There is no corpus “Elsewhere”; there are: Policies." in page
    assert "Line 6: The question is empty." in page
    exported = browser.get(reverse("workbench:export", args=[workspace.slug])).content
    assert exported.decode().splitlines() == lines[:3]
    GoldenQuestion.objects.all().delete()
    assert golden.import_csv(workspace=workspace, content=exported, by=None) == (2, [])
    assert set(GoldenQuestion.objects.values_list("corpus__name", flat=True)) == {"Policies", None}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"frage,dokument\nA,B", "must name the columns question and document"),
        ("question,document\nä,b".encode("latin-1"), "is not UTF-8 text"),
        (b"", "must name the columns"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    browser: Client, workspace: Workspace, content: bytes, reason: str
) -> None:
    file = SimpleUploadedFile("golden.csv", content or b"\n")
    page = unescape(post(browser, workspace, "import", file=file).content.decode())
    assert reason in page


def test_it_is_scored_on_demand_with_the_settings_and_the_content_version(
    browser: Client, workspace: Workspace, question: GoldenQuestion, shop: DocumentVersion
) -> None:
    lost = golden.add_question(workspace=workspace, text="Who founded it?", corpus=None, by=None)
    golden.expect(lost, shop.document, "The founder was a baker from Ulm.")
    page = post(browser, workspace, "score").content.decode()
    assert "Waiting" in page
    run = scored(workspace)
    assert run.job and run.job.state == JobState.SUCCEEDED
    assert run.figures and (run.figures["ndcg10"], run.figures["mrr"]) == (0.5, 0.5)
    assert run.num_questions == 2 and run.encoder and run.stored == []
    assert run.content_version == golden.content_version(workspace) > 0
    page = unescape(browser.get(run.get_absolute_url()).content.decode())
    assert page.index("Who founded it?") < page.index(QUESTION), "the worst first"
    assert "not found" in page


def test_settings_can_be_scored_before_they_are_saved(
    browser: Client, workspace: Workspace, question: GoldenQuestion
) -> None:
    post(browser, workspace, "score", values='{"min_relevance": 1.0}')
    tried = scored(workspace)
    assert tried.figures and tried.figures["ndcg10"] == 0
    assert tried.tried and tried.tried["min_relevance"] == 1
    post(browser, workspace, "save", values='{"num_candidates": 20}')
    changed = scored(workspace)
    assert changed.origin == "settings" and changed.stored[0]["values"]["num_candidates"] == 20
    assert changed.figures and changed.figures["ndcg10"] == 1
    page = browser.get(reverse("workbench:golden", args=[workspace.slug])).content.decode()
    assert "+1.000" in page and "num_candidates = 20" in page


def test_it_is_scored_again_when_documents_have_changed(
    workspace: Workspace, question: GoldenQuestion, add_document: AddDocument
) -> None:
    golden.score_changed()
    assert scored(workspace).origin == "content"
    golden.score_changed()
    assert GoldenRun.objects.count() == 1, "nothing has changed since"
    waiting = add_document("more.txt", "The warranty of the pot is one year.", read=False)
    golden.score_changed()
    assert GoldenRun.objects.count() == 1, "it waits until the documents are read"
    assert waiting.job_id is not None
    run_job(waiting.job_id)
    golden.score_changed()
    golden.score_changed()
    assert GoldenRun.objects.count() == 2


def test_a_new_version_of_the_document_keeps_its_expectations(
    workspace: Workspace, question: GoldenQuestion, add_document: AddDocument, shop: DocumentVersion
) -> None:
    changed = add_document(
        "shop.md", "# All\n\nWe are open.\n\nThe kettle has a warranty of three years.\n"
    )
    assert changed.document == shop.document
    golden.start_run(workspace=workspace, origin=GoldenRun.Origin.ASKED)
    run = scored(workspace)
    assert run.figures and run.figures["mrr"] > 0
    delete_document(changed.document)
    with pytest.raises(golden.GoldenRefused, match="empty"):
        golden.start_run(workspace=workspace, origin=GoldenRun.Origin.ASKED)


def test_scores_without_the_embedding_server_are_not_kept(
    workspace: Workspace, question: GoldenQuestion, model_server: ModelServer
) -> None:
    model_server.down()
    golden.start_run(workspace=workspace, origin=GoldenRun.Origin.ASKED)
    run = scored(workspace)
    assert run.figures is None
    assert run.job and run.job.state == JobState.QUEUED and "mislead" in run.job.message


def test_a_run_of_another_workspace_is_not_there(
    browser: Client, other_workspace: Workspace, workspace: Workspace
) -> None:
    theirs = GoldenRun.objects.create(workspace=other_workspace, origin="asked")
    assert (
        browser.get(reverse("workbench:run", args=[workspace.slug, theirs.pk])).status_code == 404
    )
    lost = GoldenQuestion.objects.create(workspace=other_workspace, text="Theirs?")
    url = reverse("workbench:delete", args=[workspace.slug, lost.pk])
    assert browser.post(url).status_code == 404
    assert GoldenQuestion.objects.exists() and not Job.objects.exists()
