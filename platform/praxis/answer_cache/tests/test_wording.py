"""Which questions say the same; above all, which don't."""

import pytest

from praxis.answer_cache.wording import meaning, normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How long does the refund take?", "how long the refunds take"),
        ("How can I cancel my order?", "How do I cancel my order?"),
        ("Can you tell me how to cancel my order?", "How to cancel my order"),
        ("I'd like a refund", "I would like a refund"),
        ("What's the fee?", "What is the fee"),
        ("Why is my card not working?", "My card is not working, why?"),
    ],
)  # fmt: skip
def test_the_same_question_in_other_words(one: str, other: str) -> None:
    assert meaning(one) == meaning(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Can I return it within 14 days?", "Can I return it within 30 days?"),
        ("Can I return it after 1.5 years?", "Can I return it after 15 years?"),
        ("Is smoking allowed?", "Is smoking not allowed?"),
        ("Can I pay by card?", "Can't I pay by card?"),
        ("Delivery with a signature", "Delivery without a signature"),
        ("Change euro to dollar", "Change dollar to euro"),
        ("Can a tenant sue a landlord?", "Can a landlord sue a tenant?"),
        ("Fees before the deadline", "Fees after the deadline"),
        ("Who is Anna Meyer?", "Who is Anna Mayer?"),
        ("Does it ship to the US?", "Does it ship to us?"),
        ("What is my address?", "What is your address?"),
        ("When is the refund paid?", "Why is the refund paid?"),
        ("What is the minimum age?", "What is the maximum age?"),
        ("What is 10% of it?", "What is 10 of it?"),
        ("Is the temperature -5 allowed?", "Is the temperature 5 allowed?"),
        ("Is a > b?", "Is a < b?"),
        ("Do I need vitamin A?", "Do I need vitamin?"),
        ("Must I sign it?", "May I sign it?"),
        ("Order AB-12", "Order AB-21"),
        ("Is item 2/3 covered?", "Is item 3/2 covered?"),
    ],
)
def test_one_word_or_its_place_makes_another_question(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize("text", ["退款需要多久？", "Wie lange dauert die Rückgabe?", "??", "12"])
def test_what_it_cannot_judge_has_no_meaning(text: str) -> None:
    assert meaning(text) == ""


def test_spaces_the_final_sign_and_the_first_capital_do_not_count() -> None:
    assert normalised(" How  long? ") == normalised("how long")
    assert normalised("退款需要多久？") == normalised("退款需要多久")
    assert normalised("10² mm") != normalised("102 mm")
