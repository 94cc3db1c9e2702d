"""Learn what each teacher counts: a loss that stays high is trusted less."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("uncertainty")
class Uncertainty(Weighting):
    """Homoscedastic uncertainty, one learned number a teacher.

    Args:
        n_teachers: How many teachers there are.
        reach: The logarithms of the variances stay within plus and minus this: a likelihood may be negative, and
            would pull them to minus infinity.

    References:
        Kendall, Gal, Cipolla 2018, "Multi-task learning using uncertainty to weigh losses", equation 10.
    """

    def __init__(self, n_teachers: int, *, reach: float = 2.0) -> None:
        super().__init__(n_teachers)
        self._reach = reach
        self.log_variance = nn.Parameter(torch.zeros(n_teachers))

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """See `Weighting.forward`; without weights while the model is evaluated."""
        if not self.training:
            return super().forward(losses, seen)
        log_variance = self._reach * torch.tanh(self.log_variance / self._reach)
        terms = (losses * torch.exp(-log_variance) + log_variance) * seen
        return terms.sum() / seen.sum().clamp(min=1)
