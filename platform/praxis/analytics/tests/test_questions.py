"""Unanswered questions become topics, and topics become drafts."""

from collections.abc import Callable

import numpy as np
import pytest
from django.core.exceptions import PermissionDenied

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.analytics.drafts import draft_article, drafts_of, publish
from praxis.analytics.figures import Period
from praxis.analytics.questions import together, unanswered_topics
from praxis.analytics.tests.conftest import Went
from praxis.conversations.models import Feedback
from praxis.conversations.refusals import MessageRefused
from praxis.handoff import services
from praxis.jobs.running import run_job
from praxis.knowledge.models import Corpus
from praxis.knowledge.search import search
from tests.fakes import ModelServer

WEEK = Period.of_days(7)


def test_vectors_that_point_the_same_way_are_together() -> None:
    dice = np.random.default_rng(3)
    axes = np.eye(8)[[0] * 4 + [3] * 3 + [6]]
    groups = together((axes + 0.05 * dice.standard_normal(axes.shape)).astype(np.float32))
    assert sorted(sorted(group) for group in groups) == [[0, 1, 2, 3], [4, 5, 6], [7]]
    assert together(np.zeros((0, 8), dtype=np.float32)) == []
    assert together(np.ones((1, 8), dtype=np.float32)) == [[0]]


def test_questions_about_one_matter_are_one_topic(
    model_server: ModelServer, desk: Principal, me: Principal, went: Went
) -> None:
    for question in (
        "Can I pay by invoice?",
        "Can I pay by invoice please?",
        "Is it possible that I can pay by invoice?",
    ):
        went(question, outcome="abstained")
    thumbed = went("Where is the nearest shop in town?")
    Feedback.objects.create(
        message=thumbed.messages.get(role="assistant"), author=me.user, thumb="down"
    )
    went("What are your opening hours?")
    topics = unanswered_topics(desk, WEEK)
    assert [topic.count for topic in topics] == [3, 1]
    assert "pay by invoice" in topics[0].title
    assert topics[1].title == "Where is the nearest shop in town?"
    assert len(topics[0].message_ids) == 3


def test_a_draft_is_found_by_administrators_alone_until_it_is_published(
    model_server: ModelServer,
    desk: Principal,
    boss: Principal,
    me: Principal,
    went: Went,
    corpus: Corpus,
) -> None:
    asked = went("Can I pay by invoice?", outcome="abstained")
    services.take(principal=desk, conversation=asked)
    services.reply(principal=desk, conversation=asked, text="Yes, from the second order on.")
    [topic] = unanswered_topics(desk, WEEK)
    made = {"corpus": corpus, "title": topic.title, "question_ids": topic.message_ids}
    with pytest.raises(PermissionDenied):
        draft_article(principal=desk, **made)  # type: ignore[arg-type]
    document = draft_article(principal=boss, **made)  # type: ignore[arg-type]
    run_job(document.latest_version.job_id)  # type: ignore[arg-type]

    def finds(principal: Principal) -> bool:
        found = search(principal=principal, assistant="sample", query=topic.title, limit=5)
        return any("second order" in passage.text for passage in found.passages)

    assert finds(boss)
    assert not finds(me)
    assert list(drafts_of(boss)) == [document]
    publish(principal=boss, document=document)
    assert finds(me)
    assert not drafts_of(boss).exists()


def test_two_drafts_of_one_title_are_two_documents(
    model_server: ModelServer, boss: Principal, went: Went, corpus: Corpus
) -> None:
    for asked in ("Can I pay by invoice?", "May I pay by invoice?"):
        question = went(asked, outcome="abstained").messages.get(role="user")
        draft_article(principal=boss, corpus=corpus, title="Invoices", question_ids=[question.pk])
    assert sorted(one.title for one in corpus.documents.all()) == ["Invoices", "Invoices (2)"]
    with pytest.raises(MessageRefused, match="has this draft already"):
        draft_article(principal=boss, corpus=corpus, title="Invoices", question_ids=[question.pk])


def test_another_workspaces_questions_are_not_drafted(
    model_server: ModelServer,
    went: Went,
    stranger: User,
    principal_of: Callable[[User], Principal],
) -> None:
    question = went("Secret matter?", outcome="abstained").messages.get(role="user")
    other = principal_of(stranger)
    theirs = Corpus.objects.create(workspace=other.workspace, name="Theirs")
    with pytest.raises(MessageRefused):
        draft_article(principal=other, corpus=theirs, title="x", question_ids=[question.pk])
