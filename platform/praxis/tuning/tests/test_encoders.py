"""An encoder of the workspace: trained, indexed beside the old one, and gone over to at once."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.template.defaultfilters import floatformat
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from modeling.retrieval.finetune_recipe import read_pairs
from modeling.retrieval.tests.conftest import WORDS, tiny_encoder
from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.assistants.contract import ModelUnavailable
from praxis.conversations.models import Conversation, Feedback, Message
from praxis.integrations.models import WebhookEndpoint, WebhookEvent
from praxis.jobs.models import Job, JobState
from praxis.jobs.running import claim, run_job
from praxis.jobs.services import request_cancel
from praxis.knowledge import encoders as index
from praxis.knowledge.editing import edit_chunk
from praxis.knowledge.ingestion import embedded_text
from praxis.knowledge.integrity import problems
from praxis.knowledge.models import Chunk, Document, Encoder, EncoderSwitch, TunedVector
from praxis.knowledge.records import put_record
from praxis.knowledge.search import SearchResult, search
from praxis.knowledge.services import delete_document
from praxis.knowledge.tests.conftest import AddDocument, add_document, corpus
from praxis.tuning import encoder_jobs, encoders, pairs
from praxis.tuning.encoder_jobs import index_encoder
from praxis.tuning.tests.conftest import make_trained
from praxis.workbench import golden
from praxis.workbench.models import GoldenRun
from tests.fakes import ModelServer, embed

__all__ = ["add_document", "corpus", "tiny_encoder"]

# The jobs beat their heart from another thread, which sees committed rows only.
pytestmark = pytest.mark.django_db(transaction=True)

_random = random.Random(1)
SHOP = "# Shop\n\n" + "\n\n".join(
    f"## {subject} and its {matter}\n\nThe {subject.lower()} in this shop. "
    + " ".join(_random.choices(WORDS, k=20))
    + "."
    for subject in ("Kettle", "Lamp", "Toaster", "Chair", "Table", "Bicycle")
    for matter in ("warranty", "delivery", "colour", "repair")
)


class Killed(BaseException):
    pass


@pytest.fixture(autouse=True)
def _tiny_base(settings: Any, tiny_encoder: Path) -> None:
    settings.ENCODER_FOLDER = str(tiny_encoder)


@pytest.fixture
def shop(add_document: AddDocument) -> Document:
    document: Document = add_document("shop.md", SHOP).document
    assert Chunk.objects.count() >= 20
    return document


@pytest.fixture
def trained(
    principal: Principal, shop: Document, model_server: ModelServer, settings: Any
) -> Encoder:
    """As its training leaves it, but for the weights, which only the model server needs."""
    return make_trained(principal, model_server, settings, "nearer")


def found(principal: Principal, query: str = "warranty of the lamp") -> SearchResult:
    return search(principal=principal, query=query, limit=5)


def used(principal: Principal) -> str:
    result = found(principal)
    assert result.found and result.found[0].cosine is not None
    assert not result.explanation.words_only
    return result.explanation.encoder


def indexing(encoder: Encoder) -> UUID:
    job_id = Encoder.objects.get(pk=encoder.pk).indexing_id
    assert job_id is not None
    return job_id


def go_over(principal: Principal, encoder: Encoder) -> Encoder:
    encoders.search_with(principal=principal, encoder=encoder)
    run_job(indexing(encoder))
    return Encoder.objects.get(pk=encoder.pk)


def check_vectors(*all_of: Encoder) -> None:
    """Each chunk has exactly the vector of its present text, by each encoder, and nobody else has."""
    for encoder in all_of:
        vectors = dict(
            TunedVector.objects.filter(encoder=encoder).values_list("chunk", "embedding")
        )
        chunks = Chunk.objects.select_related("version__document")
        assert vectors.keys() == {chunk.pk for chunk in chunks}
        for chunk in chunks:
            text = embedded_text(chunk.version.document, chunk.heading, chunk.searched_text)
            expected = embed(text, by=encoder.served_name)
            assert vectors[chunk.pk] == pytest.approx(expected, abs=1e-3), chunk.text
    assert not TunedVector.objects.exclude(encoder__in=all_of).exists()


# Training -----------------------------------------------------------------------------------------


def test_an_encoder_is_trained_on_what_the_workspace_knows_and_judged(
    principal: Principal, admin: User, client_for: Callable[[User], Client], shop: Document
) -> None:
    for subject in ("Kettle", "Lamp", "Toaster", "Chair", "Table", "Bicycle"):
        for matter in ("warranty", "delivery"):
            chunk = Chunk.objects.get(heading__endswith=f"{subject} and its {matter}")
            # Enough to learn from even where the document's own pairs are all held out.
            for text in (f"{matter} {subject}", f"what of the {matter} of the {subject}?"):
                question = golden.add_question(
                    workspace=principal.workspace, text=text, corpus=None, by=None
                )
                golden.expect(question, shop, chunk.text)
    client = client_for(admin)
    slug = principal.workspace.slug
    page = client.post(
        reverse("tuning:encoders", args=[slug]),
        {"name": "nearer", "from_documents": 20, "epochs": 1, "learning_rate": 1e-4},
        follow=True,
    )
    assert page.status_code == 200 and page.context["encoder"].name == "nearer"
    encoder = Encoder.objects.get()
    assert encoder.job_id is not None and run_job(encoder.job_id)
    encoder = Encoder.objects.select_related("job", "workspace").get()
    assert (encoder.job.state, encoder.job.message) == (JobState.SUCCEEDED, "")  # type: ignore[union-attr]
    assert encoder.state == Encoder.State.TRAINED
    learnt, held_out = encoder.pairs["learnt"], encoder.pairs["held_out"]
    assert learnt["golden"] + held_out["golden"] == 24
    assert encoder.result["before"]["all"]["questions"] == sum(held_out.values()) > 0
    assert encoder.result["after"].keys() == encoder.result["before"].keys()
    encoders.verified(encoders.directory_of(encoder))
    assert (encoder.cosine_scale, encoder.cosine_shift) != (1.0, 0.0)
    # Nothing is left of what people asked, and the page shows the figures.
    assert not list(encoders.files_of(encoder).directory.glob("*.jsonl"))
    text = client.get(encoder.get_absolute_url()).content.decode()
    assert floatformat(encoder.result["after"]["all"]["ndcg10"], 3) in text
    assert index.encoder_in_use(principal.workspace.pk) is None


def test_too_few_pairs_are_refused_in_a_sentence(
    principal: Principal, model_server: ModelServer, add_document: AddDocument
) -> None:
    add_document("one.md", "# Lamp\n\nThe lamp costs ten euros.")
    encoder = encoders.launch(principal=principal, name="poor", choices=encoders.Choices())
    assert encoder.job_id is not None
    run_job(encoder.job_id)
    job = Job.objects.get(pk=encoder.job_id)
    assert job.state == JobState.FAILED
    assert "pairs of a question and its passage were found; at least 16" in str(job.reason)
    with pytest.raises(encoders.EncoderRefused, match="exists already"):
        encoders.launch(principal=principal, name="poor", choices=encoders.Choices())


def test_webhooks_hear_of_a_start_once_and_of_giving_up(
    principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(**_choices: object) -> None:
        raise ModelUnavailable("The embedding server does not answer.")

    monkeypatch.setattr(encoder_jobs, "mine", away)
    WebhookEndpoint.objects.create(
        workspace=principal.workspace, url="https://hooks.example.com", secret_encrypted=b""
    )
    encoder = encoders.launch(principal=principal, name="away", choices=encoders.Choices())
    assert encoder.job is not None
    for _attempt in range(encoder.job.max_attempts):
        assert not WebhookEvent.objects.filter(name="tuning.failed").exists()
        Job.objects.filter(pk=encoder.job.pk).update(next_attempt_at=encoder.job.created_at)
        run_job(encoder.job.pk)
    assert Job.objects.get(pk=encoder.job.pk).state == JobState.DEAD
    own = {"name": "away", "encoder": encoder.served_name}
    started, failed = WebhookEvent.objects.filter(subject=str(encoder.pk)).order_by("seq")
    assert (started.name, started.data) == ("tuning.started", own)
    message = "The embedding server does not answer."
    assert (failed.name, failed.data) == ("tuning.failed", {**own, "message": message})


def mined(principal: Principal, folder: Path, from_documents: int = 0) -> list[Any]:
    pairs.mine(
        principal=principal,
        folder=folder,
        from_documents=from_documents,
        check=lambda: None,
        progress=lambda done, total: None,
    )
    return read_pairs(folder / "pairs.jsonl")


def answered(principal: Principal, question: str, chunk: Chunk, **feedback: Any) -> None:
    """A conversation whose answer stands on the chunk, and what a person thought of it."""
    talk = Conversation.objects.create(workspace=principal.workspace, assistant="desk")
    now = timezone.now()
    asked = Message.objects.create(
        conversation=talk, role=Message.Role.USER, text=question, finished_at=now
    )
    [passage] = [
        each for each in found(principal, chunk.text).passages if each.chunk_id == str(chunk.pk)
    ]
    span = {"start": 0, "end": 9, "source_start": 0, "source_end": 9, "quote": "The lamp."}
    events = [
        {"kind": "retrieved", "query": question, "citations": [passage.to_dict()]},
        {"kind": "support", "sentences": [{**span, "citation": passage.number}]},
    ]
    answer = Message.objects.create(
        finished_at=now,
        conversation=talk,
        parent=asked,
        role=Message.Role.ASSISTANT,
        text="The lamp.",
        events=events,
    )
    Feedback.objects.create(message=answer, author=principal.user, **feedback)


def test_thumbs_and_corrections_become_pairs(
    principal: Principal, shop: Document, tmp_path: Path
) -> None:
    right = Chunk.objects.get(heading__endswith="Lamp and its warranty")
    wrong = Chunk.objects.get(heading__endswith="Lamp and its colour")
    answered(principal, "Is it mended for free?", right, thumb="up")
    answered(principal, "What about a defect?", wrong, thumb="down", correction=right.text)
    answered(principal, "Which shade is it?", wrong, thumb="down")
    rejected = {"thumb": "down", "correction": right.text, "review": "rejected"}
    answered(principal, "Who pays for it?", wrong, **rejected)
    by_query = {pair.query: pair for pair in mined(principal, tmp_path)}
    assert by_query.keys() == {"Is it mended for free?", "What about a defect?"}
    assert by_query["Is it mended for free?"].answers == (right.pk,)
    corrected = by_query["What about a defect?"]
    assert right.pk in corrected.answers and wrong.pk not in corrected.answers
    if not corrected.held_out:
        assert wrong.text in corrected.negatives[0]


def test_documents_ask_by_their_headings_and_teach_no_one_what_he_may_not_read(
    principal: Principal, shop: Document, add_document: AddDocument, tmp_path: Path, member: User
) -> None:
    secret = add_document("secret.md", SHOP.replace("shop", "vault")).document
    Chunk.objects.filter(version__document=secret).update(access=[f"user:{member.pk}"])
    made = mined(principal, tmp_path, from_documents=1000)
    assert {pair.origin for pair in made} == {"documents"}
    lamp = next(pair for pair in made if "Lamp and its repair" in pair.query)
    assert (
        lamp.positive.startswith("The lamp in this") and "Lamp and its repair" not in lamp.positive
    )
    # Another chunk of the same document may answer as well, so none of these is called wrong.
    assert not any(pair.negatives for pair in made)
    written = (tmp_path / "pairs.jsonl").read_text() + (tmp_path / "passages.jsonl").read_text()
    assert "vault" not in written


# Going over ---------------------------------------------------------------------------------------


def test_search_goes_over_when_all_vectors_are_there_and_back_at_once(
    principal: Principal,
    admin: User,
    client_for: Callable[[User], Client],
    trained: Encoder,
    add_document: AddDocument,
) -> None:
    client, slug = client_for(admin), principal.workspace.slug
    content_before = [each.content_version for each in principal.workspace.corpora.all()]
    client.post(reverse("tuning:encoder_use", args=[slug, trained.pk]))
    assert used(principal) == "" and not TunedVector.objects.exists()
    run_job(indexing(trained))
    assert used(principal) == trained.served_name
    assert trained.name in client.get(reverse("tuning:encoders", args=[slug])).content.decode()
    check_vectors(trained)
    # Cached answers of before no longer match.
    after = [each.content_version for each in principal.workspace.corpora.all()]
    assert all(new > old for new, old in zip(after, content_before, strict=True))
    # What is written from now on has both vectors, so the way back is open.
    late = add_document("late.md", "# Late\n\nA clock of brass with an alarm costs ninety euros.")
    check_vectors(trained)
    assert found(principal, "brass clock").found[0].document_id == late.document_id
    client.post(reverse("tuning:encoder_return", args=[slug]))
    assert used(principal) == ""
    assert found(principal, "brass clock").found[0].document_id == late.document_id
    client.post(reverse("tuning:encoder_return", args=[slug]))
    assert used(principal) == trained.served_name
    delete_document(late.document)
    check_vectors(trained)
    assert list(problems()) == []


def test_the_golden_set_is_scored_anew_after_the_change(
    principal: Principal, shop: Document, trained: Encoder
) -> None:
    question = golden.add_question(workspace=principal.workspace, text="lamp", corpus=None, by=None)
    golden.expect(question, shop)
    go_over(principal, trained)
    assert GoldenRun.objects.latest("created_at").encoder == trained.served_name


def test_a_kill_at_any_point_loses_nothing(
    principal: Principal,
    trained: Encoder,
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoders.search_with(principal=principal, encoder=trained)
    job_id = indexing(trained)
    monkeypatch.setattr(encoder_jobs, "BATCH", 5)
    embedded: list[str] = []
    real_embed, real_add, real_switch = encoder_jobs.embed, index.add_vectors, index.switch

    def attempt() -> None:
        """As after the sweep took the job from a dead worker."""
        Job.objects.filter(pk=job_id).update(state=JobState.QUEUED, lease_until=None, attempt=0)
        run = claim(job_id)
        assert run is not None
        index_encoder(run)

    def counting(texts: list[str], **options: Any) -> list[list[float]]:
        if len(embedded) >= 10:
            raise Killed
        embedded.extend(texts)
        return real_embed(texts, **options)

    def dying(*_given: Any, **_options: Any) -> None:
        raise Killed

    def switching_then_dying(*given: Any, **options: Any) -> bool:
        assert real_switch(*given, **options)
        raise Killed  # before the commit

    for name, replacement, target in (
        ("embed", counting, encoder_jobs),
        ("add_vectors", dying, index),
        ("switch", dying, index),
        ("switch", switching_then_dying, index),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, replacement)
            with pytest.raises(Killed):
                attempt()
        assert used(principal) == "" and not EncoderSwitch.objects.exists()
        if name == "embed":
            assert TunedVector.objects.count() == 10
            embedded.clear()
    assert real_add is index.add_vectors
    with monkeypatch.context() as patch:
        patch.setattr(index, "forget_unused", dying)
        with pytest.raises(Killed):
            attempt()
    # The switch was committed; whoever comes next only tidies up.
    attempt()
    assert used(principal) == trained.served_name
    assert EncoderSwitch.objects.count() == 1
    check_vectors(trained)


def test_what_changes_meanwhile_is_not_lost(
    principal: Principal,
    trained: Encoder,
    corpus: Any,
    shop: Document,
    add_document: AddDocument,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Documents come, go and are edited between the reading of chunks and the storing of vectors."""
    encoders.search_with(principal=principal, encoder=trained)
    monkeypatch.setattr(encoder_jobs, "BATCH", 8)
    doomed = add_document("doomed.md", "# Doomed\n\nA vase of glass, which breaks easily.").document
    real_embed = encoder_jobs.embed
    acts: Iterator[Callable[[], object]] = iter(
        [
            lambda: edit_chunk(
                Chunk.objects.order_by("pk")[0], "The kettle whistles.", edited_by=None
            ),
            lambda: add_document("new.md", "# New\n\nA sofa of leather, for three persons."),
            lambda: put_record(corpus=corpus, key="7", fields={"name": "Stool", "price": 12}),
            lambda: delete_document(doomed),
        ]
    )

    def embed_and_act(texts: list[str], **options: Any) -> list[list[float]]:
        vectors = real_embed(texts, **options)
        next(acts, lambda: None)()
        return vectors

    monkeypatch.setattr(encoder_jobs, "embed", embed_and_act)
    run_job(indexing(trained))
    assert next(acts, None) is None
    assert used(principal) == trained.served_name
    check_vectors(trained)
    assert list(problems()) == []


