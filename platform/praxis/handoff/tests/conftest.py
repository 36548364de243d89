"""The sample assistant's conversations, and agents who answer in them."""

from collections.abc import Callable

import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.models import Conversation
from praxis.conversations.tests.conftest import (  # noqa: F401
    ask,
    browser_of,
    conversation,
    live,
    me,
    quick,
    sample_assistant,
    tell_story,
)

PrincipalOf = Callable[[User], Principal]


@pytest.fixture
def desk(agent: User, principal_of: PrincipalOf) -> Principal:
    """The agent's own principal."""
    return principal_of(agent)


@pytest.fixture
def told(conversation: Conversation) -> Conversation:  # noqa: F811
    """A conversation in which something was said, with no turn."""
    tell_story(conversation, num_turns=2, turn_1="Where is my parcel?")
    return conversation
