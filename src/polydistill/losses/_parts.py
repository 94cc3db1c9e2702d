"""What losses check, compute and mask alike."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.errors import ShapeError

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
    """Return those of each mode's normal densities, dimension by dimension: `(batch, modes, teacher_dim)`."""
    standardised = (target.unsqueeze(1) - prediction.mean) * torch.exp(-prediction.log_scale)
    return 0.5 * standardised**2 + prediction.log_scale + HALF_LOG_TAU


def mixture_nll(by_dim: Tensor, log_weights: Tensor) -> Tensor:
    """Return the mixture's, in nats per dimension, from those of its modes: `(batch,)`."""
    log_likelihood = torch.logsumexp(log_weights - by_dim.sum(dim=-1), dim=-1)
    return -log_likelihood / by_dim.shape[-1]
