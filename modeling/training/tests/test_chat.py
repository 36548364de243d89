from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from modeling.training.chat import ChatTemplateError, ChatTokenizer, Message
from modeling.training.tests.conftest import conversation


@pytest.mark.parametrize("turns", [1, 3])
def test_it_renders_and_encodes_as_transformers_does(model_dir: Path, turns: int) -> None:
    chat = ChatTokenizer.load(model_dir)
    reference = AutoTokenizer.from_pretrained(model_dir)
    messages: list[Any] = conversation(4, turns=turns)["messages"]
    assert chat.render(messages) == reference.apply_chat_template(messages, tokenize=False)
    prompt = messages[:-1]
    assert chat.render(prompt, add_generation_prompt=True) == reference.apply_chat_template(
        prompt, tokenize=False, add_generation_prompt=True
    )
    whole: Any = reference.apply_chat_template(messages, tokenize=True, return_dict=False)
    [encoded] = chat.encode([messages])
    # Training stops at the end mark of the last answer; the template adds a line break.
    assert whole[: len(encoded.token_ids)] == encoded.token_ids
    assert reference.decode(whole[len(encoded.token_ids) :]) == "\n"


def test_only_answers_and_their_end_marks_are_learnt(model_dir: Path) -> None:
    chat = ChatTokenizer.load(model_dir)
    messages: list[Message] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "and"},
        {"role": "assistant", "content": "second answer"},
    ]
    assert learnt_text(chat, messages) == ["first answer<|im_end|>", "second answer<|im_end|>"]
    assert learnt_text(chat, messages, [0, 0, 0, 0, 1]) == ["second answer<|im_end|>"]


def learnt_text(
    chat: ChatTokenizer, messages: list[Message], weights: list[int] | None = None
) -> list[str]:
    [encoded] = chat.encode([messages], None if weights is None else [weights])
    runs: list[list[int]] = []
    before = False
    for token, learnt in zip(encoded.token_ids, encoded.supervised, strict=True):
        if learnt and not before:
            runs.append([])
        if learnt:
            runs[-1].append(token)
        before = learnt
    return [chat.tokenizer.decode(run, skip_special_tokens=False) for run in runs]


def test_no_token_spans_the_border_between_prompt_and_answer(model_dir: Path) -> None:
    chat = ChatTokenizer.load(model_dir)
    messages: list[Message] = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "\n\nlate"},
    ]
    prompt = chat.render(messages[:1], add_generation_prompt=True)
    prompt_ids = chat.tokenizer.encode(prompt, add_special_tokens=False).ids
    [encoded] = chat.encode([messages])
    assert encoded.token_ids[: len(prompt_ids)] == prompt_ids
    assert encoded.supervised.index(True) == len(prompt_ids)


def test_a_template_that_rewrites_earlier_turns_is_refused(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    chat = ChatTokenizer.load(tmp_path)
    with pytest.raises(ChatTemplateError, match="renders earlier turns differently"):
        chat.encode([conversation(1, turns=2)["messages"]])


def test_a_template_cannot_reach_out_of_its_sandbox(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(ChatTemplateError, match="unsafe"):
        ChatTokenizer.load(tmp_path).render(conversation(1)["messages"])


def test_a_folder_without_a_template_is_named(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((model_dir / "tokenizer.json").read_bytes())
    with pytest.raises(ChatTemplateError, match="has no chat template"):
        ChatTokenizer.load(tmp_path)
