"""A reading desk: what the documents say, quoted or in the model's words; the address by rule."""

from collections.abc import Iterator

from praxis.assistants.contract import Assistant, Chain, Event, Proposal, Token, Turn
from praxis.assistants.grounded import extractive_chain, generative_chain
from praxis.assistants.remembering import remembered_chain

INSTRUCTIONS = (
    "You answer questions from the given documents only. Be short. If the documents don't say it, "
    "say that you don't know."
)


def _rule(turn: Turn) -> Proposal | None:
    if "where is the desk" not in turn.text.lower():
        return None
    return Proposal(
        confidence=0.95,
        basis="A rule of the desk.",
        speak=lambda: iter([Token(text="The desk is on the first floor.")]),
    )


def _abstain(turn: Turn) -> Iterator[Event]:
    yield Token(text="The documents say nothing about that.")


ASSISTANT = Assistant(
    slug="desk",
    title="Reading desk",
    tagline="What the documents say.",
    notice="This is an AI assistant, not a librarian.",
    instructions=INSTRUCTIONS,
    suggestions=("Where is the desk?",),
    chains=(
        Chain(name="rules", propose=_rule, deterministic=True),
        remembered_chain(),
        extractive_chain(),
        generative_chain(INSTRUCTIONS),
    ),
    abstain=_abstain,
)
