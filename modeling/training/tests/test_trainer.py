from __future__ import annotations

from collections.abc import Callable

from modeling.training.recipe import Recipe
from modeling.training.trainer import Metrics, train


def never() -> bool:
    return False


def test_it_lowers_the_loss_and_reports_every_step(make_recipe: Callable[..., Recipe]) -> None:
    lines: list[Metrics] = []
    result = train(make_recipe(), on_metrics=lines.append, should_stop=never)
    steps = [line for line in lines if line.loss is not None]
    assert [line.step for line in steps] == list(range(1, 9))
    assert result.first_eval_loss is not None and result.eval_loss is not None
    assert result.eval_loss < result.first_eval_loss
    assert result.outcome == "completed"
