import pytest

from praxis.assistants.contract import Remembered, Token, Turn
from praxis.assistants.remembering import asks_about_conversation, remembered_chain
from praxis.assistants.tests.fakes import FixedMemory, make_turn


def said(turn: int, text: str, closeness: float, role: str = "user") -> Remembered:
    return Remembered(turn=turn, role=role, text=text, closeness=closeness)


def late_turn(text: str, *archive: Remembered) -> Turn:
    return make_turn(text, number=300, memory=FixedMemory(archive=archive))


@pytest.mark.parametrize(
    "text",
    [
        "What is my order number?",
        "Do you remember where I live?",
        "Which city did I say I was born in?",
        "and when is my appointment",
        "Remind me what the dog is called",
        "How old is my daughter?",
        "我的订单号是多少？",
        "还记得我住在哪里吗？",
    ],
)
def test_questions_about_the_conversation_are_known(text: str) -> None:
    assert asks_about_conversation(text)


@pytest.mark.parametrize(
    "text",
    [
        "Where should I send my parcel?",
        "How can I return my item?",
        "What is the refund period?",
        "I want to return my order",
        "When can I pick up my order?",
    ],
)
def test_other_questions_are_left_to_the_other_chains(text: str) -> None:
    assert not asks_about_conversation(text)


def test_it_quotes_the_person_with_the_number_of_the_message() -> None:
    turn = late_turn(
        "What is my order number?",
        said(120, "What is my order number?", 0.95),
        said(8, "Your order number is on the invoice.", 0.9, role="assistant"),
        said(3, "Hello again. My order number is PX-4471.", 0.7),
    )
    proposal = remembered_chain().propose(turn)
    assert proposal is not None
    [token] = proposal.speak()
    assert isinstance(token, Token)
    assert "message 3" in token.text
    assert "> Hello again. My order number is PX-4471." in token.text
    assert proposal.confidence > 0.75


def test_a_sentence_about_somebody_else_is_no_answer() -> None:
    turn = late_turn(
        "Where do I live?",
        said(3, "We moved to Porto two years ago.", 0.45),
        said(9, "My brother lives in Graz and likes it there.", 0.5),
    )
    proposal = remembered_chain().propose(turn)
    assert proposal is not None
    [token] = proposal.speak()
    assert isinstance(token, Token)
    assert "Porto" in token.text


def test_the_later_of_two_equal_statements_holds() -> None:
    turn = late_turn(
        "What is my order number?",
        said(3, "My order number is PX-1.", 0.7),
        said(90, "My order number is PX-2.", 0.7),
    )
    proposal = remembered_chain().propose(turn)
    assert proposal is not None
    [token] = proposal.speak()
    assert isinstance(token, Token)
    assert "PX-2" in token.text


def test_nothing_near_is_little_confidence() -> None:
    proposal = remembered_chain().propose(
        late_turn("What is my order number?", said(3, "The weather is fine today.", 0.15))
    )
    assert proposal is not None
    assert proposal.confidence < 0.2


def test_a_first_turn_remembers_nothing() -> None:
    turn = make_turn("What is my order number?", number=1)
    assert remembered_chain().propose(turn) is None
