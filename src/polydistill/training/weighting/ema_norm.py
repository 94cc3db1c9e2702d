"""Divide each teacher's loss by its own moving size, so that none drowns another."""

from __future__ import annotations

import torch
from torch import Tensor

from polydistill.training.weighting import WEIGHTINGS, Weighting, weighted_mean

LEAST = 0.05
"""The least size that a loss is taken for, in its own unit."""


@WEIGHTINGS.register("ema-norm")
class EmaNorm(Weighting):
    """Weights are the inverse of an exponential moving average of the losses' absolute values, at least `LEAST`.

    Made for losses that are positive. A likelihood may cross zero, and its size there says nothing of its gradients: a
    teacher near zero counts up to `1 / LEAST` times as much as one at one nat. `per-dimension` and `uncertainty` suit it.

    Args:
        n_teachers: How many teachers there are.
        decay: Share of the average that stays at each step.
    """

    size: Tensor

    def __init__(self, n_teachers: int, *, decay: float = 0.99) -> None:
        super().__init__(n_teachers)
        self._decay = decay
        self.register_buffer("size", torch.zeros(n_teachers))

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """See `Weighting.forward`."""
        if self.training:
            with torch.no_grad():
                now = losses.detach().abs().to(self.size.dtype)
                fresh = torch.where(
                    self.size > 0, self._decay * self.size + (1 - self._decay) * now, now
                )
                self.size.copy_(torch.where(seen, fresh, self.size))
        sizes = torch.where(self.size > 0, self.size, torch.ones_like(self.size)).clamp(min=LEAST)
        return weighted_mean(losses, 1 / sizes, seen)
