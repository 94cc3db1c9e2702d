"""Shape checks, masks and reductions shared by the losses."""

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.errors import ShapeError


def require_shapes(prediction: Prediction, target: Tensor, mask: Tensor) -> None:
    """Check shapes, so that nothing is broadcast silently.

    Raises:
        ShapeError: The shape of `target` or `mask` does not fit `prediction.mean`.
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
    """Return `values` with zeros, and without gradient, where `mask` is false."""
    return torch.where(mask, values, torch.zeros_like(values))


def mixture_mean(prediction: Prediction) -> Tensor:
    """Return the mixture's mean, `(batch, teacher_dim)`."""
    return (prediction.log_weights.exp().unsqueeze(-1) * prediction.mean).sum(dim=1)


def mixture_nll(log_density: Tensor, log_weights: Tensor, dim: int) -> Tensor:
    """Return the mixture's negative log-likelihood, `(batch,)`, in nats per dimension.

    `log_density` and `log_weights` hold one number per mode, `(batch, modes)`.
    """
    return -torch.logsumexp(log_weights + log_density, dim=-1) / dim
