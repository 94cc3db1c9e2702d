"""What losses check, compute and mask alike."""

from __future__ import annotations

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.errors import ShapeError


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


def mixture_nll(log_density: Tensor, log_weights: Tensor, dim: int) -> Tensor:
    """Return the mixture's, in nats per dimension, from its modes' `(batch, modes)`: `(batch,)`."""
    return -torch.logsumexp(log_weights + log_density, dim=-1) / dim
