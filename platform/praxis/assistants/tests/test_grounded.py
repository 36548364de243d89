from collections.abc import Iterator

from praxis.assistants.contract import (
    Assistant,
    Confidence,
    Done,
    Event,
    NotInDocuments,
    Support,
    Token,
    Turn,
)
from praxis.assistants.grounded import (
    coverage,
    extractive_chain,
    find_evidence,
    generative_chain,
)
from praxis.assistants.pipeline import run_turn
from praxis.assistants.sentences import split_sentences
from praxis.assistants.support import check_support
from praxis.assistants.tests.fakes import ScriptedModel, make_passage, make_turn

RETURNS = (
    "Shipping is free from 40 euros. Parcels leave on the next working day. "
    "You may return an unused item within 30 days. The refund is paid to the card that you used. "
    "It takes up to five working days. Gift cards can't be returned."
)


def test_sentences_keep_their_place() -> None:
    text = "First one. Second?  Third!\n第四句。第五句。"
    for sentence in split_sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text
    assert len(split_sentences(text)) == 5


def test_the_quote_is_verbatim_and_begins_at_what_was_asked() -> None:
    turn = make_turn(
        "Within how many days may I return an item?", passages=[make_passage(1, RETURNS)]
    )
    evidence = find_evidence(turn)
    assert evidence is not None
    assert evidence.quote in RETURNS
    assert evidence.quote.startswith("You may return an unused item within 30 days.")


def test_an_unrelated_question_has_little_confidence() -> None:
    passages = [make_passage(1, RETURNS, score=0.1)]
    unrelated = find_evidence(
        make_turn("Who painted the ceiling of the chapel?", passages=passages)
    )
    passages = [make_passage(1, RETURNS, score=0.8)]
    related = find_evidence(make_turn("Can I return an unused item?", passages=passages))
    assert unrelated is not None
    assert related is not None
    assert unrelated.confidence < 0.1 < 0.6 < related.confidence


def test_no_passage_is_no_proposal() -> None:
    assert extractive_chain().propose(make_turn("anything")) is None


def test_retrieval_happens_once_for_both_chains() -> None:
    calls: list[str] = []
    turn = make_turn("return an item")
    turn.retrieve = lambda query, limit: calls.append(query) or [make_passage(1, RETURNS)]  # type: ignore[func-returns-value]
    extractive_chain().propose(turn)
    generative_chain("Be brief.").propose(turn)
    assert calls == ["return an item"]


def test_the_model_gets_the_passages_in_a_labelled_channel_and_its_answer_is_checked() -> None:
    model = ScriptedModel("You may return an unused item within 30 days. ", "Cats can fly to Mars.")
    turn = make_turn("May I return an item?", model=model, passages=[make_passage(1, RETURNS)])
    proposal = generative_chain("Be brief.").propose(turn)
    assert proposal is not None
    events = list(proposal.speak())
    prompt = model.prompts[0][1]["content"]
    assert prompt.index("<documents>") < prompt.index("30 days") < prompt.index("</documents>")
    (support,) = [event for event in events if isinstance(event, Support)]
    assert [item.citation for item in support.sentences] == [1, None]
    (confidence,) = [event for event in events if isinstance(event, Confidence)]
    assert confidence.value == round(proposal.confidence / 2, 4)
    assert isinstance(events[0], Token)


def test_a_sentence_with_another_number_is_not_supported() -> None:
    support = check_support(
        "You may return an unused item within 60 days.", [make_passage(1, RETURNS)]
    )
    assert [item.citation for item in support.sentences] == [None]


def test_coverage_knows_word_forms_and_chinese() -> None:
    assert coverage("returning items", "you may return an item") == 1
    assert coverage("退货政策", "我们的退货政策是三十天") == 1
    assert coverage("the of and", "anything") == 0


def _abstain(turn: Turn) -> Iterator[Event]:
    yield Token(text="I don't know.")


def _assistant() -> Assistant:
    return Assistant(
        slug="desk",
        title="Desk",
        tagline="",
        notice="",
        instructions="Be brief.",
        suggestions=(),
        chains=(extractive_chain(), generative_chain("Be brief.")),
        abstain=_abstain,
    )


def test_a_question_that_the_documents_do_not_answer_is_told_as_such() -> None:
    turn = make_turn("Who painted the chapel?", passages=[make_passage(1, RETURNS, score=0.05)])
    events = list(run_turn(_assistant(), turn, lower=0.35, upper=0.75))
    (missing,) = [event for event in events if isinstance(event, NotInDocuments)]
    assert missing.num_read == 1
    assert missing.confidence < missing.threshold == 0.35
    assert isinstance(events[-1], Done)
    assert events[-1].outcome == "abstained"


def test_a_question_that_was_answered_is_not() -> None:
    turn = make_turn("Can I return an unused item?", passages=[make_passage(1, RETURNS)])
    events = list(run_turn(_assistant(), turn, lower=0.35, upper=0.75))
    assert not [event for event in events if isinstance(event, NotInDocuments)]