def test_a_writer_that_began_before_is_waited_for(
    principal: Principal, trained: Encoder, shop: Document
) -> None:
    """Its chunk would have no vector by the encoder, and nobody would notice."""
    order: list[str] = []
    holding, go_on = threading.Event(), threading.Event()

    def write() -> None:
        try:
            with transaction.atomic():
                index.writing(principal.workspace.pk)
                holding.set()
                go_on.wait(10)
                order.append("written")
        finally:
            connection.close()

    def begin() -> None:
        try:
            index.begin(trained)
            order.append("begun")
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert holding.wait(10)
    beginner = threading.Thread(target=begin)
    beginner.start()
    beginner.join(0.3)
    assert beginner.is_alive()
    go_on.set()
    writer.join()
    beginner.join()
    assert order == ["written", "begun"]


def test_a_cancelled_move_leaves_no_vectors_behind(
    principal: Principal, trained: Encoder, add_document: AddDocument
) -> None:
    encoders.search_with(principal=principal, encoder=trained)
    job = Job.objects.get(pk=indexing(trained))
    with pytest.raises(encoders.EncoderRefused, match="being made already"):
        encoders.search_with(principal=principal, encoder=Encoder.objects.get(pk=trained.pk))
    run = claim(job.pk)
    assert run is not None
    request_cancel(Job.objects.get(pk=job.pk))
    with pytest.raises(Exception, match=str(job.pk)):
        index_encoder(run)
    trained.refresh_from_db()
    assert trained.state == Encoder.State.TRAINED
    assert not TunedVector.objects.exists() and used(principal) == ""


