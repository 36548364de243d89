"""A reading desk over real documents, whose turns run at once."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import User, Workspace
from praxis.assistants import registry
from praxis.conversations.models import Message
from praxis.conversations.services import post_message, start_conversation
from praxis.conversations.tests.conftest import Capture, finish
from praxis.conversations.tests.conftest import quick as quick
from praxis.knowledge.models import Corpus
from praxis.knowledge.tests.conftest import AddDocument
from praxis.knowledge.tests.conftest import _files_of_this_test as _files_of_this_test
from praxis.knowledge.tests.conftest import add_document as add_document
from praxis.knowledge.tests.conftest import corpus as corpus
from tests.document_desk.assistant import ASSISTANT
from tests.fakes import ModelServer

RETURNS = (
    "# Returns\n\nUnused items can be returned within 30 days of delivery. "
    "The refund is paid within five days after the return has arrived."
)
QUESTION = "How long does a refund take after the return has arrived?"
DESK = replace(
    ASSISTANT,
    lower_threshold=0.0,
    documents_threshold=0.0,
    chains=tuple(chain for chain in ASSISTANT.chains if chain.documents != "quote"),
)
"""It answers in the model's words. The fake embeddings are less near each other than those of the
real encoder."""

Ask = Callable[..., Message]


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._assistants, DESK.slug, DESK)
    monkeypatch.setitem(registry._app_labels, DESK.slug, "conversations")


@pytest.fixture
def returns(add_document: AddDocument, quick: ModelServer) -> Corpus:
    """The corpus with its one document."""
    return add_document("returns.md", RETURNS).document.corpus


@pytest.fixture
def me(member: User, principal_of: Callable[..., Principal], workspace: Workspace) -> Principal:
    return principal_of(member)


@pytest.fixture
def ask(me: Principal, django_capture_on_commit_callbacks: Capture) -> Ask:
    """`ask("text")`: the finished answer in a new conversation; `by=` another principal."""

    def finished(text: str, *, by: Principal = me, assistant: str = "desk") -> Message:
        with django_capture_on_commit_callbacks(execute=True):
            conversation = start_conversation(principal=by, assistant=assistant)
            answer = post_message(principal=by, conversation=conversation, text=text)
        return finish(answer)

    return finished
