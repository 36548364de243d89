from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from modeling.training.recipe import Lora, Recipe, Schedule

REQUIRED: dict[str, Any] = {"model_path": "m", "data_path": "d", "output_dir": "o"}


def test_it_survives_json() -> None:
    recipe = Recipe(
        **REQUIRED, lora=Lora(rank=8, target_modules=("q_proj",)), schedule=Schedule(kind="step")
    )
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs must be above 0 when steps is 0; got epochs=0"),
        ({"epochs": float("nan")}, "epochs must be above 0"),
        ({"keep_checkpoints": 1}, "keep_checkpoints must be 2 or more"),
        ({"max_tokens": 8}, "max_tokens must be 16 or more; got 8"),
        ({"dtype": "fp16"}, "dtype must be one of auto, bf16, fp32; got 'fp16'"),
        ({"seed": "1"}, "seed must be of type int; got '1'"),
        ({"steps": True}, "steps must be of type int; got True"),
        ({"learning_rate": 1e-4}, "unknown field learning_rate; allowed are"),
        ({"lora": {"rank": 0}}, "lora.rank must be 1 or more; got 0"),
        ({"lora": {"target_modules": []}}, "must name at least one linear layer"),
        ({"lora": {"target_modules": "q_proj"}}, "lora.target_modules must be of type"),
        ({"schedule": {"learning_rate": 3}}, "schedule.learning_rate must be above 0"),
        ({"schedule": {"learning_rate": float("inf")}}, "schedule.learning_rate must be"),
        ({"early_stop_evaluations": 2}, "early_stop_evaluations needs evaluate_every_steps"),
        ({"output_dir": ""}, "output_dir must be a path; got an empty text"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Recipe.from_dict({**REQUIRED, **values})


def test_a_missing_path_is_named() -> None:
    with pytest.raises(ValueError, match="the recipe lacks model_path, output_dir"):
        Recipe.from_dict({"data_path": "d"})


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    schedule = Schedule(learning_rate=1.0, warmup_share=0.1, final_share=0.2)
    rates = [schedule.rate_at(step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[54] == pytest.approx(0.6)
    assert rates[-1] == pytest.approx(0.2)
    assert all(left > right for left, right in pairwise(rates[9:]))


def test_the_rate_falls_in_steps() -> None:
    schedule = Schedule(
        learning_rate=1.0, kind="step", warmup_share=0.0, decay_every_steps=2, decay_factor=0.5
    )
    assert [schedule.rate_at(step, 6) for step in range(1, 7)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
