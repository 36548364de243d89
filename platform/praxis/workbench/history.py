"""The golden set's scores over time, as its page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from praxis.knowledge.search_settings import SearchSettings
from praxis.workbench.models import GoldenRun

WIDTH, HEIGHT, MARGIN = 640.0, 160.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Point:
    x: float
    y: float
    run: GoldenRun


@dataclass(frozen=True, kw_only=True)
class Chart:
    """nDCG@10 of the runs from left to right, from 0 at the bottom to 1; in an SVG's units."""

    points: list[Point]
    width: float = WIDTH
    height: float = HEIGHT
    margin: float = MARGIN

    @property
    def line(self) -> str:
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def chart_of(runs: Sequence[GoldenRun]) -> Chart | None:
    """Of the runs with the stored settings; None with fewer than two. `runs`: the newest first."""
    scored = [
        (run, run.figures["ndcg10"]) for run in reversed(runs) if run.figures and run.tried is None
    ]
    if len(scored) < 2:
        return None
    step = (WIDTH - 2 * MARGIN) / (len(scored) - 1)
    return Chart(
        points=[
            Point(
                x=round(MARGIN + place * step, 1),
                y=round(MARGIN + (1 - ndcg10) * (HEIGHT - 2 * MARGIN), 1),
                run=run,
            )
            for place, (run, ndcg10) in enumerate(scored)
        ]
    )


@dataclass(frozen=True, kw_only=True)
class RunRow:
    run: GoldenRun
    change: float | None
    """Of nDCG@10 against the scored run before it."""
    settings: list[tuple[str, list[tuple[str, Any]]]]


def with_runs_before(runs: Sequence[GoldenRun]) -> list[RunRow]:
    """`runs`: the newest first."""
    rows: list[RunRow] = []
    before: float | None = None
    for run in reversed(runs):
        now = run.figures.get("ndcg10") if run.figures else None
        change = now - before if now is not None and before is not None else None
        rows.append(RunRow(run=run, change=change, settings=differences(run)))
        before = before if now is None else now
    return rows[::-1]


def differences(run: GoldenRun) -> list[tuple[str, list[tuple[str, Any]]]]:
    """By corpus ("" for the workspace): the settings of a run that were not the defaults."""
    if run.tried is not None:
        return [("", changed_from_defaults(run.tried))]
    return [(each["corpus"], changed_from_defaults(each["values"])) for each in run.stored]


def changed_from_defaults(values: dict[str, Any]) -> list[tuple[str, Any]]:
    defaults = SearchSettings().to_dict()
    return [(name, value) for name, value in values.items() if value != defaults.get(name)]
