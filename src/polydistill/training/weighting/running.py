"""Standardise by statistics of the batches seen so far: no pass over the store before the first step."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polydistill.contracts import FloatArray
from polydistill.training.standardise import Standardiser
from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("running")
class Running(Weighting):
    """One mean and one scale a teacher, moving with the batches.

    Args:
        n_teachers: How many teachers there are.
        momentum: Share of a new batch in the statistics.
    """

    mean: Tensor
    variance: Tensor
    known: Tensor

    def __init__(self, n_teachers: int, *, momentum: float = 0.05) -> None:
        super().__init__(n_teachers)
        self._momentum = momentum
        self.register_buffer("mean", torch.zeros(n_teachers))
        self.register_buffer("variance", torch.ones(n_teachers))
        self.register_buffer("known", torch.zeros(n_teachers))

    def fit(self, values: FloatArray, rows: NDArray[np.bool_]) -> Standardiser:  # noqa: ARG002
        """See `Weighting.fit`: nothing is known yet."""
        dim = values.shape[1]
        return Standardiser(np.zeros(dim, np.float32), np.ones(dim, np.float32))

    def rescale(self, place: int, target: Tensor, mask: Tensor) -> Tensor:
        """See `Weighting.rescale`; learns from the batch while the model trains."""
        if self.training and bool(mask.any()):
            self._learn(place, target[mask])
        return (target - self.mean[place]) / self._deviation(place)

    def settled(self, place: int, fitted: Standardiser) -> Standardiser:
        """See `Weighting.settled`: the statistics as they are now."""
        return Standardiser(
            np.full_like(fitted.mean, float(self.mean[place])),
            np.full_like(fitted.std, float(self._deviation(place))),
        )

    def resume(self, place: int, settled: Standardiser) -> Standardiser:
        """See `Weighting.resume`: the statistics go on moving from where they were."""
        mean, std = float(settled.mean[0]), float(settled.std[0])
        self.mean[place], self.variance[place], self.known[place] = mean, std**2, 1.0
        return Standardiser(np.zeros_like(settled.mean), np.ones_like(settled.std))

    def _deviation(self, place: int) -> Tensor:
        return self.variance[place].clamp(min=1e-12).sqrt()

    @torch.no_grad()
    def _learn(self, place: int, values: Tensor) -> None:
        """Move the statistics towards the batch's; the first batch sets them.

        As the moving mean square less the square of the moving mean, without the difference of two large numbers.
        """
        share = self._momentum if self.known[place] > 0 else 1.0
        apart = values.mean() - self.mean[place]
        spread = values.var(correction=0) + (1 - share) * apart.square()
        self.mean[place] += share * apart
        self.variance[place] += share * (spread - self.variance[place])
        self.known[place] = 1.0
