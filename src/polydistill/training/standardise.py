"""Bring every teacher to mean zero and variance one, dimension by dimension."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import FloatArray

CHUNK = 8192


@dataclass(frozen=True)
class Standardiser:
    """A teacher's statistics over the training rows that it has.

    Attributes:
        mean: `(teacher_dim,)`.
        std: `(teacher_dim,)`; one where a dimension never varies.
    """

    mean: FloatArray
    std: FloatArray

    def apply(self, values: FloatArray) -> FloatArray:
        """Return `(n, teacher_dim)`, standardised."""
        result: FloatArray = ((values - self.mean) / self.std).astype(np.float32)
        return result


def fit_standardiser(values: FloatArray, rows: NDArray[np.bool_]) -> Standardiser:
    """Compute the statistics over the rows where `rows`, `(n,)`, is true, in float64."""
    used = values[rows].astype(np.float64)
    mean = used.mean(axis=0) if len(used) else np.zeros(values.shape[1])
    std = used.std(axis=0) if len(used) else np.ones(values.shape[1])
    floor = 1e-6 * max(float(np.abs(mean).max(initial=0.0)), float(std.max(initial=0.0)), 1e-30)
    return Standardiser(mean.astype(np.float32), np.where(std > floor, std, 1.0).astype(np.float32))
