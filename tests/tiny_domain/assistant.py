"""A weather desk: it knows one rule and leaves the rest to the model."""

from collections.abc import Iterator

from praxis.assistants.contract import Assistant, Chain, Event, Proposal, State, Token, Turn

INSTRUCTIONS = "You are the weather desk of a small harbour. Answer in one short sentence."


def _track(turn: Turn) -> State:
    return {**turn.state, "asked": turn.number}


def _rule(turn: Turn) -> Proposal | None:
    if "tide" not in turn.text.lower():
        return None
    return Proposal(
        confidence=0.95,
        basis="A rule of the harbour.",
        speak=lambda: iter([Token(text="High tide is at noon.")]),
    )


def _model(turn: Turn) -> Proposal:
    def speak() -> Iterator[Event]:
        messages = [{"role": "system", "content": INSTRUCTIONS}]
        messages += turn.memory.recent(400)
        messages.append({"role": "user", "content": turn.text})
        for text in turn.model.stream(messages, max_tokens=64):
            yield Token(text=text)

    return Proposal(confidence=0.5, basis="The model's word.", speak=speak)


def _abstain(turn: Turn) -> Iterator[Event]:
    yield Token(text="The harbour does not know.")


ASSISTANT = Assistant(
    slug="tiny",
    title="Harbour weather",
    tagline="Wind and tide.",
    notice="This is an AI assistant, not a pilot.",
    instructions=INSTRUCTIONS,
    suggestions=("When is high tide?",),
    chains=(
        Chain(name="rules", propose=_rule, deterministic=True),
        Chain(name="model", propose=_model, deterministic=False),
    ),
    abstain=_abstain,
    track=_track,
)
