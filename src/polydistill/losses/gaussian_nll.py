"""The paper's objective: the negative log-likelihood of a teacher's embedding given the student's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from polydistill.losses._shapes import masked, require_shapes

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@LOSSES.register("gaussian-nll")
def gaussian_nll(prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
    r"""Bound a teacher's conditional entropy given the student, from above.

    .. math:: \ell = -\tfrac{1}{d} \log \sum_m w_m(s)\, \mathcal{N}\bigl(t;\ \mu_m(s),\ \sigma_m^2(s)\bigr)

    Dividing by the teacher's width :math:`d` keeps a wide teacher from drowning a narrow one. The
    mixture's weights sum to one over the modes, never over the batch.

    Args:
        prediction: See `contracts.Prediction`.
        target: The teacher's standardised embeddings, `(batch, teacher_dim)`.
        mask: False where the teacher has no embedding, `(batch,)`.

    Returns:
        `(batch,)`, in nats per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes do not fit one another.

    References:
        Formont et al. 2025, arXiv:2510.18680; the density estimator is Pichler et al., arXiv:2202.06618.
    """
    require_shapes(prediction, target, mask)
    dim = target.shape[-1]
    standardised = (target.unsqueeze(1) - prediction.mean) * torch.exp(-prediction.log_scale)
    log_density = -(0.5 * standardised**2 + prediction.log_scale + HALF_LOG_TAU).sum(dim=-1)
    log_likelihood = torch.logsumexp(log_density + prediction.log_weights, dim=-1)  # (batch,)
    return masked(-log_likelihood / dim, mask)
