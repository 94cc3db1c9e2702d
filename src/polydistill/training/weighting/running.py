"""Standardises each teacher by running statistics of the batches, without a pass over the data before training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polydistill.config.nodes import Share
from polydistill.training.standardise import Rows, Standardiser
from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("running")
class Running(Weighting):
    """One running mean and one running standard deviation per teacher, the same for all dimensions.

    Args:
        n_teachers: Number of teachers.
        momentum: Weight of a new batch in the running statistics.
    """

    mean: Tensor
    variance: Tensor
    known: Tensor

    def __init__(self, n_teachers: int, *, momentum: Share = 0.05) -> None:
        super().__init__(n_teachers)
        self._momentum = momentum
        self.register_buffer("mean", torch.zeros(n_teachers))
        self.register_buffer("variance", torch.ones(n_teachers))
        self.register_buffer("known", torch.zeros(n_teachers))

    def fit(self, values: Rows, rows: NDArray[np.bool_]) -> Standardiser:  # noqa: ARG002
        """See `Weighting.fit`; embeddings are standardised later, by `rescale`."""
        return Standardiser.unchanged(values.shape[1])

    def rescale(self, teacher_index: int, target: Tensor, mask: Tensor) -> Tensor:
        """See `Weighting.rescale`; updates the statistics in training mode."""
        if self.training and bool(mask.any()):
            self._learn(teacher_index, target[mask])
        return (target - self.mean[teacher_index]) / self._deviation(teacher_index)

    def settled(self, teacher_index: int, fitted: Standardiser) -> Standardiser:
        """See `Weighting.settled`; returns the current statistics."""
        return Standardiser(
            np.full_like(fitted.mean, float(self.mean[teacher_index])),
            np.full_like(fitted.std, float(self._deviation(teacher_index))),
        )

    def resume(self, teacher_index: int, settled: Standardiser) -> Standardiser:
        """See `Weighting.resume`; the running statistics continue from the earlier ones."""
        self.mean[teacher_index] = float(settled.mean[0])
        self.variance[teacher_index] = float(settled.std[0]) ** 2
        self.known[teacher_index] = 1.0
        return Standardiser.unchanged(len(settled.mean))

    def _deviation(self, teacher_index: int) -> Tensor:
        return self.variance[teacher_index].clamp(min=1e-12).sqrt()

    @torch.no_grad()
    def _learn(self, teacher_index: int, values: Tensor) -> None:
        """Update the statistics with a batch; the first batch sets them.

        The variance equals the running mean square minus the squared running mean, but this formula avoids the
        rounding error of subtracting two large numbers.
        """
        share = self._momentum if self.known[teacher_index] > 0 else 1.0
        apart = values.mean() - self.mean[teacher_index]
        spread = values.var(correction=0) + (1 - share) * apart.square()
        self.mean[teacher_index] += share * apart
        self.variance[teacher_index] += share * (spread - self.variance[teacher_index])
        self.known[teacher_index] = 1.0
