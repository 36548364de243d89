"""The official `openai` client against the platform."""

from collections.abc import Callable

import openai
import pytest

from praxis.accounts.access import Principal
from praxis.accounts.models import User
from praxis.conversations.models import Conversation
from tests.fakes import ModelServer

PrincipalOf = Callable[..., Principal]
KeyOf = Callable[..., str]


@pytest.fixture
def client(platform: str, admin: User, principal_of: PrincipalOf, key_of: KeyOf) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{platform}/v1", api_key=key_of(principal_of(admin)), max_retries=0
    )


def test_assistants_are_the_models(client: openai.OpenAI) -> None:
    assert "tiny" in [model.id for model in client.models.list()]


def test_a_completion(client: openai.OpenAI, model_server: ModelServer) -> None:
    model_server.enqueue("Calm all day.")
    answer = client.chat.completions.create(
        model="tiny",
        temperature=0.2,
        messages=[
            {"role": "system", "content": "Talk like a pirate."},
            {"role": "user", "content": [{"type": "text", "text": "How is the wind?"}]},
        ],
    )
    assert answer.choices[0].message.content == "Calm all day."
    assert answer.choices[0].finish_reason == "stop"
    extension = (answer.model_extra or {})["praxis"]
    assert extension["confidence"]["chain"] == "model"
    assert extension["ignored"] == ["temperature", "system messages"]


def test_a_streamed_completion(client: openai.OpenAI, model_server: ModelServer) -> None:
    model_server.enqueue("Calm all day long.")
    chunks = list(
        client.chat.completions.create(
            model="tiny", stream=True, messages=[{"role": "user", "content": "Wind?"}]
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Calm all day long."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (chunks[-1].model_extra or {})["praxis"]["outcome"] == "answered"


def test_a_stateless_client_goes_on_in_its_conversation(client: openai.OpenAI) -> None:
    messages: list[dict[str, str]] = []
    for number in range(1, 4):
        messages.append({"role": "user", "content": f"When is high tide on day {number}?"})
        answer = client.chat.completions.create(model="tiny", messages=messages)  # type: ignore[arg-type]
        text = answer.choices[0].message.content or ""
        messages.append({"role": "assistant", "content": text})
        assert (answer.model_extra or {})["praxis"]["state"] == {"asked": number}
    assert Conversation.objects.count() == 1


def test_a_foreign_history_becomes_a_new_conversation(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "user", "content": "My boat is called Nora."},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": "How is the wind?"},
        ],
    )
    prompt = next(
        request.body["messages"]
        for request in model_server.requests
        if request.path.endswith("/chat/completions")
    )
    assert {"role": "user", "content": "My boat is called Nora."} in prompt


def test_no_cached_prefix_is_shared_between_workspaces(
    client: openai.OpenAI, model_server: ModelServer, admin: User
) -> None:
    client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "How is the wind?"}]
    )
    salts = {
        request.body["cache_salt"]
        for request in model_server.requests
        if request.path.endswith("/chat/completions")
    }
    assert salts == {str(admin.workspaces.get().pk)}


def test_errors_raise_the_clients_own_exceptions(
    client: openai.OpenAI, platform: str, model_server: ModelServer
) -> None:
    question: list[dict[str, str]] = [{"role": "user", "content": "Wind?"}]
    with pytest.raises(openai.NotFoundError, match="tiny"):
        client.chat.completions.create(model="gpt-9", messages=question)  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": " "}])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="tiny", messages=question, n=2)  # type: ignore[arg-type]
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{platform}/v1", api_key="prx_wrong").models.list()
    model_server.down()
    with pytest.raises(openai.InternalServerError, match="does not answer"):
        client.chat.completions.create(model="tiny", messages=question)  # type: ignore[arg-type]
    with pytest.raises(openai.APIError, match="does not answer"):
        list(client.chat.completions.create(model="tiny", messages=question, stream=True))  # type: ignore[arg-type]


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="any", input=["a", "b"], encoding_format="float")
    assert [len(item.embedding) for item in answer.data] == [384, 384]
