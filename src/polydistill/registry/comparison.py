"""Two models on the same tasks: the change in the mean and on each task, and how much of it is noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polydistill.evaluation.statistics.bootstrap import Floats, Interval, interval, resampled_means
from polydistill.evaluation.statistics.kinds import OVERALL, over_kinds


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models' scores on one task's examples, in the same order.

    Attributes:
        kind: The task's.
        before: `(n_examples,)`, of the model that is to be matched.
        after: `(n_examples,)`, of the model that is to match it.
        groups: `(n_examples,)`: what is drawn together; see `bootstrap.resampled_means`.
    """

    kind: str
    before: Floats
    after: Floats
    groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class TaskChange:
    """What changed on one task.

    Attributes:
        change: The mean of `after` minus that of `before`.
        p_worse: How probable so low a change is where the task has not become worse, in (0, 1]; after Holm.
    """

    change: Interval
    p_worse: float


@dataclass(frozen=True)
class Comparison:
    """What changed.

    Attributes:
        mean: The change in the mean over task kinds.
        before: That mean, of the model that is to be matched.
        after: The same of the other model.
        tasks: Task: what changed.
    """

    mean: Interval
    before: float
    after: float
    tasks: Mapping[str, TaskChange]


def compare(
    pairs: Mapping[str, Pair], *, confidence: float = 0.95, resamples: int = 10_000
) -> Comparison:
    """Compare by a paired bootstrap of each task's examples, each task drawn by itself.

    The same pairs give the same numbers, whatever the other tasks are: each task's random numbers are seeded
    by its name.

    Raises:
        ShapeError: `before` and `after` of a task differ in length, or hold no finite numbers.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    kinds = {task: pair.kind for task, pair in pairs.items()}
    gains = {task: np.asarray(one.after - one.before, np.float64) for task, one in pairs.items()}
    points = {task: float(gain.mean()) for task, gain in gains.items()}
    draws = {
        task: resampled_means(
            gain,
            groups=pairs[task].groups,
            resamples=resamples,
            generator=np.random.default_rng(crc32(task.encode())),
        )
        for task, gain in gains.items()
    }
    p_values = holm([(1 + int((one >= 0).sum())) / (1 + resamples) for one in draws.values()])
    overall, before, after = (
        float(over_kinds(means, kinds)[OVERALL])
        for means in (
            points,
            {task: pair.before.mean() for task, pair in pairs.items()},
            {task: pair.after.mean() for task, pair in pairs.items()},
        )
    )
    tasks = {
        task: TaskChange(interval(points[task], draws[task], confidence=confidence), p_worse)
        for task, p_worse in zip(pairs, p_values, strict=True)
    }
    change = interval(overall, over_kinds(draws, kinds)[OVERALL], confidence=confidence)
    return Comparison(change, before, after, tasks)


def holm(p_values: Sequence[float] | ArrayLike) -> list[float]:
    """Return p-values, adjusted so that one bound holds for all of them together.

    Examples:
        >>> holm([0.01, 0.5, 0.03])
        [0.03, 0.5, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
