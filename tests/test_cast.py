"""The shared fixtures themselves: the cast, and the fake model server's contract."""

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from praxis.accounts.access import Principal
from praxis.accounts.models import Role, User, Workspace
from tests.fakes import ModelServer, embed


@pytest.fixture
def ask(model_server: ModelServer) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=settings.LLM_BASE_URL, api_key=settings.LLM_API_KEY, max_retries=0
    )


def similarity(first: str, second: str) -> float:
    return sum(a * b for a, b in zip(embed(first), embed(second), strict=True))


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.django_db
def test_the_database_is_postgresql_with_pgvector() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT '[1,2]'::vector <-> '[1,3]'::vector")
        assert cursor.fetchone() == (1.0,)


def test_each_person_has_the_role_of_their_name(
    owner: User,
    admin: User,
    agent: User,
    member: User,
    stranger: User,
    workspace: Workspace,
    other_workspace: Workspace,
    principal_of: Callable[..., Principal],
    client_for: Callable[[User], Client],
) -> None:
    roles = [principal_of(user).role for user in (owner, admin, agent, member)]
    assert roles == list(Role)
    assert principal_of(agent).workspace == workspace
    assert principal_of(stranger).workspace == other_workspace
    assert client_for(agent).session["_auth_user_id"] == str(agent.pk)


def test_it_streams_what_was_enqueued_and_counts(
    ask: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.enqueue("The parcel left on Monday.")
    stream = ask.chat.completions.create(
        model=settings.LLM_MODEL,
        messages=messages("Where is it?"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        == "The parcel left on Monday."
    )
    assert len(chunks) > 5
    assert chunks[-1].usage and chunks[-1].usage.completion_tokens == 5


def test_it_echoes_without_a_script_and_obeys_a_schema(ask: openai.OpenAI) -> None:
    echo = ask.chat.completions.create(model=settings.LLM_MODEL, messages=messages("hello"))
    assert echo.choices[0].message.content == "You said: hello"
    shaped = ask.chat.completions.create(
        model=settings.LLM_MODEL,
        messages=messages("hello"),
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "state",
                "schema": {
                    "type": "object",
                    "properties": {"intent": {"enum": ["ask", "buy"]}},
                    "required": ["intent"],
                },
            },
        },
    )
    assert shaped.choices[0].message.content == '{"intent": "ask"}'


def test_texts_that_share_words_have_near_vectors(ask: openai.OpenAI) -> None:
    texts = ["return a damaged parcel", "a parcel that is damaged", "governing law of the contract"]
    data = ask.embeddings.create(model=settings.EMBEDDING_MODEL, input=texts).data
    vectors = [item.embedding for item in data]
    assert [len(vector) for vector in vectors] == [384] * 3
    assert vectors[0] == pytest.approx(embed(texts[0]), abs=1e-6)
    assert similarity(texts[0], texts[1]) > 0.5 > 0.2 > similarity(texts[0], texts[2])
    assert similarity("退货政策", "退货流程") > 0.3


def test_a_server_that_is_down_refuses_and_comes_back(
    ask: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.down()
    with pytest.raises(openai.APIConnectionError):
        ask.models.list()
    model_server.up()
    assert {model.id for model in ask.models.list()} == {"fake-chat", "fake-embedding"}


def test_it_refuses_a_wrong_key_and_an_unknown_model(ask: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="known: fake-chat"):
        ask.chat.completions.create(model="other", messages=messages("hello"))
    with pytest.raises(openai.AuthenticationError):
        ask.with_options(api_key="wrong").models.list()


def test_an_adapter_can_be_loaded_asked_and_unloaded(
    ask: openai.OpenAI, model_server: ModelServer
) -> None:
    headers = {"Authorization": f"Bearer {model_server.api_key}"}
    with httpx.Client(base_url=model_server.base_url, headers=headers) as http:
        adapter = {"lora_name": "legal-1", "lora_path": "adapters/legal-1"}
        assert http.post("/load_lora_adapter", json=adapter).status_code == 200
        echo = ask.chat.completions.create(model="legal-1", messages=messages("hello"))
        assert echo.model == "legal-1"
        assert http.post("/unload_lora_adapter", json=adapter).status_code == 200
        assert http.post("/unload_lora_adapter", json=adapter).status_code == 404
