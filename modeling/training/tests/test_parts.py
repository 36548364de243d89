"""Training more than an adapter: experts, routers, norms, the whole base."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from modeling.moe.routers import SigmoidTopkRouter, routers
from modeling.moe.upcycle import Experts
from modeling.training import parts
from modeling.training.recipe import Balancing, Lora, Recipe, Schedule
from modeling.training.tests.test_trainer import losses, never, stop_after, trained
from modeling.training.trainer import prepare, train

EXPERTS = Experts(number=4, width=16, top_k=2)
MIXTURE = {
    "experts": EXPERTS,
    "trainable": {"lora": 1.0, "experts": 3.0, "routers": 3.0},
    "balancing": Balancing(gamma=0.01, loss_weight=0.01),
    "lora": Lora(rank=4, alpha=8, target_modules=("q_proj", "o_proj", "gate_proj")),
}


def test_a_mixture_is_made_on_load_and_trained_beside_an_adapter(
    make_recipe: Callable[..., Recipe],
) -> None:
    result, _lines = trained(make_recipe(**MIXTURE))
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss
    assert result.balance is not None and result.balance["dead_experts"] == 0
    assert result.adapter is not None
    assert (result.adapter / "adapter_model.safetensors").is_file()
    weights = load_file(result.adapter / parts.EXPERTS_FILE)
    prefix = "model.layers.0.mlp."
    assert {n.removeprefix(prefix) for n in weights if n.startswith(prefix)} == {
        "experts.gate_up_proj",
        "experts.down_proj",
        "gate.weight",
        "gate.e_score_correction_bias",
    }
    assert weights[prefix + "experts.down_proj"].shape == (4, 32, 16)
    assert weights[prefix + "experts.down_proj"].abs().max() > 0
    assert weights[prefix + "gate.e_score_correction_bias"].abs().max() > 0
    assert weights[prefix + "gate.weight"].dtype == torch.float32
    assert not (result.adapter / parts.BASE_FILE).exists()


def test_before_training_the_mixture_has_the_loss_of_its_base(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    dense, _ = trained(make_recipe(steps=1))
    mixture, _ = trained(make_recipe(**MIXTURE, steps=1, output_dir=str(tmp_path / "mixture")))
    assert mixture.first_eval_loss == pytest.approx(dense.first_eval_loss, abs=1e-6)


def test_only_the_named_parts_learn(make_recipe: Callable[..., Recipe]) -> None:
    run = prepare(make_recipe(**{**MIXTURE, "trainable": {"routers": 1.0, "norms": 2.0}}))
    names = {name for name, w in run.model.named_parameters() if w.requires_grad}
    assert names and {parts.part_of(name) for name in names} == {"routers", "norms"}
    assert [group["factor"] for group in run.optimizer.param_groups] == [1.0, 2.0]
    assert run.adapter is None


def test_a_base_without_experts_has_none_to_train(make_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(parts.NothingToTrain, match="no experts and no routers to train"):
        prepare(make_recipe(trainable={"experts": 1.0, "routers": 1.0}))


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_everything_can_be_trained_and_loads_again(
    make_recipe: Callable[..., Recipe], dtype: str
) -> None:
    recipe = make_recipe(trainable={"base": 0.1, "norms": 0.1}, dtype=dtype)
    run = prepare(recipe)
    assert {w.dtype for w in run.trainable} == {torch.float32}
    result, _ = trained(recipe)
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss
    assert result.adapter is not None
    weights = load_file(result.adapter / parts.BASE_FILE)
    base = AutoModelForCausalLM.from_pretrained(recipe.model_path)
    missing, unexpected = base.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}


def test_adapter_and_base_together_learn_in_bfloat16(make_recipe: Callable[..., Recipe]) -> None:
    result, _ = trained(
        make_recipe(
            **{**MIXTURE, "trainable": {"lora": 1.0, "experts": 1.0, "routers": 1.0, "norms": 1.0}},
            dtype="bf16",
        )
    )
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss


def test_a_stopped_mixture_ends_as_one_that_was_not(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(**MIXTURE)
    whole, whole_lines = trained(recipe)
    cut = dataclasses.replace(recipe, output_dir=str(tmp_path / "cut"))
    result, seen = trained(cut, stop_after(12))
    assert result.outcome == "stopped"
    result, rest = trained(cut)
    assert losses(seen) | losses(rest) == losses(whole_lines)
    assert whole.adapter is not None and result.adapter is not None
    expected = load_file(whole.adapter / parts.EXPERTS_FILE)
    for name, tensor in load_file(result.adapter / parts.EXPERTS_FILE).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_with_a_time_limit_ends_with_its_result(
    make_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeling.training.trainer._SECONDS_TO_SAVE", 0.5)
    result, lines = trained(make_recipe(steps=0, epochs=1000.0, max_seconds=4.0))
    assert result.outcome == "completed"
    assert result.adapter is not None
    assert result.seconds < 4.0
    rates = [line.learning_rate for line in lines if line.loss is not None]
    assert rates[-1] < 0.2 * max(rates)
    assert lines[-1].eval_loss == result.eval_loss


def test_a_time_limit_needs_a_rate_that_can_follow_it(make_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match="must be cosine when max_seconds is above 0"):
        make_recipe(max_seconds=4.0, schedule=Schedule(kind="step"))


def test_encoded_data_is_taken_as_it_is(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    first = make_recipe()
    _expected, expected_lines = trained(first)
    _result, lines = trained(
        make_recipe(data_path=str(first.output / "tokens"), output_dir=str(tmp_path / "second"))
    )
    assert losses(lines) == losses(expected_lines)
    with pytest.raises(ValueError, match="raise max_tokens or encode the data again"):
        prepare(make_recipe(data_path=str(first.output / "tokens"), max_tokens=16))


def test_the_recipe_survives_json(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(**MIXTURE)
    assert Recipe.from_dict(json.loads(recipe.to_json())) == recipe


def test_the_routers_count_every_token_of_a_step(make_recipe: Callable[..., Recipe]) -> None:
    run = prepare(make_recipe(**MIXTURE))
    assert run.mixture is not None
    assert all(isinstance(router, SigmoidTopkRouter) for router in routers(run.model).values())
    result = train(run.recipe, on_metrics=lambda line: None, should_stop=never)
    assert result.outcome == "completed"


def test_an_adapter_of_a_mixture_holds_the_shared_experts_layers(
    make_recipe: Callable[..., Recipe],
) -> None:
    result, _ = trained(make_recipe(**MIXTURE, steps=1))
    assert result.adapter is not None
    names = load_file(result.adapter / "adapter_model.safetensors")
    assert "base_model.model.model.layers.0.mlp.shared_experts.gate_proj.lora_A.weight" in names
    assert not any(".experts." in name.replace("shared_experts", "") for name in names)
    config = json.loads((result.adapter / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["gate_proj", "o_proj", "q_proj"]