def test_only_the_encoder_in_use_and_the_one_before_are_kept_up(
    principal: Principal, trained: Encoder, model_server: ModelServer, settings: Any
) -> None:
    go_over(principal, trained)
    second = make_trained(principal, model_server, settings, "second")
    third = make_trained(principal, model_server, settings, "third")
    go_over(principal, second)
    check_vectors(trained, second)
    go_over(principal, third)
    check_vectors(second, third)
    trained.refresh_from_db()
    assert trained.state == Encoder.State.TRAINED
    with pytest.raises(encoders.EncoderRefused, match="go over to another one first"):
        encoders.retire(principal=principal, encoder=third)
    second.refresh_from_db()
    encoders.retire(principal=principal, encoder=second)
    check_vectors(third)
    assert not encoders.directory_of(second).exists()
    with pytest.raises(encoders.EncoderRefused, match="is retired"):
        encoders.go_back(principal=principal)
    assert used(principal) == third.served_name


def test_rights_hold_for_both_sets_of_vectors(
    principal: Principal,
    trained: Encoder,
    add_document: AddDocument,
    member: User,
    principal_of: Callable[..., Principal],
    other_workspace: Workspace,
    stranger: User,
) -> None:
    secret = add_document("secret.md", "# Salaries\n\nThe wages of the lamp maker are secret.")
    Document.objects.filter(pk=secret.document_id).update(access=["role:admin"])
    Chunk.objects.filter(version=secret).update(access=["role:admin"])
    go_over(principal, trained)
    query = "wages of the lamp maker"
    assert found(principal, query).found[0].version_id == secret.pk
    others = found(principal_of(member), query)
    assert others.explanation.encoder == trained.served_name
    assert others.explanation.candidates
    assert secret.pk not in {each.version_id for each in others.explanation.candidates}
    elsewhere = Principal(workspace=other_workspace, role=Role.OWNER, user=stranger)
    result = found(elsewhere, query)
    assert not result.found and result.explanation.encoder == ""


def test_changed_files_are_not_searched_with(principal: Principal, trained: Encoder) -> None:
    (encoders.directory_of(trained) / "config.json").write_text("other")
    with pytest.raises(encoders.EncoderRefused, match="not what the trainer wrote"):
        encoders.search_with(principal=principal, encoder=trained)
    assert not Job.objects.filter(kind="tuning.reindex").exists()


def test_a_server_that_is_away_is_waited_for(
    principal: Principal, trained: Encoder, model_server: ModelServer
) -> None:
    encoders.search_with(principal=principal, encoder=trained)
    model_server.down()
    run_job(indexing(trained))
    job = Job.objects.get(pk=indexing(trained))
    assert job.state == JobState.QUEUED and "does not answer" in str(job.reason)
    model_server.up()
    Job.objects.filter(pk=job.pk).update(next_attempt_at=job.created_at)
    run_job(job.pk)
    assert used(principal) == trained.served_name
