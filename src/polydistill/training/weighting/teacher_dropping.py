"""Drop teachers at random, but never the one that is predicted worst."""

from __future__ import annotations

import torch
from torch import Tensor

from polydistill.training.weighting import WEIGHTINGS, Weighting, weighted_mean


@WEIGHTINGS.register("teacher-dropping")
class TeacherDropping(Weighting):
    """In each step the highest loss counts, and each other one with a chance.

    The draws come from torch's global generator, whose state is in every checkpoint.

    Args:
        n_teachers: How many teachers there are.
        keep: The chance of each other teacher.

    References:
        Sariyildiz et al. 2024, "UNIC: universal classification models via multi-teacher distillation",
        arXiv:2408.05088: teacher dropping regularisation.
    """

    def __init__(self, n_teachers: int, *, keep: float = 0.5) -> None:
        super().__init__(n_teachers)
        self._keep = keep

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """See `Weighting.forward`; without dropping while the model is evaluated."""
        if not self.training:
            return super().forward(losses, seen)
        kept = torch.rand(self.n_teachers, device=losses.device) < self._keep
        kept[losses.detach().masked_fill(~seen, -torch.inf).argmax()] = True
        return weighted_mean(losses, kept.to(losses.dtype), seen)
