"""What relational terms share: which pairs count, and the mean over them and over teachers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polydistill.errors import ShapeError


def require_rows(student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Refuse teachers whose rows are not the student's.

    Raises:
        ShapeError: A target or a mask has another number of rows.
    """
    batch = len(student)
    for target, mask in zip(targets, masks, strict=True):
        if len(target) != batch:
            raise ShapeError(f"Targets must have {batch} rows, got {len(target)}.")
        if mask.shape != (batch,):
            raise ShapeError(f"Masks must have shape ({batch},), got {tuple(mask.shape)}.")


def other_pairs(mask: Tensor) -> Tensor:
    """Return `(batch, batch)`: whether a teacher has both rows, and they are two."""
    return (
        mask[:, None] & mask[None, :] & ~torch.eye(len(mask), dtype=torch.bool, device=mask.device)
    )


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of each row of `values`, `(batch, n)`, where `counted`; zero where nothing is."""
    kept = torch.where(counted, values, torch.zeros_like(values))
    return kept.sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)


def mean_over_teachers(terms: Sequence[Tensor], counted: Sequence[Tensor]) -> Tensor:
    """Return `(batch,)`: the mean of the teachers' terms, each `(batch,)`, where they count."""
    return mean_over(torch.stack(list(terms), dim=-1), torch.stack(list(counted), dim=-1))
