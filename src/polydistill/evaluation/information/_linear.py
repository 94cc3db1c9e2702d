"""Coordinates in which diagonal Gaussians suffice, and the linear part of the conditional mean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.training.standardise import fit_standardiser

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RANK_TOLERANCE = 1e-9
"""Directions with a smaller share of the largest variance are treated as linearly dependent."""
PENALTIES = np.array([*np.geomspace(1e-7, 1e2, 19), np.inf])
"""Ridge penalties, in units of a standardised column's variance; infinity gives zero coefficients."""


@dataclass(frozen=True)
class LinearView:
    """Both tables in fitted coordinates, and a linear regression of the second on the first.

    Attributes:
        x: The columns and the norm, standardised, `(n, x_dim + 1)`.
        y: Whitened, and rotated so that the regression's residuals are uncorrelated, `(n, rank)`.
        coefficients: Regression coefficients of `y` on `x`, `(x_dim + 1, rank)`; zero where validation rows show
            no relation.
    """

    x: FloatArray
    y: Floats
    coefficients: Floats


def linear_view(x: FloatArray, y: FloatArray, fit: Mask, validation: Mask) -> LinearView:
    """Fit coordinates and a ridge regression on the rows `fit`, and choose penalties on the rows `validation`.

    Mutual information does not change under invertible maps of `y`, nor when the norm of `x` is added as a column. A
    small network would need many rows to learn the norm.

    Args:
        x: `(n, x_dim)`.
        y: `(n, y_dim)`.
        fit: `(n,)`.
        validation: `(n,)`, disjoint from `fit`.
    """
    with_norm = np.column_stack([x, np.linalg.norm(x, axis=1)]).astype(np.float32)
    standard = fit_standardiser(with_norm, fit).apply(with_norm)
    white = _whiten(fit_standardiser(y, fit).apply(y).astype(np.float64), fit)
    known = standard.astype(np.float64)
    first = white - known @ _ridge(known, white, fit, validation)
    # (rank, rank); a rotation keeps the columns white
    rotation = np.linalg.eigh(first[fit].T @ first[fit])[1]
    rotated = white @ rotation
    return LinearView(standard, rotated, _ridge(known, rotated, fit, validation))


def _whiten(values: Floats, fit: Mask) -> Floats:
    """Return whitened values, `(n, rank)`; their covariance over the rows `fit` is the identity."""
    used = values[fit]
    variances, directions = np.linalg.eigh(used.T @ used / len(used))
    kept = variances > RANK_TOLERANCE * variances.max(initial=0.0)
    return np.asarray(values @ (directions[:, kept] / np.sqrt(variances[kept])))


def _ridge(x: Floats, y: Floats, fit: Mask, validation: Mask) -> Floats:
    """Return coefficients, `(x_dim, y_dim)`; each column uses the penalty that validates best."""
    spread, directions = np.linalg.eigh(x[fit].T @ x[fit] / fit.sum())
    spread = np.maximum(spread, 0.0)[:, None]
    moments = directions.T @ (x[fit].T @ y[fit]) / fit.sum()  # (x_dim, y_dim)
    seen = x[validation] @ directions
    errors = [
        ((y[validation] - seen @ (moments / (spread + penalty))) ** 2).mean(axis=0)
        for penalty in PENALTIES
    ]
    best = PENALTIES[np.argmin(errors, axis=0)]  # (y_dim,)
    return np.asarray(directions @ (moments / (spread + best)))
