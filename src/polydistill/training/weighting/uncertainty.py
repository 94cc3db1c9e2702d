"""Learns each teacher's weight: a persistently high loss gets a lower weight."""

import torch
from torch import Tensor, nn

from polydistill.config.nodes import Factor
from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("uncertainty")
class Uncertainty(Weighting):
    """Weighting by homoscedastic uncertainty, with one learned number per teacher.

    Args:
        n_teachers: Number of teachers.
        reach: Bound on the absolute value of the log variances. Without this bound, a negative loss would drive
            the log variances to minus infinity.

    References:
        Kendall, Gal, Cipolla 2018, "Multi-task learning using uncertainty to weigh losses", equation 10.
    """

    def __init__(self, n_teachers: int, *, reach: Factor = 2.0) -> None:
        super().__init__(n_teachers)
        self._reach = reach
        self.log_variance = nn.Parameter(torch.zeros(n_teachers))

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """See `Weighting.forward`; the weights are equal in eval mode."""
        if not self.training:
            return super().forward(losses, seen)
        log_variance = self._reach * torch.tanh(self.log_variance / self._reach)
        terms = (losses * torch.exp(-log_variance) + log_variance) * seen
        return terms.sum() / seen.sum().clamp(min=1)
