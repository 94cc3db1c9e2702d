"""A baseline: the mean squared error of the heads' mean."""

from __future__ import annotations

from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from polydistill.losses._parts import masked, mixture_mean, require_shapes


@LOSSES.register("mse")
def mse(prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
    """Compare the predicted mean with the teacher's embedding, dimension by dimension.

    Returns:
        `(batch,)`, squared standard deviations per teacher dimension; zero where `mask` is false.

    Raises:
        ShapeError: The shapes do not fit one another.
    """
    require_shapes(prediction, target, mask)
    return masked(((mixture_mean(prediction) - target) ** 2).mean(dim=-1), mask)
