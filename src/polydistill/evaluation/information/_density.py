"""Marginal and conditional densities of a table.

`linear_view` computes coordinates in which diagonal Gaussians suffice, and the linear part of the conditional mean. The
marginal density is a Gaussian mixture. The conditional density is modelled by heads, which are initialised with a
mixture and the linear part.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from torch import Tensor

from polydistill.contracts import FloatArray, Prediction
from polydistill.evaluation.statistics.bootstrap import Floats
from polydistill.heads.low_rank import LowRankHeads
from polydistill.losses.gaussian_nll import gaussian_nll
from polydistill.training.dataset import seeded
from polydistill.training.standardise import fit_standardiser

Mask = NDArray[np.bool_]
RANK_TOLERANCE = 1e-9
"""Directions with a smaller share of the largest variance are treated as linearly dependent."""
PENALTIES = np.array([*np.geomspace(1e-7, 1e2, 19), np.inf])
"""Ridge penalties, in units of a standardised column's variance; infinity gives zero coefficients."""
MODES = (1, 2, 4)
MIN_LOG_SCALE, MAX_LOG_SCALE = -6.0, 4.0
REACH = 0.999
"""Maximum distance of an initial log scale from the middle of the soft clamp, as a share of the clamp's half-width."""
VARIANCE_FLOOR = 1e-4
"""Minimum variance of a mode, as a share of the total variance."""
HIDDEN = 128
BATCH_SIZE, CHUNK = 256, 2048
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.01
MAX_EPOCHS, PATIENCE, FALLS = 40, 2, 3
SLOWER = 0.2
NAME = "y"


@dataclass(frozen=True)
class LinearView:
    """Two tables in fitted coordinates, and a linear regression of the second table on the first.

    Attributes:
        x: The first table's columns and row norm, standardised, `(n, x_dim + 1)`.
        y: The second table, whitened and rotated so that the regression's residuals are uncorrelated, `(n, rank)`.
        coefficients: Regression coefficients of `y` on `x`, `(x_dim + 1, rank)`; zero where the validation rows show
            no linear relation.
    """

    x: FloatArray
    y: Floats
    coefficients: Floats


def linear_view(x: FloatArray, y: FloatArray, fit: Mask, validation: Mask) -> LinearView:
    """Fit coordinates and a ridge regression on the rows `fit`, and choose penalties on the rows `validation`.

    Neither an invertible map of `y` nor adding the norm of `x` as a column changes the mutual information. The norm is
    added because a small network would need many rows to learn it.

    Args:
        x: The first table, `(n, x_dim)`.
        y: The second table, `(n, y_dim)`.
        fit: Mask of the rows for the fit, `(n,)`.
        validation: Mask of the rows for validation, `(n,)`, disjoint from `fit`.
    """
    with_norm = np.column_stack([x, np.linalg.norm(x, axis=1)]).astype(np.float32)
    standard = fit_standardiser(with_norm, fit).apply(with_norm)
    white = _whiten(fit_standardiser(y, fit).apply(y).astype(np.float64), fit)
    known = standard.astype(np.float64)
    first = white - known @ _ridge(known, white, fit, validation)
    # (rank, rank); the columns stay white under a rotation
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
    """Return coefficients, `(x_dim, y_dim)`; each column of `y` has the penalty with the lowest validation error."""
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


@dataclass(frozen=True)
class Mixture:
    """A mixture of diagonal Gaussians.

    Attributes:
        log_weights: Logarithms of the modes' weights, `(modes,)`.
        mean: Means, `(modes, dim)`.
        log_scale: Logarithms of the standard deviations, `(modes, dim)`.
    """

    log_weights: Floats
    mean: Floats
    log_scale: Floats


def fit_mixture(values: Floats, fit: Mask, validation: Mask, seed: int) -> Mixture:
    """Fit a mixture to `values`, `(n, dim)`, and select the number of modes with the best validation likelihood.

    The scales are adjusted to the spread of the validation rows, because whitening or regression on the rows `fit`
    makes the spread of these rows smaller than that of other rows.
    """
    floor = math.exp(MIN_LOG_SCALE)
    there = np.maximum(np.sqrt((values[fit] ** 2).mean(axis=0)), floor)
    scale = np.maximum(np.sqrt((values[validation] ** 2).mean(axis=0)), floor)
    options = {
        "covariance_type": "diag",
        "reg_covar": VARIANCE_FLOOR,
        "init_params": "k-means++",  # with k-means, the default, the result depends on the order of threads
        "random_state": seed,
    }
    fitted = [GaussianMixture(modes, **options).fit(values[fit] / there) for modes in MODES]
    best = max(fitted, key=lambda one: float(one.score(values[validation] / scale)))
    log_scale = np.log(scale) + 0.5 * np.log(best.covariances_)
    return Mixture(np.log(best.weights_), best.means_ * scale, log_scale)


