"""The Gaussian likelihood with reweighted gradients, so that dimensions that are hard to predict are still learned."""

from torch import Tensor

from polydistill.config.nodes import Share
from polydistill.contracts import Prediction
from polydistill.errors import ParamsError
from polydistill.losses import LOSSES
from polydistill.losses._parts import masked, mixture_nll, require_shapes, reweighted_log_densities


@LOSSES.register("beta-nll")
def beta_nll(prediction: Prediction, target: Tensor, mask: Tensor, *, beta: Share = 0.5) -> Tensor:
    r"""Return the value of `gaussian-nll`, with each dimension's gradient multiplied by a power of its variance.

    The likelihood divides a dimension's error by its predicted variance. Where the student predicts badly, the
    scale grows and the mean stops learning. This loss multiplies the gradient by :math:`\sigma^{2\beta}` and
    leaves the value unchanged.

    Args:
        prediction: See `contracts.Prediction`.
        target: The teacher's standardised embeddings, `(batch, teacher_dim)`.
        mask: False where the teacher has no embedding, `(batch,)`.
        beta: In [0, 1]. 0 keeps the likelihood's gradient; 1 gives the mean the gradient of the squared error.

    Returns:
        `(batch,)`, in nats per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes of the arguments do not match.
        ParamsError: `beta` is not in [0, 1].

    References:
        Seitzer, Tavakoli, Antic, Martius 2022, arXiv:2203.09168, equation 5, for one mode. With several
        modes, the gradient of each mode is multiplied by the same power of its own variance.
    """
    require_shapes(prediction, target, mask)
    if not 0 <= beta <= 1:
        raise ParamsError(f"loss.beta must be from 0 to 1, got {beta}.")
    return masked(mixture_nll(prediction, reweighted_log_densities(prediction, target, beta)), mask)
