"""Deleting a conversation while its last answer is stored: one waits for the other."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.models import Conversation, Message
from praxis.conversations.services import delete, start_conversation
from praxis.conversations.tests.sample_assistant import SAMPLE


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_an_answer_that_is_being_stored(
    member: User, principal_of: Callable[..., Principal]
) -> None:
    """The answer's transaction locks the conversation and then writes a message, as turns do."""
    principal = principal_of(member)
    conversation = start_conversation(principal=principal, assistant=SAMPLE.slug)
    message = Message.objects.create(
        conversation=conversation, role=Message.Role.USER, text="Hello", finished_at=timezone.now()
    )
    clicked_twice = Conversation.objects.get(pk=conversation.pk)
    problems: list[OperationalError] = []

    def remove() -> None:
        try:
            delete(principal=principal, conversation=conversation)
        except OperationalError as error:  # a deadlock ends one of the two
            problems.append(error)
        finally:
            connection.close()

    deleting = threading.Thread(target=remove)
    with transaction.atomic():
        Conversation.objects.locked(conversation.pk)
        deleting.start()
        deadline = time.monotonic() + 10
        while not _somebody_waits_for_a_lock():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert Message.objects.filter(pk=message.pk).update(text="Stored") == 1
    deleting.join(10)
    assert not deleting.is_alive() and not problems
    assert not Conversation.objects.filter(pk=clicked_twice.pk).exists()
    # A second click finds nothing left to do.
    delete(principal=principal, conversation=clicked_twice)
