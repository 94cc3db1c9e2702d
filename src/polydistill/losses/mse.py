"""Baseline loss: the mean squared error of the predicted mean."""

from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from polydistill.losses._parts import masked, mixture_mean, require_shapes


@LOSSES.register("mse")
def mse(prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
    """Return the mean squared error of the predicted mean.

    Returns:
        `(batch,)`, in squared standard deviations per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes of the arguments do not match.
    """
    require_shapes(prediction, target, mask)
    return masked(((mixture_mean(prediction) - target) ** 2).mean(dim=-1), mask)
