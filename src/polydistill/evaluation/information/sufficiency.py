"""Information sufficiency: estimated mutual information between two tables of embeddings on held-out rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from polydistill.contracts import FloatArray
from polydistill.errors import DataError
from polydistill.evaluation.information import _density
from polydistill.evaluation.statistics.bootstrap import interval, resampled_means
from polydistill.training.dataset import seeded

VALIDATION_SHARE = 0.15
ROWS_PER_DIM = 2
"""Minimum number of fitted rows per dimension of `y`; with fewer, its covariance cannot be estimated."""
MIN_ROWS = 20
"""Of the validation."""


@dataclass(frozen=True)
class Sufficiency:
    """An estimate of the mutual information between two tables, with its 95 % bootstrap interval, in nats.

    The interval covers the choice of held-out rows, not the choice of rows for the fit.

    Attributes:
        nats: Mean over the held-out rows of log q(y | x) - log q(y).
        low: Lower end.
        high: Upper end.
        n_held_out: Number of rows of the mean.
    """

    nats: float
    low: float
    high: float
    n_held_out: int


def estimate_sufficiency(
    x: FloatArray,
    y: FloatArray,
    held_out: _density.Mask,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 2_000,
) -> Sufficiency:
    r"""Estimate :math:`\hat I(X; Y) = \hat h(Y) - \hat h(Y \mid X)`, in nats.

    Each entropy is a cross-entropy on held-out rows and thus an upper bound, but their difference is not a bound.
    Properties that keep it accurate, and remaining errors:

    - **The family is closed.** `y` is whitened and rotated so that a ridge regression's residuals
      are uncorrelated. For jointly Gaussian tables a diagonal Gaussian is then exact, for the
      marginal and the conditional. In other coordinates a diagonal marginal misses correlations that the regression
      explains away, and the difference grows with the width of `y`, even if `x` is independent.
    - **The marginal is nested in the conditional.** Both are mixtures of one, two or four diagonal
      Gaussians, fitted in the same way to `y` and to the ridge's residuals. Heads then make mean,
      scale and weights functions of `x` while the validation loss improves; if the marginal validates
      better, the conditional *is* the marginal. The error of estimating a covariance from few rows (tens
      of nats in hundreds of dimensions) thus cancels, and independent tables give about zero.
    - **Few rows make it too low**, by about `x_dim · y_dim / (2 n)` nats for n fitted rows if
      all columns are related; the estimate grows with n.
    - **A marginal of many more than four clusters** is modelled too coarsely, and the estimate is too
      high if `x` determines the cluster.
    - A `y` that `x` determines has infinite information: scales are softly bounded at exp(-6) standard
      deviations, which is six nats per dimension.

    Args:
        x: The given table, `(n, x_dim)`, finite.
        y: The predicted table with the same rows, `(n, y_dim)`, finite.
        held_out: Mask of the rows of the estimate, `(n,)`; the others are used for the fit.
        groups: Groups of rows, `(n,)`, which are kept together in the fit, the validation and the bootstrap.
        seed: Seed of the validation rows, the fit and the bootstrap.
        resamples: Number of bootstrap resamples.

    Raises:
        DataError: There are no held-out rows, or too few others for the width of `y`.

    References:
        Darrin et al. 2024, arXiv:2406.07640 (information sufficiency); Pichler et al. 2022,
        arXiv:2202.06618 (KNIFE: the difference of two learned entropies). The coordinates, the
        ridge and the nested start are additions; the papers' code gives -2.46 for a known 4.087 nats.
    """
    names = np.arange(len(y)) if groups is None else np.asarray(groups)
    if not held_out.any():
        raise DataError("`held_out` must name rows to estimate on, got none.")
    distinct, group_index = np.unique(names, return_inverse=True)
    chosen = seeded(seed, "validation rows").random(len(distinct)) < VALIDATION_SHARE
    validation = chosen[group_index] & ~held_out
    fit = ~held_out & ~validation
    needed = ROWS_PER_DIM * y.shape[1]
    if fit.sum() < needed or validation.sum() < MIN_ROWS:
        raise DataError(
            f"Information about {y.shape[1]} dimensions needs at least {needed} rows to fit on and "
            f"{MIN_ROWS} to validate on, got {fit.sum()} and {validation.sum()}: give more rows."
        )
    view = _density.linear_view(x, y, fit, validation)
    alone = _density.marginal_nll(_density.fit_mixture(view.y, fit, validation, seed), view.y)
    given = _density.conditional_nll(view, fit, validation, seed)
    if given[validation].mean() >= alone[validation].mean():
        given = alone
    gains = (alone - given)[held_out]
    generator = seeded(seed, "bootstrap of information")
    means = resampled_means(gains, groups=names[held_out], resamples=resamples, generator=generator)
    found = interval(float(gains.mean()), means)
    return Sufficiency(found.mean, found.low, found.high, len(gains))
