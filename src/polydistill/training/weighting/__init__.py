"""Teacher weighting plug-ins, one file each; a weighting sets each teacher's weight in the loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from polydistill.plugins import Plugins
from polydistill.training.standardise import Rows, Standardiser, fit_standardiser

WEIGHTINGS: Plugins[Callable[..., Any]] = Plugins("weighting", __name__)


class Weighting(nn.Module):
    """Base class: standardises each teacher by its own statistics and gives all teachers the same weight.

    The buffers and parameters of a subclass are in every checkpoint; the parameters have the heads' learning rate.

    Args:
        n_teachers: Number of teachers.
    """

    def __init__(self, n_teachers: int) -> None:
        super().__init__()
        self.n_teachers = n_teachers

    def fit(self, values: Rows, rows: NDArray[np.bool_]) -> Standardiser:
        """Return the standardiser of one teacher's `values`, `(n, teacher_dim)`.

        `rows`, `(n,)`, is a mask of the training rows that the teacher has.
        """
        return fit_standardiser(values, rows)

    def rescale(self, teacher_index: int, target: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002
        """Return one teacher's targets for this batch, `(batch, teacher_dim)`."""
        return target

    def settled(self, teacher_index: int, fitted: Standardiser) -> Standardiser:  # noqa: ARG002
        """Return the standardiser from one teacher's embeddings to its head's targets at the end of training."""
        return fitted

    def resume(self, teacher_index: int, settled: Standardiser) -> Standardiser:  # noqa: ARG002
        """Return the standardiser from one teacher's embeddings to the targets of an earlier head.

        `settled` is the result of the method `settled` at the end of the earlier training. After this
        call, the method `settled` returns the same standardiser.
        """
        return settled

    def forward(self, losses: Tensor, seen: Tensor) -> Tensor:
        """Reduce the teachers' mean losses to one loss.

        Args:
            losses: `(n_teachers,)`; zero where a teacher has no row in the batch.
            seen: `(n_teachers,)`, bool: false where a teacher has no row in the batch.

        Returns:
            A scalar, about as large as the losses.
        """
        return losses.sum() / seen.sum().clamp(min=1)


def weighted_mean(losses: Tensor, weights: Tensor, seen: Tensor) -> Tensor:
    """Return the weighted mean of the losses where `seen` is true; the weights need not sum to one."""
    weights = weights * seen
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)
