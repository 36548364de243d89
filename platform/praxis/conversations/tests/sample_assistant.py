"""A small assistant for the tests: keeps a colour, says what the model says, hands over if asked."""

import time
from collections.abc import Iterator, Sequence

from praxis.assistants.contract import (
    ActionProposed,
    Assistant,
    Card,
    Chain,
    Confidence,
    Event,
    Handoff,
    PanelField,
    Passage,
    Proposal,
    Retrieved,
    SentenceSupport,
    State,
    Support,
    Token,
    Turn,
)

COLOURS = ("red", "green", "blue")
CITED = "Parcels leave within two days. "
UNSUPPORTED = "They are always on time."


def track(turn: Turn) -> State:
    found = next((colour for colour in COLOURS if colour in turn.text), None)
    return {**turn.state, "colour": found} if found else turn.state


def correct(state: State, key: str, value: str) -> State:
    if value not in COLOURS:
        raise ValueError(f"The colour must be one of {', '.join(COLOURS)}, got “{value}”.")
    return {**state, key: value}


def panel(state: State) -> Sequence[PanelField]:
    return [
        PanelField(
            key="colour", label="Colour", value=state.get("colour", ""), editable=True, turn=1
        )
    ]


def passage(number: int = 1) -> Passage:
    return Passage(
        number=number,
        document_id="d",
        version_id="v",
        chunk_id="c",
        title="Shipping policy",
        text="Parcels leave within two days.",
        start=0,
        end=30,
        page=2,
        score=0.9,
        url="/w/north-clinic/knowledge/documents/1/?highlight=0-30",
    )


def _say(turn: Turn) -> Iterator[Event]:
    if "cite" in turn.text:
        yield Retrieved(query=turn.text, citations=(passage(),))
        text = f"{CITED}[1] {UNSUPPORTED}"
        yield Token(text=text)
        start = text.index(UNSUPPORTED)
        yield Support(
            sentences=(
                SentenceSupport(
                    start=0,
                    end=len(CITED),
                    citation=1,
                    source_start=0,
                    source_end=30,
                    quote="Parcels leave within two days.",
                    share=1.0,
                ),
                SentenceSupport(start=start, end=len(text), citation=None),
            )
        )
        yield Confidence(value=0.82, chain="model", basis="Two passages agree.", low=0.7, high=0.9)
        yield Card(type="summary", title="In short", data={"days": 2})
        yield ActionProposed(name="send", summary="Send a reminder", arguments={})
    elif "hand over" in turn.text:
        yield Token(text="A colleague will answer.")
        yield Handoff(reason="The person asked for one.")
    elif "crash" in turn.text:
        raise RuntimeError("a bug in the domain")
    elif "words" in turn.text:
        for number in range(40):
            yield Token(text=f"word{number} ")
            time.sleep(0.02)
    else:
        for piece in turn.model.stream([{"role": "user", "content": turn.text}], max_tokens=200):
            yield Token(text=piece)


def _propose(turn: Turn) -> Proposal:
    return Proposal(confidence=0.9, basis="It is a test.", speak=lambda: _say(turn))


def _abstain(turn: Turn) -> Iterator[Event]:
    yield Token(text="I don't know.")


SAMPLE = Assistant(
    slug="sample",
    title="Sample assistant",
    tagline="Keeps a colour.",
    notice="AI assistant for tests, not an expert.",
    instructions="Be brief.",
    suggestions=("I like red",),
    chains=(Chain(name="model", propose=_propose, deterministic=False),),
    abstain=_abstain,
    track=track,
    panel=panel,
    correct=correct,
)
