"""What losses check, compute and mask alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from polydistill.contracts import Prediction
from polydistill.errors import ParamsError, ShapeError
from polydistill.precision import without_autocast

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def require_shapes(prediction: Prediction, target: Tensor, mask: Tensor) -> None:
    """Refuse what would broadcast silently.

    Raises:
        ShapeError: A shape differs from the one that `prediction.mean` implies.
    """
    batch, modes, dim = prediction.mean.shape
    for name, tensor, expected in (
        ("target", target, (batch, dim)),
        ("mask", mask, (batch,)),
        ("prediction.log_scale", prediction.log_scale, (batch, modes, dim)),
        ("prediction.log_weights", prediction.log_weights, (batch, modes)),
    ):
        if tuple(tensor.shape) != expected:
            raise ShapeError(f"`{name}` must have shape {expected}, got {tuple(tensor.shape)}.")


def masked(values: Tensor, mask: Tensor) -> Tensor:
    """Put zeros where `mask` is false, and no gradient."""
    return torch.where(mask, values, torch.zeros_like(values))


def mixture_mean(prediction: Prediction) -> Tensor:
    """Return the mixture's mean, `(batch, teacher_dim)`."""
    return (prediction.log_weights.exp().unsqueeze(-1) * prediction.mean).sum(dim=1)


def negative_log_densities(prediction: Prediction, target: Tensor) -> Tensor:
    """Return those of each mode, dimension by dimension: `(batch, modes, teacher_dim)`.

    With a triangular precision they are those of the residuals that it decorrelates: its determinant is one.

    Raises:
        ParamsError: The covariance is of low rank, and has no dimensions apart.
    """
    if prediction.factor is not None:
        raise ParamsError(
            "A loss by dimension needs heads.covariance diagonal or triangular, got low-rank: use gaussian-nll."
        )
    residual = target.unsqueeze(1) - prediction.mean
    if prediction.triangle is not None:
        with without_autocast(residual):
            residual = torch.einsum("bmi,mij->bmj", residual, prediction.triangle)
    standardised = residual * torch.exp(-prediction.log_scale)
    return 0.5 * standardised**2 + prediction.log_scale + HALF_LOG_TAU


def log_densities(prediction: Prediction, target: Tensor) -> Tensor:
    """Return the logarithm of each mode's density, `(batch, modes)`."""
    if prediction.factor is None:
        return -negative_log_densities(prediction, target).sum(dim=-1)
    factor = prediction.factor.expand(len(target), -1, -1, -1)
    scales = torch.exp(2 * prediction.log_scale)
    with without_autocast(scales):
        modes = LowRankMultivariateNormal(prediction.mean, factor, scales, validate_args=False)
        densities: Tensor = modes.log_prob(target.unsqueeze(1))
    return densities


def mixture_nll(log_density: Tensor, log_weights: Tensor, dim: int) -> Tensor:
    """Return the mixture's, in nats per dimension, from its modes' `(batch, modes)`: `(batch,)`."""
    return -torch.logsumexp(log_weights + log_density, dim=-1) / dim
