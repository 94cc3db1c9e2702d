"""The Gaussian likelihood with reweighted gradients, which does not give up what is hard to predict."""

from __future__ import annotations

from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.errors import ParamsError
from polydistill.losses import LOSSES
from polydistill.losses._density import reweighted_log_densities
from polydistill.losses._parts import masked, mixture_nll, require_shapes


@LOSSES.register("beta-nll")
def beta_nll(prediction: Prediction, target: Tensor, mask: Tensor, *, beta: float = 0.5) -> Tensor:
    r"""Return the value of `gaussian-nll`, with each dimension's gradient multiplied by its variance.

    The likelihood divides a dimension's error by its variance: where the student predicts badly, the scale
    grows and the mean stops learning. Here the gradient, not the value, is multiplied by
    :math:`\sigma^{2\beta}`.

    Args:
        prediction: See `contracts.Prediction`.
        target: The teacher's standardised embeddings, `(batch, teacher_dim)`.
        mask: False where the teacher has no embedding, `(batch,)`.
        beta: From 0, the likelihood's own gradient, to 1, which gives the mean that of the squared error.

    Returns:
        `(batch,)`, in nats per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes do not fit one another.
        ParamsError: `beta` is out of bounds.

    References:
        Seitzer, Tavakoli, Antic, Martius 2022, arXiv:2203.09168, equation 5, for one mode; with several,
        each mode's gradient is multiplied by its own variance.
    """
    require_shapes(prediction, target, mask)
    if not 0 <= beta <= 1:
        raise ParamsError(f"loss.beta must be from 0 to 1, got {beta}.")
    log_density = reweighted_log_densities(prediction, target, beta)
    return masked(mixture_nll(log_density, prediction.log_weights, target.shape[-1]), mask)
