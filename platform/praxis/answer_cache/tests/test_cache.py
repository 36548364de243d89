"""An answer is given again to the same question under the same conditions, and never otherwise."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from praxis.answer_cache import services
from praxis.answer_cache.models import CachedAnswer, CacheDay
from praxis.answer_cache.tests.conftest import DESK, QUESTION, RETURNS, Ask
from praxis.assistants import registry
from praxis.assistants.services import settings_for
from praxis.conversations.models import Message
from praxis.conversations.services import give_feedback, post_message, regenerate
from praxis.conversations.tests.conftest import Capture, finish
from praxis.knowledge.models import Corpus
from praxis.knowledge.services import delete_corpus, delete_document
from praxis.knowledge.tests.conftest import AddDocument
from tests.fakes import ModelServer

ANSWER = "The refund is paid within five days."


def is_replay(answer: Message) -> bool:
    return "cached" in answer.receipt


@pytest.fixture
def asked(returns: Corpus, quick: ModelServer, ask: Ask) -> Message:
    """The first answer, which the model wrote."""
    quick.enqueue(ANSWER)
    answer = ask(QUESTION)
    assert answer.text == ANSWER
    assert not is_replay(answer)
    return answer


def test_the_replay_has_the_same_events_and_says_so(
    asked: Message, quick: ModelServer, ask: Ask
) -> None:
    before = len(quick.chats())
    again = ask(QUESTION.lower())
    assert len(quick.chats()) == before, "the model was asked again"
    assert again.events[:-1] == [
        {**event, "query": QUESTION.lower()} if event["kind"] == "retrieved" else event
        for event in asked.events[:-1]
    ]
    assert again.citations == asked.citations != []
    assert again.receipt["cached"]["message"] == str(asked.pk)
    assert again.receipt["cached"]["tier"] == "exact"
    assert again.receipt["passages"] == asked.receipt["passages"]
    assert again.receipt["answer_sha256"] == asked.receipt["answer_sha256"]
    assert again.receipt["chain"] == "model"


def test_a_similar_question_hits_and_another_number_does_not(
    returns: Corpus, quick: ModelServer, ask: Ask
) -> None:
    ask("Can I return unused items within 30 days of delivery?")
    alike = ask("Hello, can I return the unused items within 30 days of delivery")
    assert alike.receipt["cached"]["tier"] == "similar"
    assert not is_replay(ask("Can I return unused items within 31 days of delivery?"))
    assert not is_replay(ask("Can't I return unused items within 30 days of delivery?"))


def test_far_vectors_overrule_alike_words(
    returns: Corpus, quick: ModelServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("Can I return unused items within 30 days?")
    monkeypatch.setattr(services, "NEAR", 1.01)
    assert not is_replay(ask("Hello, can I return unused items within 30 days?"))


def test_every_condition_that_decides_an_answer_is_part_of_the_key(
    asked: Message, ask: Ask, me: Principal, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    def changed(**values: Any) -> Any:
        chosen = settings_for(me.workspace, "desk")
        for name, value in values.items():
            setattr(chosen, name, value)
        chosen.save()
        return chosen

    assert is_replay(ask(QUESTION))
    with translation.override("zh-hans"):
        assert not is_replay(ask(QUESTION))
    version, settings.VERSION = settings.VERSION, "9.9"
    assert not is_replay(ask(QUESTION))
    settings.VERSION = version
    changed(upper_threshold=0.8)
    assert not is_replay(ask(QUESTION))
    changed(upper_threshold=DESK.upper_threshold)
    assert is_replay(ask(QUESTION))
    other = replace(DESK, instructions="Answer in rhymes.")
    monkeypatch.setitem(registry._assistants, "desk", other)
    assert not is_replay(ask(QUESTION))


def test_another_workspace_never_sees_it(
    asked: Message,
    ask: Ask,
    other_workspace: Workspace,
    stranger: User,
    principal_of: Callable[..., Principal],
    add_document: AddDocument,
) -> None:
    theirs = Corpus.objects.create(workspace=other_workspace, name="Policies")
    add_document("returns.md", RETURNS, corpus=theirs)
    assert not is_replay(ask(QUESTION, by=principal_of(stranger)))


def test_a_colleague_with_the_same_rights_gets_it(
    asked: Message,
    ask: Ask,
    workspace: Workspace,
    make_member: Callable[..., User],
    principal_of: Callable[..., Principal],
) -> None:
    colleague = make_member("colleague", workspace, Role.MEMBER)
    assert is_replay(ask(QUESTION, by=principal_of(colleague)))


def test_documents_that_an_assistant_may_not_search_make_another_scope(
    asked: Message, ask: Ask, returns: Corpus
) -> None:
    Corpus.objects.filter(pk=returns.pk).update(assistants=["other"])
    assert not is_replay(ask(QUESTION))


def test_a_new_document_a_new_version_and_a_deletion_end_it(
    asked: Message, ask: Ask, quick: ModelServer, add_document: AddDocument, returns: Corpus
) -> None:
    add_document("shipping.md", "# Shipping\n\nParcels leave on Monday.")
    assert not CachedAnswer.objects.exists()
    assert not is_replay(ask(QUESTION))
    add_document("returns.md", RETURNS.replace("five", "nine"))
    assert not CachedAnswer.objects.exists()
    ask(QUESTION)
    assert CachedAnswer.objects.count() == 1
    delete_document(returns.documents.get(title="shipping"))
    assert not CachedAnswer.objects.exists()
    ask(QUESTION)
    delete_corpus(returns)
    assert not CachedAnswer.objects.exists()


def test_an_answer_made_while_the_documents_changed_is_not_kept(
    returns: Corpus, quick: ModelServer, ask: Ask
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kept = services.TurnCache.settle

        def settle(cache: services.TurnCache, answer: Message) -> None:
            Corpus.objects.filter(pk=returns.pk).update(content_version=77)
            kept(cache, answer)

        patch.setattr(services.TurnCache, "settle", settle)
        ask(QUESTION)
    assert not CachedAnswer.objects.exists()


def test_access_lists_part_the_readers(
    asked: Message, ask: Ask, returns: Corpus, admin: User, principal_of: Callable[..., Principal]
) -> None:
    by_admin = principal_of(admin)
    assert is_replay(ask(QUESTION, by=by_admin))
    returns.documents.update(access=["role:admin"])
    assert not is_replay(ask(QUESTION, by=by_admin))
    assert not is_replay(ask(QUESTION))
    assert is_replay(ask(QUESTION))
    returns.documents.update(access=[f"user:{admin.pk}"])
    assert not is_replay(ask(QUESTION))
    assert not is_replay(ask(QUESTION, by=by_admin))


def test_a_thumb_down_or_a_correction_on_a_replay_removes_it(
    asked: Message, ask: Ask, me: Principal
) -> None:
    replay = ask(QUESTION)
    give_feedback(principal=me, message=replay, thumb="up")
    assert is_replay(ask(QUESTION))
    give_feedback(principal=me, message=replay, thumb="down")
    assert not CachedAnswer.objects.exists()
    anew = ask(QUESTION)
    assert not is_replay(anew)
    give_feedback(principal=me, message=anew, thumb="up", correction="Within seven days.")
    assert not CachedAnswer.objects.exists()


def test_a_later_question_is_never_answered_from_it(
    asked: Message, me: Principal, django_capture_on_commit_callbacks: Capture
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        later = post_message(principal=me, conversation=asked.conversation, text=QUESTION)
    assert not is_replay(finish(later))
    assert CachedAnswer.objects.count() == 1


def test_who_asks_for_another_answer_gets_one(
    asked: Message, ask: Ask, me: Principal, django_capture_on_commit_callbacks: Capture
) -> None:
    replay = ask(QUESTION)
    with django_capture_on_commit_callbacks(execute=True):
        anew = regenerate(principal=me, message=replay)
    assert not is_replay(finish(anew))


def test_a_rule_speaks_first_and_is_not_kept(returns: Corpus, ask: Ask) -> None:
    answer = ask("Where is the desk?")
    assert answer.receipt["chain"] == "rules"
    assert not is_replay(ask("Where is the desk?"))
    assert not CachedAnswer.objects.exists()


def test_an_old_entry_is_not_used(asked: Message, ask: Ask) -> None:
    CachedAnswer.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not is_replay(ask(QUESTION))
    assert CachedAnswer.objects.get().expires_at > timezone.now()


def test_beyond_the_limit_the_least_used_goes(
    asked: Message, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST_ENTRIES", 2)
    ask("Can unused items be returned within 30 days of delivery?")
    ask(QUESTION)
    ask("When is the refund paid after the return has arrived?")
    kept = set(CachedAnswer.objects.values_list("question", flat=True))
    assert kept == {QUESTION, "When is the refund paid after the return has arrived?"}


def test_deleting_the_conversation_deletes_the_entry(asked: Message) -> None:
    asked.conversation.delete()
    assert not CachedAnswer.objects.exists()


def test_high_stakes_are_off_until_a_workspace_switches_them_on(
    returns: Corpus, ask: Ask, me: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stakes = replace(DESK, high_stakes=True)
    monkeypatch.setitem(registry._assistants, "desk", stakes)
    ask(QUESTION)
    assert not is_replay(ask(QUESTION))
    chosen = settings_for(me.workspace, "desk")
    assert chosen.cache_answers is False
    chosen.cache_answers = True
    chosen.save()
    ask(QUESTION)
    assert is_replay(ask(QUESTION))


def test_hits_misses_and_saved_time_are_counted(asked: Message, ask: Ask) -> None:
    CachedAnswer.objects.update(took_ms=10_000)
    ask(QUESTION)
    ask("Hello, how long does a refund take after the return has arrived?")
    [figures] = services.figures(asked.conversation.workspace, ["desk"])
    assert (figures.exact, figures.similar, figures.missed, figures.entries) == (1, 1, 1, 1)
    assert figures.hit_rate == pytest.approx(2 / 3)
    assert 10 < figures.saved_seconds <= 20
    assert CacheDay.objects.count() == 1
