"""The client of the model server: what it asks for and what it makes of the answer."""

import pytest

from praxis.assistants.contract import ModelUnavailable, ScoredToken
from praxis.assistants.language_model import ServedModel
from tests.fakes import ModelServer

ASKED = [{"role": "user", "content": "Which one?"}]


def write(model: ServedModel, *, timeout_seconds: float = 5.0) -> list[ScoredToken]:
    return model.write(
        ASKED, grammar='root ::= "a" | "b"', max_tokens=8, timeout_seconds=timeout_seconds
    )


def test_what_it_writes_comes_with_log_probabilities(model_server: ModelServer) -> None:
    model_server.enqueue("b")
    assert write(ServedModel(cache_salt="w1")) == [ScoredToken("b", -0.1)]
    [asked] = model_server.chats()
    assert (asked["grammar"], asked["temperature"]) == ('root ::= "a" | "b"', 0.0)


def test_writing_shares_no_prefix_with_chats_or_another_tenant(model_server: ModelServer) -> None:
    for salt in ("w1", "w2"):
        model = ServedModel(cache_salt=salt)
        write(model)
        list(model.stream(ASKED, max_tokens=8))
    assert len({asked["cache_salt"] for asked in model_server.chats()}) == 4


def test_a_late_answer_is_none(model_server: ModelServer) -> None:
    model_server.enqueue("b")
    model_server.slow(1.0)
    with pytest.raises(ModelUnavailable):
        write(ServedModel(), timeout_seconds=0.1)


def test_a_server_that_is_down_is_said_so(model_server: ModelServer) -> None:
    model_server.down()
    with pytest.raises(ModelUnavailable):
        write(ServedModel())
