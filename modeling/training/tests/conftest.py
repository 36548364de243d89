from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from modeling.training.recipe import Lora, Recipe, Schedule

TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = (
    "order parcel refund return address street city late early price discount invoice contract "
    "clause term party purpose fever cough pain doctor nurse dose daily weekly blue green red "
    "please thanks hello where when why how can could would should send cancel change keep"
).split()


def sentence(generator: random.Random, words: int) -> str:
    return " ".join(generator.choice(WORDS) for _ in range(words))


def conversation(seed: int, *, turns: int = 1, words: int = 8) -> dict[str, Any]:
    generator = random.Random(seed)
    messages = []
    for _ in range(turns):
        messages.append({"role": "user", "content": sentence(generator, words)})
        messages.append({"role": "assistant", "content": sentence(generator, words)})
    return {"messages": messages}


def write_jsonl(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 30 thousand weights with its tokeniser and chat template, made here."""
    directory = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [" ".join(WORDS)] * 4,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<|im_start|>",
                "eos_token": "<|im_end|>",
                "chat_template": TEMPLATE,
            }
        )
    )
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture
def data_path(tmp_path: Path) -> Path:
    return write_jsonl(
        tmp_path / "data.jsonl",
        [conversation(seed, turns=1 + seed % 3, words=4 + seed % 7) for seed in range(40)],
    )


@pytest.fixture
def make_recipe(model_dir: Path, data_path: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe of eight short steps; the test states what differs."""

    def make(**changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "model_path": str(model_dir),
            "data_path": str(data_path),
            "output_dir": str(tmp_path / "run"),
            "lora": Lora(rank=4, alpha=8),
            "schedule": Schedule(learning_rate=1e-2),
            "steps": 8,
            "max_tokens": 256,
            "sequences_per_step": 2,
            "save_every_steps": 3,
            "evaluation_share": 0.1,
            "dtype": "fp32",
            "device": "cpu",
            "threads": 1,
            **changes,
        }
        return Recipe(**values)

    return make
