"""Keep the cosine geometry: similarities inside a batch follow the teachers' mean similarities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import require_rows


@GEOMETRY.register("consensus-similarity")
def consensus_similarity(
    student: Tensor,
    targets: Sequence[Tensor],
    masks: Sequence[Tensor],
    *,
    scale: float = 10.0,
    width_power: float = 0.0,
) -> Tensor:
    """Compare each row of the student's cosine matrix with the mean of the teachers'.

    Mutual information does not change under invertible maps of the student, so the likelihood alone leaves
    clustering and similarity to chance. Targets are standardised, hence centred: a teacher whose
    embeddings all point one way does not push the mean up.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` a teacher, standardised.
        masks: One `(batch,)` a teacher: false where it has no embedding.
        scale: Multiplies the mean squared difference, to bring it near the losses' size.
        width_power: A teacher counts in the mean as its width to this power. 0: all alike. 1: by their widths, as
            if all embeddings stood side by side; a few dimensions tell fewer examples apart.

    Returns:
        `(batch,)`: the scaled mean squared difference of each row's similarities to all others.

    Raises:
        ShapeError: A teacher's rows are not the student's.
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
