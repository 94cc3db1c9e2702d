"""Baseline relational term: relational knowledge distillation of pairwise distances, divided by their mean."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from polydistill.config.nodes import Factor
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import mean_over_pairs


@GEOMETRY.register("relational-distance")
def relational_distance(
    student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor], *, scale: Factor = 1.0
) -> Tensor:
    """Compare the Euclidean distances between examples, divided by their mean in the batch.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` per teacher, standardised.
        masks: One `(batch,)` per teacher, false where the teacher has no embedding.
        scale: Factor that multiplies the Huber loss of the differences.

    Returns:
        `(batch,)`: each row's scaled mean Huber loss, averaged over teachers.

    Raises:
        ShapeError: A target or a mask has a different number of rows from `student`.

    References:
        Park, Kim, Lu, Cho 2019, "Relational knowledge distillation", equation 7: RKD-D.
    """

    def differences(target: Tensor, pairs: Tensor) -> Tensor:
        own, theirs = (_relative_distances(rows, pairs) for rows in (student, target))
        return smooth_l1_loss(own, theirs, reduction="none")

    return mean_over_pairs(student, targets, masks, scale, differences)


def _relative_distances(values: Tensor, pairs: Tensor) -> Tensor:
    """Return `(batch, batch)` distances in units of their mean over `pairs`; zero elsewhere."""
    # Matrix products are faster but inaccurate for similar rows; an array of all differences needs too much memory.
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist") * pairs
    mean = distances.sum() / pairs.sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, torch.ones_like(mean))
