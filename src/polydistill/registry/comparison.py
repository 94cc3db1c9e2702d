"""Two models on the same tasks: how far apart, in the mean and on each task, and what noise explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polydistill.evaluation.statistics.bootstrap import Floats, Interval, interval, resampled_means


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
    """What changed, in the mean over task kinds and task by task."""

    mean: Interval
    tasks: Mapping[str, TaskChange]


def compare(
    pairs: Mapping[str, Pair], *, confidence: float = 0.95, resamples: int = 10_000
) -> Comparison:
    """Compare by a paired bootstrap of each task's examples, the tasks drawn apart.

    The mean counts each kind once, however many tasks it has. The same pairs give the same numbers,
    whatever other tasks stand beside them: each task's random numbers are seeded by its name.

    Raises:
        ShapeError: `before` and `after` of a task differ in length, or hold no finite numbers.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    draws, changes, p_values = {}, {}, []
    for task, pair in pairs.items():
        gains = np.asarray(pair.after - pair.before, dtype=np.float64)
        draws[task] = resampled_means(
            gains,
            groups=pair.groups,
            resamples=resamples,
            generator=np.random.default_rng(crc32(task.encode())),
        )
        changes[task] = interval(float(gains.mean()), draws[task], confidence=confidence)
        p_values.append((1 + int((draws[task] >= 0).sum())) / (1 + resamples))
    adjusted = dict(zip(pairs, holm(p_values), strict=True))
    kinds = {
        kind: [task for task, pair in pairs.items() if pair.kind == kind]
        for kind in sorted({pair.kind for pair in pairs.values()})
    }
    mean = fmean(fmean(changes[task].mean for task in tasks) for tasks in kinds.values())
    drawn = np.mean(
        [np.mean([draws[t] for t in tasks], axis=0) for tasks in kinds.values()], axis=0
    )
    return Comparison(
        mean=interval(mean, drawn, confidence=confidence),
        tasks={task: TaskChange(changes[task], adjusted[task]) for task in pairs},
    )


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
