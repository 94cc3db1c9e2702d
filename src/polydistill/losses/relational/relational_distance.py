"""A baseline: relational distillation, distances inside a batch in units of their mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import (
    mean_over,
    mean_over_teachers,
    other_pairs,
    require_rows,
)


@GEOMETRY.register("relational-distance")
def relational_distance(
    student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor], *, scale: float = 1.0
) -> Tensor:
    """Compare Euclidean distances between examples, each divided by the mean of all of them.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` a teacher, standardised.
        masks: One `(batch,)` a teacher: false where it has no embedding.
        scale: Multiplies the Huber loss of the differences.

    Returns:
        `(batch,)`.

    Raises:
        ShapeError: A teacher's rows are not the student's.

    References:
        Park, Kim, Lu, Cho 2019, "Relational knowledge distillation", equation 7: RKD-D.
    """
    require_rows(student, targets, masks)
    terms, counted = [], []
    for target, mask in zip(targets, masks, strict=True):
        pairs = other_pairs(mask)
        own = _relative_distances(student, pairs)
        theirs = _relative_distances(target.to(student.dtype), pairs)
        terms.append(scale * mean_over(smooth_l1_loss(own, theirs, reduction="none"), pairs))
        counted.append(pairs.any(dim=-1))
    return mean_over_teachers(terms, counted)


def _relative_distances(values: Tensor, pairs: Tensor) -> Tensor:
    """Return `(batch, batch)` distances in units of their mean over `pairs`; zero elsewhere."""
    # Products would be faster, and lose the digits of what is near; a difference of all pairs fills the memory.
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist") * pairs
    mean = distances.sum() / pairs.sum().clamp(min=1)
    return distances / torch.where(mean > 0, mean, torch.ones_like(mean))
