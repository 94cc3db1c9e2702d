"""What each teacher adds: the score of all teachers minus the score of all others, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.config.data import TaskParams
from polydistill.evaluation.statistics.bootstrap import Interval, interval, resampled_means
from polydistill.evaluation.statistics.kinds import OVERALL, group_by_kind, over_kinds
from polydistill.training.dataset import seeded

RESAMPLES = 10_000
CONFIDENCE = 0.95
GB = 1e9
Members = tuple[str, ...]
"""The teachers of one ensemble."""
ByExample = pd.Series
"""The score of each example of a task, by its id; their mean is the task's main score."""
Runs = Mapping[Members, Mapping[str, ByExample]]
"""Ensemble, task: its scores."""


@dataclass(frozen=True)
class Contribution:
    """What one teacher adds to all others.

    Attributes:
        teacher: Its name.
        adds_nothing: Whether the interval of `adds` does not lie above zero.
        adds: Mean over task kinds of the ensemble's score less the score without this teacher.
        by_kind: Task kind: the mean of the same over its tasks.
        by_task: Task: the same.
        alone: Task kind, and `mean` for all kinds: the teacher's own score, by its part of the ensemble.
        weight_bytes: Of its weights on disk; none where they are not known or not here.
        adds_per_gb: `adds` a gigabyte (10⁹ bytes) of weights.
    """

    teacher: str
    adds_nothing: bool
    adds: Interval
    by_kind: dict[str, Interval]
    by_task: dict[str, Interval]
    alone: dict[str, float]
    weight_bytes: int | None
    adds_per_gb: float | None


@dataclass(frozen=True)
class AttributionReport:
    """What `docs/results/<modality>/attribution.json` holds; no number of it depends on a machine's speed.

    Attributes:
        modality: Of the teachers.
        tasks: Task kind: the tasks that were there.
        ensemble: Task kind, and `mean` for all kinds: the score of all teachers together.
        contributions: One a teacher, the largest first; equal ones by name.
    """

    modality: str
    tasks: dict[str, list[str]]
    ensemble: dict[str, float]
    contributions: tuple[Contribution, ...]


def ensembles(teachers: Sequence[str]) -> list[Members]:
    """List all teachers, all without each, and each alone; every ensemble once.

    Examples:
        >>> ensembles(["a", "b", "c"])
        [('a', 'b', 'c'), ('b', 'c'), ('a', 'c'), ('a', 'b'), ('a',), ('b',), ('c',)]
        >>> ensembles(["a", "b"])
        [('a', 'b'), ('b',), ('a',)]
    """
    everyone = tuple(teachers)
    alone = [(teacher,) for teacher in everyone]
    return list(dict.fromkeys([everyone, *(_without(everyone, one) for one in everyone), *alone]))


def attribute(
    modality: str,
    runs: Runs,
    tasks: Mapping[str, TaskParams],
    *,
    groups: Mapping[str, pd.Series],
    weight_bytes: Mapping[str, int | None],
    seed: int,
) -> AttributionReport:
    """Compare the ensembles of `ensembles(teachers)`, and rank the teachers.

    Each task's groups are resampled, tasks apart and for all teachers alike. A kind is the mean of its
    tasks, and the whole the mean of the kinds. The intervals speak of other examples of the same tasks, not of other
    starts of a clustering.

    Args:
        modality: Of the teachers.
        runs: What each ensemble scored.
        tasks: Their kinds.
        groups: For a task that knows any, the group of each example by its id; a group is drawn whole.
        weight_bytes: Teacher: of its weights.
        seed: Of the resampling.
    """
    everyone, found = max(runs, key=len), []
    kinds = {task: tasks[task].kind for task in runs[everyone]}
    for teacher in everyone:
        others = runs[_without(everyone, teacher)]
        gains = {task: scores - others[task] for task, scores in runs[everyone].items()}
        drawn = {
            task: resampled_means(
                gain,
                groups=groups[task].loc[gain.index] if task in groups else None,
                resamples=RESAMPLES,
                generator=seeded(seed, f"attribution {task}"),
            )
            for task, gain in gains.items()
        }
        points, draws = _means(gains, kinds), over_kinds(drawn, kinds)
        by_kind = {kind: _interval(mean, draws[kind]) for kind, mean in points.items()}
        adds, weights = by_kind.pop(OVERALL), weight_bytes[teacher]
        found.append(
            Contribution(
                teacher=teacher,
                adds_nothing=not adds.above_zero,
                adds=adds,
                by_kind=by_kind,
                by_task={task: _interval(gain.mean(), drawn[task]) for task, gain in gains.items()},
                alone=_means(runs[(teacher,)], kinds),
                weight_bytes=weights,
                adds_per_gb=adds.mean / (weights / GB) if weights else None,
            )
        )
    return AttributionReport(
        modality=modality,
        tasks=group_by_kind(kinds),
        ensemble=_means(runs[everyone], kinds),
        contributions=tuple(sorted(found, key=lambda one: (-one.adds.mean, one.teacher))),
    )


def _without(everyone: Members, teacher: str) -> Members:
    return tuple(name for name in everyone if name != teacher)


def _interval(mean: float, drawn: NDArray[np.float64]) -> Interval:
    return interval(mean, drawn, confidence=CONFIDENCE)


def _means(by_task: Mapping[str, ByExample], kinds: Mapping[str, str]) -> dict[str, float]:
    """Return task kind, and `mean` for all kinds: the mean of the tasks' means over examples."""
    means = over_kinds({task: scores.mean() for task, scores in by_task.items()}, kinds)
    return {kind: float(mean) for kind, mean in means.items()}
