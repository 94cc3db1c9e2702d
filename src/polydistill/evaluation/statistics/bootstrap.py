"""Bootstrap: resampled means of scores, and their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from polydistill.errors import ShapeError

Floats = NDArray[np.float64]
Groups = Mapping[str, pd.Series]
"""For each task with groups, the group of each example by its id. Whole groups are resampled."""
RESAMPLES = 10_000
CONFIDENCE = 0.95
DRAWS_AT_A_TIME = 4_000_000
"""Maximum number of random numbers in memory at once, which take 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of scores, with its bootstrap interval.

    Attributes:
        mean: The value on the given examples.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    mean: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0


def resampled_means(
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    generator: np.random.Generator,
) -> Floats:
    """Return bootstrap means of the scores, `(resamples,)` or `(resamples, n_columns)`.

    Each resample draws whole groups with replacement, as many as there are groups. All columns share the same draws, so
    the difference of two columns is a paired bootstrap. Resampled means of several tasks may be averaged before they
    are passed to `interval`.

    Args:
        scores: Scores per example, `(n_examples,)`, or `(n_examples, n_columns)` with one column per model.
        groups: Groups of dependent examples, such as the sentences of a document, `(n_examples,)`. They are drawn
            together, so that correlated examples do not make the interval too narrow. None: each example is a
            group.
        resamples: Number of resamples.
        generator: Random number generator of the resamples.

    Raises:
        ShapeError: `scores` has a wrong shape, is empty, or is not finite; or `groups` has a wrong length.

    References:
        Davison and Hinkley 1997, "Bootstrap methods and their application", section 3.8: the cluster bootstrap.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim not in {1, 2} or not values.size or not np.isfinite(values).all():
        raise ShapeError(
            f"`scores` must be finite numbers, (n_examples,) or (n_examples, n_columns), got shape {values.shape}."
        )
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    if names.shape != values.shape[:1]:
        raise ShapeError(f"`groups` must have shape {values.shape[:1]}, got {names.shape}.")
    codes = np.unique(names, return_inverse=True)[1]
    counts = np.bincount(codes).astype(np.float64)
    n_groups = len(counts)
    sums = np.zeros((n_groups, *values.shape[1:]))
    np.add.at(sums, codes, values)
    means = np.empty((resamples, *values.shape[1:]))
    step = max(1, DRAWS_AT_A_TIME // n_groups)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = generator.integers(0, n_groups, (part.stop - start, n_groups))
        if values.ndim == 1:
            means[part] = sums[drawn].sum(1) / counts[drawn].sum(1)
        else:
            flat = (drawn + np.arange(len(drawn))[:, None] * n_groups).ravel()
            times = np.bincount(flat, minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
            means[part] = (times @ sums) / (times @ counts)[:, None]
    return means


def resampled_columns(
    task: str, by_example: pd.DataFrame, groups: Groups | None = None, resamples: int = RESAMPLES
) -> Floats:
    """Return `resampled_means` of a task. The draws are seeded with the task's name.

    Args:
        task: The task's name.
        by_example: Scores with one row per example, indexed by its id, and one column per model.
        groups: See `Groups`.
        resamples: Number of resamples.
    """
    known = (groups or {}).get(task)
    return resampled_means(
        by_example.to_numpy(),
        groups=None if known is None else known.loc[by_example.index].to_numpy(),
        resamples=resamples,
        generator=np.random.default_rng(crc32(task.encode())),
    )


def interval(mean: float, resampled: ArrayLike, *, confidence: float = CONFIDENCE) -> Interval:
    """Return the central interval that contains a fraction `confidence`, in (0, 1), of the resampled means."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(resampled, dtype=np.float64), (tail, 1 - tail))
    return Interval(float(mean), float(low), float(high))


def two_sided_p(resampled: ArrayLike) -> float:
    """Return the two-sided bootstrap p-value, in (0, 1], of resampled differences against a difference of zero.

    Examples:
        >>> two_sided_p([0.1] * 99), two_sided_p([-0.1, 0.1] * 50)
        (0.02, 1.0)
    """
    values = np.asarray(resampled, dtype=np.float64)
    tail = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return min(1.0, 2 * (1 + tail) / (1 + len(values)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple tests by the Holm method. The order is kept.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".

    Examples:
        >>> holm([0.01, 0.5, 0.03])
        [0.03, 0.5, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted: list[float] = np.minimum(stepped, 1.0)[np.argsort(order)].tolist()
    return adjusted
