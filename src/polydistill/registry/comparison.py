"""Paired comparison of two models: the change of the mean score and of each task's score, with intervals."""

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
        kind: The kind of the task.
        before: Scores of the reference model, `(n_examples,)`.
        after: Scores of the model that is compared with it, `(n_examples,)`.
        groups: Groups of examples that are drawn together, `(n_examples,)`; see `bootstrap.resampled_means`.
    """

    kind: str
    before: Floats
    after: Floats
    groups: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class TaskChange:
    """The change of the score of one task.

    Attributes:
        change: The mean of `after` minus the mean of `before`.
        p_worse: The p-value of "the score has become lower", in (0, 1], adjusted by `holm`.
    """

    change: Interval
    p_worse: float


@dataclass(frozen=True)
class Comparison:
    """The changes of all scores.

    Attributes:
        mean: The change of the mean over task kinds.
        before: The mean of the reference model.
        after: The mean of the other model.
        tasks: The change by task.
    """

    mean: Interval
    before: float
    after: float
    tasks: Mapping[str, TaskChange]


def compare(
    pairs: Mapping[str, Pair], *, confidence: float = 0.95, resamples: int = 10_000
) -> Comparison:
    """Compare two models by a paired bootstrap of each task's examples.

    The random numbers of a task are seeded by its name, so that its interval does not depend on the other tasks.

    Raises:
        ShapeError: `before` and `after` of a task differ in length, or hold no finite numbers.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    kinds = {task: pair.kind for task, pair in pairs.items()}
    gains = {task: np.asarray(one.after - one.before, np.float64) for task, one in pairs.items()}
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
    points = {task: float(gain.mean()) for task, gain in gains.items()}
    before = {task: pair.before.mean() for task, pair in pairs.items()}
    after = {task: pair.after.mean() for task, pair in pairs.items()}
    mean, mean_before, mean_after = (
        float(over_kinds(scores, kinds)[OVERALL]) for scores in (points, before, after)
    )
    tasks = {
        task: TaskChange(interval(points[task], draws[task], confidence=confidence), p_worse)
        for task, p_worse in zip(pairs, p_values, strict=True)
    }
    change = interval(mean, over_kinds(draws, kinds)[OVERALL], confidence=confidence)
    return Comparison(change, mean_before, mean_after, tasks)


def holm(p_values: Sequence[float] | ArrayLike) -> list[float]:
    """Return p-values adjusted for multiple tests, in the given order.

    Examples:
        >>> holm([0.01, 0.5, 0.03])
        [0.03, 0.5, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted: list[float] = np.minimum(stepped, 1.0)[np.argsort(order)].tolist()
    return adjusted