def marginal_nll(mixture: Mixture, y: Floats) -> Floats:
    """Return -log q(y) of each row, `(n,)`, in nats."""
    arrays = (mixture.mean, mixture.log_scale, mixture.log_weights)
    parts = [torch.from_numpy(part).float() for part in arrays]

    def predict(rows: slice) -> Prediction:
        return Prediction(*(part.expand(len(y[rows]), *part.shape) for part in parts))

    return _nll(predict, torch.from_numpy(y).float())


def conditional_nll(view: LinearView, fit: Mask, validation: Mask, seed: int) -> Floats:
    """Fit q(y | x), starting from the ridge regression and a mixture of its residuals.

    Returns:
        -log q(y | x) of each row, `(n,)`, in nats.
    """
    residuals = view.y - view.x @ view.coefficients
    heads = _start(view, fit_mixture(residuals, fit, validation, seed), seed)
    x, y = torch.from_numpy(view.x), torch.from_numpy(view.y).float()
    checked = torch.from_numpy(validation)
    _train(heads, (x[fit], y[fit]), (x[checked], y[checked]), seed)
    return _nll(lambda rows: heads(x[rows])[NAME], y)


@torch.no_grad()
def _start(view: LinearView, mixture: Mixture, seed: int) -> LowRankHeads:
    """Return heads that reproduce the ridge regression and the mixture of its residuals."""
    modes, dim = mixture.mean.shape
    heads = LowRankHeads(
        view.x.shape[1],
        {NAME: dim},
        torch.Generator().manual_seed(int(seeded(seed, "information").integers(2**63))),
        hidden=HIDDEN,
        modes=modes,
        min_log_scale=MIN_LOG_SCALE,
        max_log_scale=MAX_LOG_SCALE,
    )
    middle, reach = (MAX_LOG_SCALE + MIN_LOG_SCALE) / 2, (MAX_LOG_SCALE - MIN_LOG_SCALE) / 2
    clamped = np.clip((mixture.log_scale - middle) / reach, -REACH, REACH)
    log_scale = middle + reach * np.arctanh(clamped)
    slopes = np.tile(view.coefficients.T, (modes, 1))
    heads.mean.weight.zero_()
    heads.log_scale.weight.zero_()
    heads.mean.weight[:, : slopes.shape[1]] = torch.from_numpy(slopes)
    heads.mean.bias.copy_(torch.from_numpy(mixture.mean.reshape(-1)))
    heads.log_scale.bias.copy_(torch.from_numpy(log_scale.reshape(-1)))
    heads.log_weights.bias.copy_(torch.from_numpy(mixture.log_weights))
    return heads


def _train(
    heads: LowRankHeads, fit: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], seed: int
) -> None:
    """Minimise -log q(y | x) and keep the weights with the best validation loss, possibly the initial ones.

    After `PATIENCE` epochs without improvement, training resumes from the best weights with a lower learning rate. It
    stops after `FALLS` such reductions.
    """
    x, y = fit
    optimiser = torch.optim.AdamW(heads.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    best, kept = _validate(heads, validation), copy.deepcopy(heads.state_dict())
    waited = falls = 0
    for epoch in range(MAX_EPOCHS):
        order = torch.from_numpy(seeded(seed, f"order of epoch {epoch}").permutation(len(x)))
        for rows in order.split(BATCH_SIZE):
            optimiser.zero_grad()
            _losses(heads(x[rows])[NAME], y[rows]).mean().backward()
            optimiser.step()
        now = _validate(heads, validation)
        waited = 0 if now < best else waited + 1
        if now < best:
            best, kept = now, copy.deepcopy(heads.state_dict())
        if waited == PATIENCE:
            waited, falls = 0, falls + 1
            heads.load_state_dict(kept)
            for group in optimiser.param_groups:
                group["lr"] *= SLOWER
        if falls == FALLS:
            break
    heads.load_state_dict(kept)


def _validate(heads: LowRankHeads, rows: tuple[Tensor, Tensor]) -> float:
    x, y = rows
    return float(_nll(lambda part: heads(x[part])[NAME], y).mean())


@torch.no_grad()
def _nll(predict: Callable[[slice], Prediction], y: Tensor) -> Floats:
    """Return -log q of each row, `(n,)`, in nats, computed in chunks."""
    parts = [
        _losses(predict(slice(start, start + CHUNK)), y[start : start + CHUNK])
        for start in range(0, len(y), CHUNK)
    ]
    nats: NDArray[np.float64] = torch.cat(parts).double().numpy() * y.shape[1]
    return nats


def _losses(prediction: Prediction, y: Tensor) -> Tensor:
    """Return the loss of each row, `(batch,)`, in nats per dimension."""
    return gaussian_nll(prediction, y, torch.ones(len(y), dtype=torch.bool))
