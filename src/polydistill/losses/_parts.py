"""Functions shared by the losses: shape checks, masks, and the mixture's mean and density with its gradient."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import LowRankMultivariateNormal

from polydistill.contracts import Prediction, without_autocast
from polydistill.errors import ParamsError, ShapeError

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


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


def mixture_nll(prediction: Prediction, log_density: Tensor) -> Tensor:
    """Return the mixture's negative log-likelihood, `(batch,)`, in nats per dimension.

    `log_density` holds one number per mode, `(batch, modes)`.
    """
    mixed = torch.logsumexp(prediction.log_weights + log_density, dim=-1)
    return -mixed / prediction.mean.shape[-1]


def log_densities(prediction: Prediction, target: Tensor) -> Tensor:
    """Return the log density of `target` under each mode, `(batch, modes)`."""
    if prediction.factor is None:
        return reweighted_log_densities(prediction, target, 0.0)
    # The squared distance is a difference of two large numbers, so float32 would lose precision.
    factor = prediction.factor.double().expand(len(target), -1, -1, -1)
    scales = torch.exp(2 * prediction.log_scale.double())
    with without_autocast(scales):
        modes = LowRankMultivariateNormal(
            prediction.mean.double(), factor, scales, validate_args=False
        )
        densities: Tensor = modes.log_prob(target.double().unsqueeze(1))
    return densities.to(target.dtype)


def reweighted_log_densities(prediction: Prediction, target: Tensor, beta: float) -> Tensor:
    r"""Return `log_densities`, with each dimension's gradient multiplied by :math:`\sigma^{2\beta}`.

    With a triangular covariance, the dimensions are those of the decorrelated residuals. The determinant of the
    triangular factor is one, so the density needs no further term.

    Raises:
        ParamsError: The covariance is low-rank, so its dimensions cannot be separated.
    """
    if prediction.factor is not None:
        raise ParamsError(
            "beta-nll needs heads.covariance diagonal or triangular, got low-rank: use gaussian-nll."
        )
    residual = prediction.mean - target.unsqueeze(1)
    if prediction.triangle is not None:
        with without_autocast(residual):
            residual = torch.einsum("bmi,mij->bmj", residual, prediction.triangle)
    densities: Tensor = _LogDensity.apply(residual, prediction.log_scale, beta)  # type: ignore[no-untyped-call]
    return densities


class _LogDensity(torch.autograd.Function):
    r"""Log density of independent Gaussians: :math:`-\sum_j \tfrac{1}{2} z_j^2 + \log \sigma_j + \tfrac{1}{2} \log 2\pi`, :math:`z = r / \sigma`.

    Built-in torch operations would write more arrays of the size of the teachers' embeddings in the forward and
    backward passes. This takes longer than computing small heads; `python -m bench heads` measures the time.
    """

    @staticmethod
    def forward(ctx: Any, residual: Tensor, log_scale: Tensor, beta: float) -> Tensor:
        standardised = torch.neg(log_scale).exp_().mul_(residual)
        ctx.save_for_backward(standardised, log_scale)
        ctx.beta = beta
        nats: Tensor = torch.linalg.vector_norm(standardised, dim=-1).square_().mul_(0.5)
        nats += log_scale.sum(dim=-1) + HALF_LOG_TAU * residual.shape[-1]
        return nats.neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        standardised, log_scale = ctx.saved_tensors
        of_row = gradients[0].unsqueeze(-1)
        # d/dr = -z / sigma and d/d log sigma = z^2 - 1, each times sigma^(2 beta)
        of_residual = _power(log_scale, 2 * ctx.beta - 1).mul_(standardised).mul_(-of_row)
        of_scale = standardised.square().sub_(1).mul_(of_row)
        if ctx.beta:
            of_scale.mul_(_power(log_scale, 2 * ctx.beta))
        return of_residual, of_scale, None


def _power(log_scale: Tensor, exponent: float) -> Tensor:
    return torch.mul(log_scale, exponent).exp_()
