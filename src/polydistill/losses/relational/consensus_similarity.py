"""Relational term: the student's cosine similarities in a batch match the mean of the teachers' similarities."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from polydistill.config.nodes import Factor, Weight
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import require_rows


@GEOMETRY.register("consensus-similarity")
def consensus_similarity(
    student: Tensor,
    targets: Sequence[Tensor],
    masks: Sequence[Tensor],
    *,
    scale: Factor = 10.0,
    width_power: Weight = 0.0,
) -> Tensor:
    """Compare each row of the student's cosine matrix with the mean of the teachers'.

    Mutual information does not change under invertible maps of the student, so the likelihood alone does not
    determine cosine similarities, on which clustering and similarity tasks depend. Targets are standardised and
    therefore centred, so a teacher whose embeddings share one direction does not raise the mean similarity.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` per teacher, standardised.
        masks: One `(batch,)` per teacher, false where the teacher has no embedding.
        scale: Factor that multiplies the mean squared difference, so that it is about as large as the losses.
        width_power: A teacher's weight in the mean is its width to this power. 0: equal weights. 1: weights
            proportional to width, as if all embeddings were concatenated. Narrow teachers distinguish fewer examples.

    Returns:
        `(batch,)`: the scaled mean squared difference between each row's similarities to all other rows.

    Raises:
        ShapeError: A target or a mask has a different number of rows from `student`.
    """
    require_rows(student, targets, masks)
    batch = len(student)
    total = student.new_zeros(batch, batch)
    count = student.new_zeros(batch, batch)
    for target, mask in zip(targets, masks, strict=True):
        unit = normalize(target.to(student.dtype), dim=-1)
        weight = float(target.shape[1]) ** width_power
        both = weight * (mask[:, None] & mask[None, :]).to(student.dtype)
        total = total + (unit @ unit.T) * both
        count = count + both
    consensus = total / torch.where(count > 0, count, torch.ones_like(count))
    own = normalize(student, dim=-1)
    others = (count > 0) & ~torch.eye(batch, dtype=torch.bool, device=student.device)
    squares = (own @ own.T - consensus) ** 2 * others
    return scale * squares.sum(dim=-1) / others.sum(dim=-1).clamp(min=1)
