"""Teacher weighting plug-ins, one file each: a weighting decides what each teacher counts in the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from polydistill.contracts import FloatArray
from polydistill.plugins import Plugins
from polydistill.training.standardise import Standardiser, fit_standardiser

WEIGHTINGS: Plugins[Callable[..., Any]] = Plugins("weighting", __name__)


class Weighting(nn.Module):
    """Teachers side by side: each standardised by its own statistics, all counting alike.

    Buffers and parameters of a subclass are in every checkpoint; its parameters learn at the heads' rate.

    Args:
        n_teachers: How many teachers there are.
    """

    def __init__(self, n_teachers: int) -> None:
        super().__init__()
        self.n_teachers = n_teachers

    def fit(self, values: FloatArray, rows: NDArray[np.bool_]) -> Standardiser:
        """Return what brings one teacher's `values`, `(n, teacher_dim)`, to a common scale.

        `rows`, `(n,)`, are those that are trained on and that the teacher has.
        """
        return fit_standardiser(values, rows)

    def rescale(self, place: int, target: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002
        """Return the targets of the teacher at `place`, `(batch, teacher_dim)`, for this batch."""
        return target

    def settled(self, place: int, fitted: Standardiser) -> Standardiser:  # noqa: ARG002
        """Return what leads from the teacher at `place` to what its head predicts, when training is over."""
        return fitted

    def resume(self, place: int, settled: Standardiser) -> Standardiser:  # noqa: ARG002
        """Return what brings the teacher at `place` to what a head that was trained before predicts.

        `settled` is what `settled` gave at the end of that training; afterwards it gives the same again.
        """
        return settled

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """Reduce the teachers' mean losses to what is minimised.

        Args:
            losses: `(n_teachers,)`; zero where a teacher has no row in the batch.
            seen: `(n_teachers,)`, bool: false there.

        Returns:
            A scalar, of the losses' own size.
        """
        return losses.sum() / seen.sum().clamp(min=1)


def weighted_mean(losses: Tensor, weights: Tensor, seen: Tensor) -> Tensor:
    """Return the mean of the seen losses with weights of mean one among them."""
    weights = weights * seen
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)
