"""Paired differences between the student and its references, by task, by kind of task, and in the mean."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from polydistill.evaluation.statistics.bootstrap import (
    CONFIDENCE,
    Floats,
    Groups,
    holm,
    interval,
    resampled_columns,
    two_sided_p,
)
from polydistill.evaluation.statistics.kinds import OVERALL, over_kinds

BETTER, LEVEL, WORSE = "better", "level", "worse"
RESAMPLES = 4_000
"""The smallest two-sided p-value is 2 in 4,001: below 0.05 after Holm's correction over 100 tasks."""
FEW = 100
"""Fewer test examples than this are marked."""


@dataclass(frozen=True)
class Difference:
    """The student's score minus that of a reference.

    Attributes:
        mean: The difference on the test examples.
        low: Lower end of its 95 % interval from a paired bootstrap.
        high: Upper end of the interval.
        p: Two-sided p-value, adjusted by Holm's method over all tasks (or kinds) of the same reference.
        verdict: `better` or `worse` if the adjusted p-value is at most 0.05, else `level`.
    """

    mean: float
    low: float
    high: float
    p: float
    verdict: str


@dataclass(frozen=True)
class Row:
    """One task, one kind of task, or the mean over the kinds (named `mean`).

    Attributes:
        name: Its name.
        kind: The kind of the task.
        n: Number of test examples.
        score: The student's score.
        low: Lower end of the score's 95 % interval.
        high: Upper end of the interval.
        scores: The score of each reference.
        differences: By reference, the difference of the student from it.
    """

    name: str
    kind: str
    n: int
    score: float
    low: float
    high: float
    scores: dict[str, float]
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Comparison:
    """The student against its references.

    Attributes:
        tasks: One row per task with predictions of the student.
        kinds: One row per kind of task, and last the mean over the kinds.
        shares: By reference, the student's mean score divided by the reference's, with its interval: mean, low, high.
    """

    tasks: tuple[Row, ...]
    kinds: tuple[Row, ...]
    shares: dict[str, tuple[float, float, float]]


@dataclass(frozen=True)
class _Drawn:
    """The scores of some models on one task, and their bootstrap means, `(resamples,)`, by model."""

    points: Mapping[str, float]
    draws: Mapping[str, Floats]
    n: int


def compare(
    predictions: pd.DataFrame,
    kinds: Mapping[str, str],
    student: str,
    references: Sequence[str],
    groups: Groups | None = None,
) -> Comparison:
    """Compare one model with others on every task.

    A mean over tasks is compared with a reference only if the reference has a score on each of these tasks.

    Args:
        predictions: Columns `task`, `example`, `model` and `score`.
        kinds: The kind of each task, in the order of the rows of the result.
        student: The model that is compared.
        references: The models that it is compared with.
        groups: See `statistics.bootstrap.Groups`.
    """
    drawn = {
        str(task): one
        for task, frame in predictions.groupby("task", sort=False)
        if (one := _draw(str(task), frame, [student, *references], groups))
        and student in one.points
    }
    tasks = [(task, kinds[task], [task]) for task in kinds if task in drawn]
    among = {task: kinds[task] for task, _, _ in tasks}
    by_kind = [
        (kind, kind, [task for task, one in among.items() if one == kind])
        for kind in sorted(set(among.values()))
    ]
    whole = [(OVERALL, "", list(among))] if among else []
    shares = {
        name: _share(drawn, among, student, name)
        for name in references
        if among and all(name in drawn[task].points for task in among)
    }
    return Comparison(
        tasks=tuple(_rows(tasks, drawn, among, student, references)),
        kinds=(
            *_rows(by_kind, drawn, among, student, references),
            *_rows(whole, drawn, among, student, references),
        ),
        shares={name: share for name, share in shares.items() if share is not None},
    )


def _draw(
    task: str, frame: pd.DataFrame, models: Sequence[str], groups: Groups | None
) -> _Drawn | None:
    rows = frame[frame["model"].isin(models)]
    by_example = rows.groupby(["example", "model"])["score"].mean().unstack("model")
    by_example = by_example.dropna(axis="columns")
    if by_example.empty:
        return None
    of_task = (groups or {}).get(task)
    has_groups = of_task is not None and by_example.index.isin(of_task.index).all()
    draws = resampled_columns(task, by_example, groups if has_groups else None, RESAMPLES)
    return _Drawn(
        points={str(name): float(score) for name, score in by_example.mean().items()},
        draws={str(name): draws[:, column] for column, name in enumerate(by_example)},
        n=len(by_example),
    )


def _rows(
    wanted: Iterable[tuple[str, str, list[str]]],
    drawn: Mapping[str, _Drawn],
    kinds: Mapping[str, str],
    student: str,
    references: Sequence[str],
) -> list[Row]:
    """Return one row per name, kind and list of tasks, with p-values that are adjusted over these rows."""
    found: list[tuple[Row, dict[str, tuple[float, Floats]]]] = []
    for name, kind, tasks in wanted:
        among = {task: kinds[task] for task in tasks}
        point, draws = _mean(drawn, among, student)
        others = {
            one: _mean(drawn, among, one)
            for one in references
            if all(one in drawn[task].points for task in tasks)
        }
        own = interval(point, draws)
        n = sum(drawn[task].n for task in tasks)
        scores = {one: mean for one, (mean, _) in others.items()}
        changes = {one: (point - mean, draws - drawn_) for one, (mean, drawn_) in others.items()}
        found.append((Row(name, kind, n, own.mean, own.low, own.high, scores, {}), changes))
    for one in references:
        rows = [(row, changes[one]) for row, changes in found if one in changes]
        adjusted = holm([two_sided_p(draws) for _, (_, draws) in rows])
        for (row, (mean, draws)), p in zip(rows, adjusted, strict=True):
            row.differences[one] = _difference(mean, draws, p)
    return [row for row, _ in found]


def _mean(
    drawn: Mapping[str, _Drawn], kinds: Mapping[str, str], model: str
) -> tuple[float, Floats]:
    points = over_kinds({task: drawn[task].points[model] for task in kinds}, kinds)[OVERALL]
    draws: Any = over_kinds({task: drawn[task].draws[model] for task in kinds}, kinds)[OVERALL]
    return float(points), np.asarray(draws)


def _difference(mean: float, draws: Floats, p: float) -> Difference:
    found = interval(mean, draws)
    verdict = LEVEL if p > 1 - CONFIDENCE else BETTER if mean > 0 else WORSE
    return Difference(found.mean, found.low, found.high, p, verdict)


def _share(
    drawn: Mapping[str, _Drawn], kinds: Mapping[str, str], student: str, reference: str
) -> tuple[float, float, float] | None:
    """Return the ratio of two means with its interval; None if the reference's mean is not clearly above zero."""
    (point, draws), (base, drawn_) = (_mean(drawn, kinds, one) for one in (student, reference))
    if drawn_.min() <= 0:
        return None
    found = interval(point / base, draws / drawn_)
    return found.mean, found.low, found.high
