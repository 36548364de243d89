"""A reply that the assistant would give, for the agent to change and send, or not.

Only the document chains are asked, with the assistant's instructions and adapter: their answer
follows from the question, the documents and the model, so nothing happens in the outside world, no
state changes and nothing is stored or sent. The domain's own rules are not: a rule may act.
"""

from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from praxis.accounts.access import Principal
from praxis.accounts.models import Role
from praxis.assistants.contract import Confidence, Event, Passage, Retrieved, Token, Turn
from praxis.assistants.grounded import extractive_chain, generative_chain
from praxis.assistants.language_model import ServedModel
from praxis.assistants.pipeline import run_turn
from praxis.assistants.registry import get_assistant
from praxis.assistants.services import settings_for
from praxis.conversations.access import principal_of_person
from praxis.conversations.memory import ConversationMemory, earlier_questions
from praxis.conversations.models import Conversation, Message
from praxis.conversations.refusals import NotNow
from praxis.conversations.services import shown_messages
from praxis.knowledge.search import search


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    text: str
    citations: list[dict[str, Any]]
    confidence: float


def suggest(*, principal: Principal, conversation: Conversation) -> Suggestion | None:
    """What the documents answer to the person's last message; None when they don't.

    It stands on what the person may read, not the agent, because it is written to be sent to them.
    Raises `NotNow`, `ModelUnavailable`.
    """
    principal.require(Role.AGENT)
    question = next(
        (one for one in reversed(shown_messages(conversation)) if one.role == Message.Role.USER),
        None,
    )
    person = principal_of_person(conversation)
    if question is None or person is None:
        raise NotNow(_("There is no message here that a reply could be suggested to."))
    assistant = get_assistant(conversation.assistant)
    chosen = settings_for(conversation.workspace, assistant.slug)
    adapter = chosen.adapter.name if chosen.adapter else ""
    model = ServedModel(adapter, cache_salt=str(conversation.workspace_id))

    def retrieve(query: str, limit: int) -> list[Passage]:
        return search(
            principal=person,
            assistant=assistant.slug,
            query=query,
            limit=limit,
            earlier=earlier_questions(question.parent_id),
        ).passages

    turn = Turn(
        text=question.text,
        number=question.turn,
        state=dict(conversation.state),
        memory=ConversationMemory(
            leaf_id=question.parent_id, state=conversation.state, model=model
        ),
        model=model,
        retrieve=retrieve,
        workspace_id=str(conversation.workspace_id),
        conversation_id=str(conversation.pk),
        language=get_language() or "en",
    )
    silent = replace(
        assistant,
        guard=None,
        track=None,
        chains=(extractive_chain(), generative_chain(assistant.instructions)),
        abstain=lambda turn: iter(()),
    )
    events = list(
        run_turn(
            silent,
            turn,
            lower=chosen.lower_threshold,
            upper=chosen.upper_threshold,
            documents=chosen.documents,
            documents_lower=chosen.documents_threshold,
        )
    )
    return _suggestion(events)


def _suggestion(events: list[Event]) -> Suggestion | None:
    text = "".join(event.text for event in events if isinstance(event, Token)).strip()
    if not text:
        return None
    found = [
        passage for event in events if isinstance(event, Retrieved) for passage in event.citations
    ]
    sure = next((event.value for event in events if isinstance(event, Confidence)), 0.0)
    return Suggestion(
        text=text,
        citations=[one.to_dict() for one in found if f"[{one.number}]" in text],
        confidence=sure,
    )
