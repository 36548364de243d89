from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from modeling.training import checkpoint
from modeling.training.estimate import dry_run
from modeling.training.recipe import Lora, Recipe, Schedule
from modeling.training.tests.conftest import write_jsonl
from modeling.training.trainer import (
    CHECKPOINTS,
    Metrics,
    NonFiniteLoss,
    NoUsableData,
    OtherRun,
    Result,
    prepare,
    train,
)


def never() -> bool:
    return False


def trained(
    recipe: Recipe, should_stop: Callable[[], bool] = never
) -> tuple[Result, list[Metrics]]:
    lines: list[Metrics] = []
    return train(recipe, on_metrics=lines.append, should_stop=should_stop), lines


def losses(lines: list[Metrics]) -> dict[int, float]:
    return {line.step: line.loss for line in lines if line.loss is not None}


def weights(result: Result) -> dict[str, torch.Tensor]:
    assert result.adapter is not None
    return load_file(result.adapter / "adapter_model.safetensors")


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_it_lowers_the_loss_and_reports_every_step(make_recipe: Callable[..., Recipe]) -> None:
    result, lines = trained(make_recipe())
    assert list(losses(lines)) == list(range(1, 9))
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss
    assert result.outcome == "completed"
    assert lines[0].step == 0 and lines[0].eval_loss == result.first_eval_loss
    assert lines[-1].eval_loss == result.eval_loss
    assert [line.tokens for line in lines] == sorted(line.tokens for line in lines)
    assert lines[-1].eta_seconds == 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_stopped_run_ends_as_one_that_was_not(
    make_recipe: Callable[..., Recipe], tmp_path: Path, dropout: float
) -> None:
    recipe = make_recipe(lora=Lora(rank=4, alpha=8, dropout=dropout), evaluate_every_steps=4)
    whole, whole_lines = trained(recipe)
    cut = dataclasses.replace(recipe, output_dir=str(tmp_path / "cut"))
    seen: dict[int, float] = {}
    for calls in (2, 9, 5, 7):
        result, lines = trained(cut, stop_after(calls))
        assert result.outcome == "stopped"
        seen |= losses(lines)
    result, lines = trained(cut)
    seen |= losses(lines)
    assert seen == losses(whole_lines)
    assert result.eval_loss == whole.eval_loss
    assert result.tokens == whole.tokens
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(result)[name]), name


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()
    whole, _ = trained(recipe)
    directory = recipe.output / CHECKPOINTS
    newest = checkpoint.latest_complete(directory)
    assert newest is not None and newest.name == "step-00000008"
    (newest / "optimizer.safetensors").write_bytes(b"short")
    result, lines = trained(recipe)
    assert list(losses(lines)) == [7, 8]
    assert all(torch.equal(t, weights(result)[name]) for name, t in weights(whole).items())
    assert (directory / "damaged-step-00000008-1").is_dir()


def test_accumulation_weighs_every_token_alike(make_recipe: Callable[..., Recipe]) -> None:
    """One step over all data gives the same update however the data is cut into sequences."""
    common = {"steps": 1, "evaluation_share": 0.0, "schedule": Schedule(warmup_share=0.0)}
    long = make_recipe(**common, max_tokens=8192, sequences_per_step=1)
    short = make_recipe(**common, max_tokens=256, sequences_per_step=1)
    sequences = len(prepare(short).plan.sequences(0))
    assert sequences > 4
    short = dataclasses.replace(
        short, sequences_per_step=sequences, output_dir=long.output_dir + "-short"
    )
    one, one_lines = trained(dataclasses.replace(long, output_dir=long.output_dir + "-long"))
    many, many_lines = trained(short)
    assert one.supervised_tokens == many.supervised_tokens
    assert losses(one_lines)[1] == pytest.approx(losses(many_lines)[1], abs=1e-5)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(many)[name], tensor, atol=1e-4, rtol=1e-3)


def test_it_stops_early_when_the_evaluation_no_longer_improves(
    make_recipe: Callable[..., Recipe],
) -> None:
    result, _ = trained(
        make_recipe(
            steps=40,
            schedule=Schedule(learning_rate=0.5, warmup_share=0.0),
            evaluate_every_steps=2,
            early_stop_evaluations=2,
        )
    )
    assert result.stopped_early
    assert result.step < 40
    assert result.outcome == "completed"


def test_a_loss_that_is_no_number_ends_the_run(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(
        schedule=Schedule(learning_rate=1.0, warmup_share=0.0), max_gradient_norm=1e30, steps=400
    )
    recipe = dataclasses.replace(recipe, lora=Lora(rank=4, alpha=10**18))
    with pytest.raises(NonFiniteLoss, match="lower the learning rate"):
        trained(recipe)


def test_data_without_a_usable_line_is_refused(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "bad.jsonl", [{"messages": []}, 3])
    with pytest.raises(NoUsableData, match="no conversation in the data set can be trained on"):
        trained(make_recipe(data_path=str(path)))


def test_another_recipe_may_not_continue_a_run(make_recipe: Callable[..., Recipe]) -> None:
    trained(make_recipe(steps=3))
    with pytest.raises(OtherRun, match="use an empty output directory"):
        trained(make_recipe(steps=3, seed=5))


def test_the_dry_run_predicts_time_and_memory_and_leaves_nothing(
    make_recipe: Callable[..., Recipe],
) -> None:
    recipe = make_recipe()
    estimate = dry_run(recipe)
    assert not recipe.output.exists()
    result, _ = trained(recipe)
    assert estimate.steps == result.steps
    assert estimate.trainable_parameters == result.trainable_parameters
    assert estimate.tokens == pytest.approx(result.tokens, rel=0.3)
    assert estimate.memory_bytes > 50_000_000
    assert 0 < estimate.seconds < 60


def test_the_trained_layers_learn_in_bfloat16_too(make_recipe: Callable[..., Recipe]) -> None:
    result, _ = trained(make_recipe(dtype="bf16", steps=6))
    assert result.dtype == "bf16"
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss
