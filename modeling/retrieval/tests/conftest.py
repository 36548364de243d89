"""A BERT encoder small enough to train in a second, made here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

WORDS = (
    "parcel travel days country price lamp tax goods return thirty unopened kettle warranty years "
    "repair light cost package send back how long does the much may i is a within what for two "
    "delivery refund colour shade bulb broken replace paid fee customer order cancel before hour"
).split()
WIDTH = 384


def _write_tokenizer(folder: Path) -> int:
    """A tokenizer of whole words; the size of its vocabulary."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *sorted(set(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    return len(vocabulary)


def _config(vocab_size: int, width: int, **more: Any) -> BertConfig:
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=64,
        **more,
    )


def make_encoder(folder: Path, *, seed: int = 0, width: int = WIDTH) -> Path:
    """A sentence-transformers folder with random weights, as wide as the index."""
    bert = folder / "bert"
    torch.manual_seed(seed)
    BertModel(_config(_write_tokenizer(bert), width)).save_pretrained(bert)
    transformer = Transformer(str(bert), max_seq_length=64)
    model = SentenceTransformer(modules=[transformer, Pooling(width), Normalize()], device="cpu")
    encoder = folder / "encoder"
    model.save_pretrained(str(encoder), create_model_card=False)
    return encoder


def make_cross_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A cross-encoder with random weights, in the form that sentence-transformers loads by path."""
    torch.manual_seed(seed)
    config = _config(_write_tokenizer(folder), 32, num_labels=1, initializer_range=0.5)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("tiny"))
