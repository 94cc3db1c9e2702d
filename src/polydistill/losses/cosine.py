"""Baseline loss: one minus the cosine between the predicted mean and the target."""

import torch
from torch import Tensor

from polydistill.contracts import Prediction
from polydistill.losses import LOSSES
from polydistill.losses._parts import masked, mixture_mean, require_shapes


@LOSSES.register("cosine")
def cosine(prediction: Prediction, target: Tensor, mask: Tensor) -> Tensor:
    """Return one minus the cosine between the predicted mean and the target.

    Returns:
        `(batch,)`, in [0, 2]; zero where `mask` is false.

    Raises:
        ShapeError: The shapes of the arguments do not match.
    """
    require_shapes(prediction, target, mask)
    similarity = torch.nn.functional.cosine_similarity(mixture_mean(prediction), target, dim=-1)
    return masked(1 - similarity, mask)
