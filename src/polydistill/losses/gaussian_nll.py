"""The paper's objective: the negative log-likelihood of a teacher's embedding given the student's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.errors import ParamsError
from polydistill.losses import LOSSES
from polydistill.losses._shapes import masked, require_shapes

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@LOSSES.register("gaussian-nll")
def gaussian_nll(
    prediction: Prediction, target: Tensor, mask: Tensor, *, beta: float = 0.0
) -> Tensor:
    r"""Bound a teacher's conditional entropy given the student, from above.

    .. math:: \ell = -\tfrac{1}{d} \log \sum_m w_m(s)\, \mathcal{N}\bigl(t;\ \mu_m(s),\ \sigma_m^2(s)\bigr)

    Dividing by the teacher's width :math:`d` keeps a wide teacher from drowning a narrow one. The
    mixture's weights sum to one over the modes, never over the batch.

    Args:
        prediction: See `contracts.Prediction`.
        target: The teacher's standardised embeddings, `(batch, teacher_dim)`.
        mask: False where the teacher has no embedding, `(batch,)`.
        beta: From 0 to 1: each dimension's gradient is multiplied by :math:`\sigma^{2\beta}`, so that what
            is hard to predict is not given up: 0 is the likelihood's own gradient, 1 gives the mean that of
            the squared error. The value stays the likelihood's. One mode only.

    Returns:
        `(batch,)`, in nats per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes do not fit one another.
        ParamsError: `beta` is out of bounds, or there are several modes.

    References:
        Formont et al. 2025, arXiv:2510.18680; the density estimator is Pichler et al., arXiv:2202.06618.
        `beta`: Seitzer et al. 2022, arXiv:2203.09168, equation 5.
    """
    require_shapes(prediction, target, mask)
    dim = target.shape[-1]
    standardised = (target.unsqueeze(1) - prediction.mean) * torch.exp(-prediction.log_scale)
    by_dim = 0.5 * standardised**2 + prediction.log_scale + HALF_LOG_TAU  # (batch, modes, dim)
    if beta:
        by_dim = _reweighted(by_dim, prediction.log_scale, beta)
    log_density = -by_dim.sum(dim=-1)
    log_likelihood = torch.logsumexp(log_density + prediction.log_weights, dim=-1)  # (batch,)
    return masked(-log_likelihood / dim, mask)


def _reweighted(by_dim: Tensor, log_scale: Tensor, beta: float) -> Tensor:
    """Multiply the gradient, and leave the value."""
    if not 0 <= beta <= 1 or by_dim.shape[1] != 1:
        raise ParamsError(
            f"loss.beta must be from 0 to 1, with heads.modes 1; got {beta} and {by_dim.shape[1]} modes."
        )
    weighted = by_dim * torch.exp(2 * beta * log_scale).detach()
    return by_dim.detach() + (weighted - weighted.detach())
