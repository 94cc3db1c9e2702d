"""Drops teachers at random, except the one with the highest loss."""

import torch
from torch import Tensor

from polydistill.config.nodes import Share
from polydistill.training.processes import from_first
from polydistill.training.weighting import WEIGHTINGS, Weighting, weighted_mean


@WEIGHTINGS.register("teacher-dropping")
class TeacherDropping(Weighting):
    """In each step keeps the highest loss, and every other loss with probability `keep`.

    Uses torch's global random generator, whose state is in every checkpoint.

    Args:
        n_teachers: Number of teachers.
        keep: Probability of keeping each teacher except the one with the highest loss.

    References:
        Sariyildiz et al. 2024, "UNIC: universal classification models via multi-teacher distillation",
        arXiv:2408.05088: teacher dropping regularisation.
    """

    def __init__(self, n_teachers: int, *, keep: Share = 0.5) -> None:
        super().__init__(n_teachers)
        self._keep = keep

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """See `Weighting.forward`; drops no teacher in eval mode."""
        if not self.training:
            return super().forward(losses, seen)
        kept = from_first(torch.rand(self.n_teachers, device=losses.device) < self._keep)
        highest = losses.detach().masked_fill(~seen, -torch.inf).argmax(dim=0, keepdim=True)
        kept.index_fill_(0, highest, value=True)
        return weighted_mean(losses, kept.to(losses.dtype), seen)
