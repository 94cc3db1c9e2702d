"""Maximum mean discrepancy: a test whether two samples of embeddings come from one distribution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polydistill.errors import ShapeError

Floats = NDArray[np.float64]
LABELINGS_AT_A_TIME = 250
"""Number of labellings computed at once, which bounds the memory: with 2,000 pooled rows, 4 MB per matrix."""


@dataclass(frozen=True)
class MmdTest:
    """The result of the test.

    Attributes:
        mmd2: The unbiased estimate of the squared discrepancy, dimensionless; it may be negative if there is none.
        p: The share of random labellings with at least this discrepancy, in (0, 1].
        bandwidth: Bandwidth of the Gaussian kernel, in the embeddings' unit.
    """

    mmd2: float
    p: float
    bandwidth: float


def mmd_test(
    reference: ArrayLike,
    incoming: ArrayLike,
    *,
    permutations: int = 499,
    generator: np.random.Generator,
) -> MmdTest:
    r"""Test whether two samples come from one distribution, with a Gaussian kernel.

    .. math:: \widehat{\mathrm{MMD}}^2_u = \frac{\sum_{i \ne j} k(x_i, x_j)}{m(m-1)}
        + \frac{\sum_{i \ne j} k(y_i, y_j)}{n(n-1)} - \frac{2}{mn} \sum_{i,j} k(x_i, y_j)

    Under the null hypothesis all rows are exchangeable, so the labels of *both* samples, pooled, are permuted, and :math:`p = (1 + \#\{\mathrm{MMD}^2_\pi \ge \mathrm{MMD}^2\}) / (1 + P)`
    is valid whatever the sample size. Resampling the reference alone would ignore the variance of
    the incoming rows and find drift where there is none. The bandwidth is the median distance in the pooled sample,
    which does not depend on the labelling, so the test is exact.

    Args:
        reference: `(m, dim)`, at least two rows.
        incoming: `(n, dim)`, at least two rows.
        permutations: Number of random labellings.
        generator: Random generator of the labellings.

    Raises:
        ShapeError: The samples differ in width, have fewer than two rows, or are not finite.

    References:
        Gretton et al. 2012, "A kernel two-sample test", JMLR 13: equation 3 and section 8 (the median); Phipson and
        Smyth 2010, "Permutation p-values should never be zero", doi:10.2202/1544-6115.1585: the ones in `p`.
    """
    first, second = _sample("reference", reference), _sample("incoming", incoming)
    if first.shape[1] != second.shape[1]:
        raise ShapeError(f"`incoming` must have width {first.shape[1]}, got {second.shape[1]}.")
    distances = squared_distances(np.concatenate([first, second]))
    bandwidth = median_distance(distances)
    kernel = np.exp(distances / (-2.0 * bandwidth**2))
    labels = np.zeros((1, len(kernel)))
    labels[0, : len(first)] = 1.0
    mmd2 = float(labelled_mmd2(kernel, labels)[0])
    at_least = 0
    for start in range(0, permutations, LABELINGS_AT_A_TIME):
        size = min(LABELINGS_AT_A_TIME, permutations - start)
        drawn = generator.permuted(np.repeat(labels, size, axis=0), axis=1)
        tie = 1e-12  # tolerance for the same labelling summed in another order
        at_least += int((labelled_mmd2(kernel, drawn) >= mmd2 - tie).sum())
    return MmdTest(mmd2, (1 + at_least) / (1 + permutations), bandwidth)


def squared_distances(rows: Floats) -> Floats:
    """Return squared distances, `(n, n)`, non-negative and exactly zero on the diagonal."""
    centred = rows - rows.mean(axis=0)  # reduces cancellation
    norms = (centred**2).sum(axis=1)
    distances = norms[:, None] + norms[None, :] - 2.0 * centred @ centred.T
    np.fill_diagonal(distances, 0.0)
    return np.asarray(np.maximum(distances, 0.0))


def median_distance(distances: Floats) -> float:
    """Return the median distance between different rows, or one if more than half of the pairs are equal.

    Args:
        distances: Squared, `(n, n)`.
    """
    pairs = distances[np.triu_indices(len(distances), k=1)]
    median = float(np.median(np.sqrt(pairs)))
    return median if median > 0 else 1.0


def labelled_mmd2(kernel: Floats, labels: Floats) -> Floats:
    """Return the unbiased estimate for each labelling, `(n_labelings,)`.

    Args:
        kernel: `(n, n)`, symmetric, ones on the diagonal.
        labels: `(n_labelings, n)`: one for rows of the first sample, zero for the second's.
    """
    n_first = labels.sum(axis=1)
    n_second = labels.shape[1] - n_first
    towards_first = labels @ kernel  # (n_labelings, n)
    within = (towards_first * labels).sum(axis=1)
    across = towards_first.sum(axis=1) - within
    rest = kernel.sum() - within - 2.0 * across
    first = (within - n_first) / (n_first * (n_first - 1))
    second = (rest - n_second) / (n_second * (n_second - 1))
    return np.asarray(first + second - 2.0 * across / (n_first * n_second))


def _sample(name: str, values: ArrayLike) -> Floats:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 2 or len(sample) < 2 or not np.isfinite(sample).all():
        raise ShapeError(f"`{name}` must be (2 or more, dim) and finite, got {sample.shape}.")
    return sample
