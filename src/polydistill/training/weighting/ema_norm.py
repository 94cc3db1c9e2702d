"""Divides each teacher's loss by a moving average of its size."""

import torch
from torch import Tensor

from polydistill.config.nodes import Below1
from polydistill.training.weighting import WEIGHTINGS, Weighting, weighted_mean

LEAST = 0.05
"""Lower bound of a loss' size, in the loss' unit."""


@WEIGHTINGS.register("ema-norm")
class EmaNorm(Weighting):
    """Weights are the inverse of an exponential moving average of the losses' absolute values, at least `LEAST`.

    Use it with positive losses. A likelihood loss may cross zero, where its size is unrelated to its gradients. A
    teacher with a loss near zero would get up to `1 / LEAST` times the weight of a teacher with a loss of one nat.
    With likelihood losses use `per-dimension` or `uncertainty`.

    Args:
        n_teachers: Number of teachers.
        decay: Decay of the moving average per step.
    """

    size: Tensor

    def __init__(self, n_teachers: int, *, decay: Below1 = 0.99) -> None:
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
