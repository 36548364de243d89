from collections.abc import Iterator
from dataclasses import replace

import pytest

from praxis.assistants.contract import (
    Assistant,
    Chain,
    Confidence,
    Done,
    Event,
    Handoff,
    ModelUnavailable,
    Proposal,
    StateChanged,
    Token,
    Turn,
)
from praxis.assistants.pipeline import arbitrate, difference, run_turn, together
from praxis.assistants.tests.fakes import ScriptedModel, make_turn


def says(text: str, confidence: float) -> Chain:
    proposal = Proposal(
        confidence=confidence, basis="as told", speak=lambda: iter([Token(text=text)])
    )
    return Chain(name="rules", propose=lambda turn: proposal, deterministic=True)


def asks_model(confidence: float) -> Chain:
    def propose(turn: Turn) -> Proposal:
        def speak() -> Iterator[Event]:
            for text in turn.model.stream([], max_tokens=9):
                yield Token(text=text)

        return Proposal(confidence=confidence, basis="its word", speak=speak)

    return Chain(name="model", propose=propose, deterministic=False)


def abstains(turn: Turn) -> Iterator[Event]:
    yield Token(text="I am not sure.")


def assistant_with(*chains: Chain, **more: object) -> Assistant:
    base = Assistant(
        slug="desk",
        title="Desk",
        tagline="",
        notice="AI",
        instructions="Help.",
        suggestions=(),
        chains=chains,
        abstain=abstains,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def run(assistant: Assistant, turn: Turn, lower: float = 0.3, upper: float = 0.8) -> list[Event]:
    return list(run_turn(assistant, turn, lower=lower, upper=upper))


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def done_of(events: list[Event]) -> Done:
    assert isinstance(events[-1], Done)
    return events[-1]


class TestArbiter:
    def test_sure_rules_speak_and_the_model_is_never_asked(self) -> None:
        model = ScriptedModel("model text")
        events = run(
            assistant_with(says("rule", 0.9), asks_model(0.99)), make_turn("q", model=model)
        )
        assert text_of(events) == "rule"
        assert model.prompts == []
        assert done_of(events).receipt["reason"] == "rules_above_upper_threshold"

    def test_unsure_rules_leave_the_word_to_a_surer_model(self) -> None:
        events = run(assistant_with(says("rule", 0.5), asks_model(0.6)), make_turn("q"))
        assert text_of(events) == "Hello there."
        assert done_of(events).receipt["chain"] == "model"

    def test_rules_win_a_tie(self) -> None:
        events = run(assistant_with(says("rule", 0.5), asks_model(0.5)), make_turn("q"))
        assert text_of(events) == "rule"

    def test_nobody_speaks_below_the_lower_threshold(self) -> None:
        events = run(assistant_with(says("rule", 0.2), asks_model(0.29)), make_turn("q"))
        assert text_of(events) == "I am not sure."
        assert done_of(events).outcome == "abstained"

    def test_nothing_to_choose_from_is_an_abstention(self) -> None:
        assert arbitrate([], lower=0.1, upper=0.5).reason == "no_chain_had_an_answer"


def from_documents(kind: str, confidence: float) -> Chain:
    base = asks_model(confidence) if kind == "model" else says("quote", confidence)
    return replace(base, documents=kind)  # type: ignore[arg-type]


class TestWordingOfDocuments:
    """Two chains that stand on the same passages: the workspace says which of them speaks."""

    chains = (from_documents("quote", 0.9), from_documents("model", 0.9))

    def run(self, documents: str, *chains: Chain, **more: object) -> list[Event]:
        turn = make_turn("q", **more)  # type: ignore[arg-type]
        assistant = assistant_with(*(chains or self.chains))
        return list(run_turn(assistant, turn, lower=0.3, upper=0.8, documents=documents))

    def test_the_quote_speaks_where_quotes_are_wanted(self) -> None:
        assert text_of(self.run("quote")) == "quote"

    def test_the_model_speaks_where_its_words_are_wanted(self) -> None:
        assert text_of(self.run("model")) == "Hello there."

    def test_the_quote_steps_in_when_the_model_fails(self) -> None:
        events = self.run("model", model=ScriptedModel("lost", fails_after=0))
        assert text_of(events) == "quote"
        assert done_of(events).receipt["reason"] == "model_unavailable"

    def test_an_assistant_with_one_of_them_uses_that_one(self) -> None:
        assert text_of(self.run("model", from_documents("quote", 0.9))) == "quote"

    def test_a_surer_rule_still_speaks_first(self) -> None:
        assert text_of(self.run("model", says("rule", 0.95), *self.chains)) == "rule"


class TestOrder:
    def test_a_guard_ends_the_turn_before_anything_else(self) -> None:
        def never(turn: Turn) -> Proposal:
            raise AssertionError("a chain was asked after the guard spoke")

        assistant = assistant_with(
            Chain(name="rules", propose=never, deterministic=True),
            guard=lambda turn: iter([Token(text="Call for help now.")]),
            track=lambda turn: pytest.fail("the state was tracked"),
        )
        events = run(assistant, make_turn("I can't breathe"))
        assert text_of(events) == "Call for help now."
        assert done_of(events).receipt["chain"] == "guard"

    def test_the_chains_read_the_tracked_state(self) -> None:
        seen: list[dict[str, object]] = []

        def propose(turn: Turn) -> Proposal:
            seen.append(dict(turn.state))
            return Proposal(confidence=1, basis="", speak=lambda: iter([Token(text="ok")]))

        assistant = assistant_with(
            Chain(name="rules", propose=propose, deterministic=True),
            track=lambda turn: {"name": "Ada"},
        )
        events = run(assistant, make_turn("I am Ada", state={"old": 1}))
        assert seen == [{"name": "Ada"}]
        changed = [event for event in events if isinstance(event, StateChanged)]
        assert changed[0].changes == {"name": "Ada", "old": None}

    def test_confidence_comes_once_and_the_chains_own_one_counts(self) -> None:
        own = Confidence(value=0.4, chain="rules", basis="measured afterwards")
        proposal = Proposal(
            confidence=0.9, basis="before", speak=lambda: iter([Token(text="x"), own])
        )
        chain = Chain(name="rules", propose=lambda turn: proposal, deterministic=True)
        events = run(assistant_with(chain), make_turn("q"))
        assert [event for event in events if isinstance(event, Confidence)] == [own]

    def test_a_handoff_is_the_outcome(self) -> None:
        proposal = Proposal(
            confidence=0.9,
            basis="",
            speak=lambda: iter([Token(text="One moment."), Handoff(reason="asked")]),
        )
        chain = Chain(name="rules", propose=lambda turn: proposal, deterministic=True)
        assert done_of(run(assistant_with(chain), make_turn("a person"))).outcome == "handed_over"


class TestModelServerDown:
    def test_rules_step_in_when_the_model_fails_before_a_word(self) -> None:
        model = ScriptedModel(fails_after=0)
        assistant = assistant_with(says("rule", 0.5), asks_model(0.7))
        events = run(assistant, make_turn("q", model=model))
        assert text_of(events) == "rule"
        assert done_of(events).receipt["reason"] == "model_unavailable"
        assert "model" in done_of(events).receipt["skipped"]

    def test_an_answer_that_breaks_off_is_failed_with_the_sentence(self) -> None:
        model = ScriptedModel("Hel", "lo", fails_after=1)
        events = run(
            assistant_with(says("rule", 0.5), asks_model(0.7)), make_turn("q", model=model)
        )
        assert text_of(events) == "Hel"
        assert done_of(events).outcome == "failed"
        assert done_of(events).error == "The model server stopped in the middle."

    def test_a_chain_that_needs_it_to_propose_is_skipped(self) -> None:
        def propose(turn: Turn) -> Proposal:
            raise ModelUnavailable("down")

        needy = Chain(name="needy", propose=propose, deterministic=False)
        assert text_of(run(assistant_with(says("rule", 0.5), needy), make_turn("q"))) == "rule"
        assert done_of(run(assistant_with(needy), make_turn("q"))).outcome == "failed"


def test_closing_the_turn_closes_the_models_stream() -> None:
    model = ScriptedModel("one", "two", "three")
    events = run_turn(
        assistant_with(asks_model(0.9)), make_turn("q", model=model), lower=0, upper=1
    )
    while not isinstance(next(events), Token):
        pass
    events.close()  # type: ignore[attr-defined]
    assert model.closed


def test_difference_names_new_changed_and_removed_keys() -> None:
    assert difference({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}) == {
        "b": 5,
        "d": 4,
        "c": None,
    }


def test_difference_of_nested_objects_is_a_merge_patch() -> None:
    before = {"slots": {"a": {"value": 1, "turn": 1}, "b": {"value": 2}}, "list": [1, 2]}
    after = {"slots": {"a": {"value": 3, "turn": 1}, "c": {"value": 4}}, "list": [2]}
    patch = difference(before, after)
    assert patch == {"slots": {"a": {"value": 3}, "b": None, "c": {"value": 4}}, "list": [2]}
    back = difference(after, before)
    assert together(patch, back) == {
        "slots": {"a": {"value": 1}, "b": {"value": 2}, "c": None},
        "list": [1, 2],
    }
