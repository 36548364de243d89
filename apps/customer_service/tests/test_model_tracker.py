"""What the language model's reading adds to the rules', and what it may not do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from apps.customer_service.model_tracker import description_of
from apps.customer_service.simulation import SERVICE, RunningShop, Talk, running_shop
from modeling.state_tracking.format import intent_keys, slot_keys
from modeling.training.chat import Message

DESCRIBED = description_of(SERVICE)
SLOT = slot_keys(DESCRIBED)
INTENT = intent_keys(DESCRIBED)


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningShop]:
    with running_shop() as shop:
        yield shop


@dataclass
class Scripted:
    """A model that writes the lines it was given, one list for each message it is asked to read."""

    answers: list[list[str]]
    log_probability: float = -0.001
    prompts: list[list[Message]] = field(default_factory=list)
    grammars: list[str] = field(default_factory=list)

    def __call__(self, messages: Sequence[Message], grammar: str) -> Sequence[tuple[str, float]]:
        self.prompts.append(list(messages))
        self.grammars.append(grammar)
        lines = self.answers.pop(0) if self.answers else ["-"]
        text = "\n".join(lines)
        return [(character, self.log_probability) for character in text]


def sets(slot: str, value: str) -> str:
    return f"{SLOT[slot]}={value}"


def returning(shop: RunningShop, *answers: list[str], log_probability: float = -0.001) -> Talk:
    """A return for which order and e-mail are known and the reason has been asked for."""
    shop.shop.reset()
    talk = Talk(shop.endpoint, write=Scripted([["-"], *answers], log_probability))
    talk.say("I want to return something HP-10426 fatima@example.com")
    assert talk.state["asked"] == "reason"
    return talk


def entry(talk: Talk, slot: str) -> dict[str, object]:
    made: dict[str, object] = talk.state["slots"][slot]
    return made


def test_it_asks_for_the_change_with_the_whole_task_before_it(shop: RunningShop) -> None:
    talk = returning(shop, [INTENT["return_item"], sets("reason", "Damaged or faulty")])
    talk.say("there is a hole in the glass of it")
    talk.say("I would rather have the money than another lamp")
    first, second, third = talk.write.prompts  # type: ignore[union-attr]
    assert first[0]["content"].startswith("Track the state. Orders, returns")
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert third[len(second)] == {
        "role": "assistant",
        "content": f"{INTENT['return_item']}\n{sets('reason', 'Damaged or faulty')}",
    }
    assert third[-1]["content"].endswith("User: I would rather have the money than another lamp")
    assert "Agent: " in third[-1]["content"]


def test_the_grammar_allows_the_services_slots_and_listed_values_only(shop: RunningShop) -> None:
    talk = returning(shop)
    talk.say("there is a hole in the glass of it")
    rules = talk.write.grammars[-1]  # type: ignore[union-attr]
    assert '"Damaged or faulty" | "Wrong item sent" | "Does not fit" | "No longer wanted"' in rules


def test_what_it_alone_read_is_shown_before_it_is_done(shop: RunningShop) -> None:
    talk = returning(shop, [INTENT["return_item"], sets("reason", "Damaged or faulty")])
    talk.say("there is a hole in the glass of it")
    assert (entry(talk, "reason")["value"], entry(talk, "reason")["source"]) == ("damaged", "model")
    answer = talk.say("refund")
    assert "Reason: Damaged or faulty" in answer
    assert shop.shop.calls == []
    talk.say("yes")
    assert len(shop.shop.calls) == 1


def test_what_it_alone_read_is_asked_about_before_a_call_without_confirmation(
    shop: RunningShop,
) -> None:
    shop.shop.reset()
    talk = Talk(shop.endpoint, write=Scripted([["-", sets("product_query", "oak shelf")]]))
    answer = talk.say("Show me your products, the bedroom could use an oak shelf")
    assert "Did I get this right" in answer, answer
    assert talk.sent == []


def test_agreement_makes_surer_and_disagreement_asks(shop: RunningShop) -> None:
    alone = returning(shop, [INTENT["return_item"]])
    alone.say("well it is broken I am afraid")
    agreeing = returning(shop, [INTENT["return_item"], sets("reason", "Damaged or faulty")])
    agreeing.say("well it is broken I am afraid")
    differing = returning(shop, [INTENT["return_item"], sets("reason", "Does not fit")])
    answer = differing.say("well it is broken I am afraid")
    sure = [entry(talk, "reason")["confidence"] for talk in (differing, alone, agreeing)]
    assert sure == sorted(sure)  # type: ignore[type-var]
    assert len(set(sure)) == 3
    assert entry(differing, "reason")["value"] == "damaged"
    assert answer.startswith("Did I get this right")


@pytest.mark.parametrize(
    "line",
    [
        sets("street", "9 Oak Avenue"),  # nobody said it
        sets("email", "the glass"),  # said, but no address
        sets("pickup_date", "hole"),
        "zz=hole",
        "nonsense",
    ],
)
def test_it_can_not_bring_in_what_nobody_said_or_no_slot_takes(
    shop: RunningShop, line: str
) -> None:
    talk = returning(shop, [INTENT["return_item"], line])
    before = talk.values()
    talk.say("there is a hole in the glass of it")
    assert talk.values() == before


def test_a_value_that_it_is_not_sure_of_is_verified(shop: RunningShop) -> None:
    lines = [INTENT["return_item"], sets("reason", "Damaged or faulty")]
    talk = returning(shop, lines, log_probability=-0.1)
    answer = talk.say("there is a hole in the glass of it")
    assert answer.startswith("Did I get this right")
    assert "Why do you want to return it?" in talk.say("no")


def test_it_takes_a_value_back(shop: RunningShop) -> None:
    talk = returning(
        shop,
        [INTENT["return_item"], sets("reason", "Damaged or faulty")],
        [INTENT["return_item"], sets("reason", "")],
    )
    talk.say("there is a hole in the glass of it")
    talk.say("hmm, the hole may have been there all along")
    assert "reason" not in talk.values()


def test_without_an_answer_in_time_the_rules_go_on(shop: RunningShop) -> None:
    shop.shop.reset()
    talk = Talk(shop.endpoint, write=lambda messages, grammar: ())
    talk.say("I want to return something HP-10426 fatima@example.com")
    talk.say("well it is broken I am afraid")
    assert talk.values()["reason"] == "damaged"


@pytest.mark.parametrize(
    "text",
    ["HP-10426", "yes", "no", "never mind", "I want to talk to a person", "hello", "是的，坏了"],
)
def test_it_is_not_asked_where_it_has_nothing_to_add(shop: RunningShop, text: str) -> None:
    talk = Talk(shop.endpoint, write=Scripted([]))
    talk.say(text)
    assert talk.write.prompts == []  # type: ignore[union-attr]


def test_a_new_task_is_read_without_the_last_one(shop: RunningShop) -> None:
    shop.shop.reset()
    talk = Talk(shop.endpoint, write=Scripted([]))
    talk.say("Where is my parcel? It is order HP-10422, ben@example.com")
    assert talk.state["intent"] == ""
    talk.say("I should also like to give back a thing that leaks")
    prompt = talk.write.prompts[-1]  # type: ignore[union-attr]
    assert [message["role"] for message in prompt] == ["system", "user"]
    assert "HP-10422" not in prompt[-1]["content"].rpartition("User: ")[2]
