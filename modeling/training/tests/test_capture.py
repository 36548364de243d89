"""Room for captured passes, and on a GPU that a replay computes what the passes compute."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig

from modeling.training import trainer
from modeling.training.capture import Room
from modeling.training.lora import add_adapter
from modeling.training.objective import ATTENTION, SupervisedLoss
from modeling.training.recipe import Lora, Recipe

ROOM = Room(tokens=100, spans=12, longest=30)


@pytest.mark.parametrize("bounds", [(0, 20, 50, 80), (0, 30, 60, 90, 100), (0, 5)])
def test_filling_covers_all_tokens_in_spans_that_are_short_enough(bounds: tuple[int, ...]) -> None:
    filled = ROOM.filled(bounds)
    lengths = [end - start for start, end in pairwise(filled)]
    assert tuple(filled[: len(bounds)]) == bounds
    assert len(filled) == ROOM.spans + 1
    assert filled[-1] == ROOM.tokens
    assert all(0 <= length <= ROOM.longest for length in lengths)
    assert ROOM.takes(bounds)


@pytest.mark.parametrize(
    "bounds",
    [
        (0, 30, 60, 101),  # too many tokens
        (0, 31, 60, 90),  # a span too long
        tuple(range(0, 100, 7)),  # too many spans
    ],
)
def test_what_does_not_fit_is_not_taken(bounds: tuple[int, ...]) -> None:
    assert not ROOM.takes(bounds)


def test_room_is_made_for_sequences_like_those_of_the_plan() -> None:
    lengths = [10, 40, 25, 25]
    room = Room.of([[0, 1, 2], [3, 0]], lengths, tokens=100)
    assert room.longest == 40
    assert room.takes((0, 40, 50, 75)) and room.takes((0, 25, 50, 90))


@pytest.mark.parametrize(
    ("changed", "captures"),
    [
        ({}, True),
        ({"dtype": torch.float32}, False),
        ({"processes": 2}, False),
        ({"device": "cpu"}, False),
        ({"config": MixtralConfig()}, False),
        ({"trainable": {"base": 1.0}}, False),
    ],
)
def test_only_an_adapter_of_a_dense_model_in_one_process_is_captured(
    changed: dict[str, Any], captures: bool
) -> None:
    recipe = Recipe(
        model_path="m", data_path="d", output_dir="o",
        trainable=changed.get("trainable", {"lora": 1.0, "norms": 0.3}),
    )  # fmt: skip
    base: Any = SimpleNamespace(config=changed.get("config", LlamaConfig()))
    accelerator: Any = SimpleNamespace(
        device=torch.device(changed.get("device", "cuda")),
        num_processes=changed.get("processes", 1),
    )
    dtype = changed.get("dtype", torch.bfloat16)
    assert trainer._captures(recipe, base, accelerator, dtype) == captures


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_replayed_passes_give_the_loss_and_the_gradients_of_the_plain_ones() -> None:
    device = torch.device("cuda")
    found = {}
    for captured in (False, True):
        torch.manual_seed(0)
        base = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=400, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=1,
            )
        )  # fmt: skip
        base.bfloat16()
        base.set_attn_implementation(ATTENTION)
        add_adapter(base, Lora(rank=4, alpha=8), seed=0)
        for name, weight in base.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.05)
        module = SupervisedLoss(base, torch.bfloat16).to(device).train()
        if captured:
            module.capture(Room(tokens=128, spans=16, longest=64))
        losses = []
        # A full sequence, one with a span too long for the graphs and a short one, within one step.
        for bounds in ((0, 50, 90, 128), (0, 70, 110), (0, 20)):
            tokens = bounds[-1]
            generator = torch.Generator().manual_seed(tokens)
            ids = torch.randint(0, 400, (1, tokens), generator=generator)
            places = torch.arange(0, tokens - 1, 3)
            loss = module(
                ids.to(device),
                torch.cat([torch.arange(end - start) for start, end in pairwise(bounds)])[None].to(device),
                bounds,
                torch.tensor(bounds, dtype=torch.int32, device=device),
                places.to(device),
                ids[0, places + 1].to(device),
            )  # fmt: skip
            loss.backward()
            losses.append(loss.item())
        gradients = [w.grad.clone() for w in module.parameters() if w.grad is not None]
        found[captured] = (losses, gradients)
    assert len(found[True][1]) == len(found[False][1]) == 2 * 2 * 7
    assert found[True][0] == pytest.approx(found[False][0], rel=1e-3)
    for mine, plain in zip(found[True][1], found[False][1], strict=True):
        assert torch.linalg.vector_norm(mine - plain) <= 0.01 * torch.linalg.vector_norm(plain)
