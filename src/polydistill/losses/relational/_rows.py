"""Checks, pair masks and means that the relational terms share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from polydistill.errors import ShapeError


def require_rows(student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Check that every teacher has as many rows as the student.

    Raises:
        ShapeError: A target or a mask has a different number of rows.
    """
    batch = len(student)
    for target, mask in zip(targets, masks, strict=True):
        if len(target) != batch:
            raise ShapeError(f"Targets must have {batch} rows, got {len(target)}.")
        if mask.shape != (batch,):
            raise ShapeError(f"Masks must have shape ({batch},), got {tuple(mask.shape)}.")


def other_pairs(mask: Tensor) -> Tensor:
    """Return `(batch, batch)`: true for two different rows if the teacher has both."""
    return (
        mask[:, None] & mask[None, :] & ~torch.eye(len(mask), dtype=torch.bool, device=mask.device)
    )


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of each row of `values`, `(batch, n)`, over `counted`; zero if no element is counted."""
    kept = torch.where(counted, values, torch.zeros_like(values))
    return kept.sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)


def mean_over_pairs(
    student: Tensor,
    targets: Sequence[Tensor],
    masks: Sequence[Tensor],
    scale: float,
    differences: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return `(batch,)`: the mean of each row's scaled differences over the other rows, then over the teachers.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` per teacher.
        masks: One `(batch,)` per teacher.
        scale: Factor that multiplies the differences.
        differences: Maps a teacher's targets, and the mask of its pairs of rows, to differences `(batch, batch)`.

    Raises:
        ShapeError: See `require_rows`.
    """
    require_rows(student, targets, masks)
    pairs = [other_pairs(mask) for mask in masks]
    terms = [
        scale * mean_over(differences(target.to(student.dtype), own), own)
        for target, own in zip(targets, pairs, strict=True)
    ]
    return mean_over_teachers(terms, [own.any(dim=-1) for own in pairs])


def mean_over_teachers(terms: Sequence[Tensor], counted: Sequence[Tensor]) -> Tensor:
    """Return `(batch,)`: the mean over teachers of `terms`, each `(batch,)`, where `counted` is true."""
    return mean_over(torch.stack(list(terms), dim=-1), torch.stack(list(counted), dim=-1))
