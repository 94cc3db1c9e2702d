"""What each teacher adds: the score of all teachers less the score of all others, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polydistill.config.data import TaskParams
from polydistill.evaluation.scores import kind_means, mean_score
from polydistill.evaluation.statistics.bootstrap import Interval, interval, resampled_means
from polydistill.training.dataset import seeded

RESAMPLES = 10_000
CONFIDENCE = 0.95
OVERALL = "mean"
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
    everyone = max(runs, key=len)
    found = []
    for teacher in everyone:
        others, alone = runs[_without(everyone, teacher)], runs[(teacher,)]
        gains = {task: scores - others[task] for task, scores in runs[everyone].items()}
        drawn = {
            task: _resampled(gain, groups.get(task), seeded(seed, f"attribution {task}"))
            for task, gain in gains.items()
        }
        found.append(_contribution(teacher, gains, drawn, alone, tasks, weight_bytes[teacher]))
    return AttributionReport(
        modality=modality,
        tasks=_by_kind(runs[everyone], tasks),
        ensemble=_means(runs[everyone], tasks),
        contributions=tuple(sorted(found, key=lambda one: (-one.adds.mean, one.teacher))),
    )


def _without(everyone: Members, teacher: str) -> Members:
    return tuple(name for name in everyone if name != teacher)


def _resampled(
    gain: ByExample, groups: pd.Series | None, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the mean gain of `(RESAMPLES,)` drawn tasks."""
    own = None if groups is None else groups.loc[gain.index]
    return resampled_means(gain, groups=own, resamples=RESAMPLES, generator=generator)


def _contribution(
    teacher: str,
    gains: Mapping[str, ByExample],
    drawn: Mapping[str, NDArray[np.float64]],
    alone: Mapping[str, ByExample],
    tasks: Mapping[str, TaskParams],
    weight_bytes: int | None,
) -> Contribution:
    means = _means(gains, tasks)
    kinds = {
        kind: np.mean([drawn[task] for task in names], axis=0)
        for kind, names in _by_kind(gains, tasks).items()
    }
    adds = _interval(means[OVERALL], np.mean(list(kinds.values()), axis=0))
    return Contribution(
        teacher=teacher,
        adds_nothing=not adds.above_zero,
        adds=adds,
        by_kind={kind: _interval(means[kind], draws) for kind, draws in kinds.items()},
        by_task={task: _interval(gain.mean(), drawn[task]) for task, gain in gains.items()},
        alone=_means(alone, tasks),
        weight_bytes=weight_bytes,
        adds_per_gb=adds.mean / (weight_bytes / GB) if weight_bytes else None,
    )


def _interval(mean: float, drawn: NDArray[np.float64]) -> Interval:
    return interval(mean, drawn, confidence=CONFIDENCE)


def _means(by_task: Mapping[str, ByExample], tasks: Mapping[str, TaskParams]) -> dict[str, float]:
    """Return task kind, and `mean` for all kinds: the mean of the tasks' means over examples."""
    scores = {
        kind: {task: float(by_task[task].mean()) for task in names}
        for kind, names in _by_kind(by_task, tasks).items()
    }
    by_kind = kind_means({"": scores}, tasks)[""]
    return {**by_kind, OVERALL: mean_score(by_kind)}


def _by_kind(names: Iterable[str], tasks: Mapping[str, TaskParams]) -> dict[str, list[str]]:
    """Return task kind: its tasks."""
    kinds: dict[str, list[str]] = {}
    for task in names:
        kinds.setdefault(tasks[task].kind, []).append(task)
    return dict(sorted(kinds.items()))
