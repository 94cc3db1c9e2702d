"""Paired bootstrap: score differences of models on the same examples, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polydistill.errors import ParamsError, ShapeError

Floats = NDArray[np.float64]
DRAWS_AT_A_TIME = 4_000_000
"""Number of random numbers in memory at once: 32 MB."""


@dataclass(frozen=True)
class Interval:
    """A difference with its bootstrap interval, in the scores' unit.

    Attributes:
        mean: The difference on the given examples.
        low: Lower end.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def as_tuple(self) -> tuple[float, float, float]:
        """The interval as `(mean, low, high)`."""
        return self.mean, self.low, self.high

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.high < 0


def resampled_means(
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 10_000,
    generator: np.random.Generator,
) -> Floats:
    """Return bootstrap means, `(resamples,)`, of whole groups drawn with replacement.

    Each resample draws as many groups as there are. Resampled means of several tasks may be averaged before they are
    passed to `interval`.

    Args:
        scores: Scores per example, `(n_examples,)`.
        groups: Groups of dependent examples, such as the sentences of a document, `(n_examples,)`. They are drawn
            together, so that correlated examples do not make the interval too narrow. None: each example is a
            group.
        resamples: Number of resamples.
        generator: Random generator of the resamples.

    Raises:
        ShapeError: `scores` is not `(n_examples,)`, is empty, or holds NaN; or `groups` has another length.
        ParamsError: `resamples` is not positive.

    References:
        Davison and Hinkley 1997, "Bootstrap methods and their application", section 3.8: the cluster bootstrap.
    """
    values = _finite(scores, "a row", 1, resamples)
    sums, counts = _by_group(values, groups)
    means = np.empty(resamples)
    for part, drawn in _draws(resamples, len(sums), generator):
        means[part] = sums[drawn].sum(1) / counts[drawn].sum(1)
    return means


def resampled_columns(
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 10_000,
    generator: np.random.Generator,
) -> Floats:
    """Return each column's `resampled_means` with the same draws for all columns, `(resamples, n_columns)`.

    The difference of two columns is therefore a paired bootstrap of their difference.

    Args:
        scores: `(n_examples, n_columns)`, for example one column per model.
        groups: See `resampled_means`.
        resamples: Number of resamples.
        generator: Random generator of the resamples.

    Raises:
        ShapeError: `scores` is not `(n_examples, n_columns)`, is empty, or holds NaN; or `groups` has
            another length.
        ParamsError: `resamples` is not positive.
    """
    values = _finite(scores, "columns", 2, resamples)
    columns = [_by_group(column, groups) for column in values.T]
    sums = np.stack([total for total, _ in columns], axis=1)  # (n_groups, n_columns)
    counts, n_groups = columns[0][1], len(sums)
    means = np.empty((resamples, values.shape[1]))
    for part, drawn in _draws(resamples, n_groups, generator):
        flat = (drawn + np.arange(len(drawn))[:, None] * n_groups).ravel()
        times = np.bincount(flat, minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        means[part] = (times @ sums) / (times @ counts)[:, None]
    return means


def _finite(scores: ArrayLike, what: str, rank: int, resamples: int) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != rank or values.size == 0 or not np.isfinite(values).all():
        raise ShapeError(
            f"`scores` must be {what} of one or more finite numbers, got shape {values.shape}."
        )
    if resamples < 1:
        raise ParamsError(f"`resamples` must be at least 1, got {resamples}.")
    return values


def _draws(
    resamples: int, n_groups: int, generator: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Yield some of the resamples at a time: which ones, and the groups of each."""
    step = max(1, DRAWS_AT_A_TIME // n_groups)
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        yield part, generator.integers(0, n_groups, (part.stop - start, n_groups))


def _by_group(values: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return each group's sum and number of examples."""
    if groups is None:
        return values, np.ones_like(values)
    names = np.asarray(groups)
    if names.shape != values.shape:
        raise ShapeError(f"`groups` must have shape {values.shape}, got {names.shape}.")
    codes = np.unique(names, return_inverse=True)[1]
    sums = np.bincount(codes, weights=values).astype(np.float64)
    return sums, np.bincount(codes).astype(np.float64)


def interval(mean: float, resampled: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Return the central interval that contains the share `confidence` of the resampled means.

    Raises:
        ParamsError: `confidence` is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ParamsError(f"`confidence` must be in (0, 1), got {confidence}.")
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(resampled, dtype=np.float64), (tail, 1 - tail))
    return Interval(float(mean), float(low), float(high))
