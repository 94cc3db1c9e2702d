"""Standardisation of the teachers' embeddings to mean zero and a common scale."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.embeddings.store import StoredEmbeddings

COLUMNS = 64
"""Number of dimensions that are processed in float64 at a time."""


@dataclass(frozen=True)
class Standardiser:
    """Statistics of one teacher's embeddings over its training rows.

    Attributes:
        mean: Mean, `(teacher_dim,)`.
        std: Standard deviation after the rotation, `(teacher_dim,)`; one for a constant dimension.
        rotation: Orthogonal matrix, `(teacher_dim, teacher_dim)`, applied after the mean is subtracted. None: no
            rotation.
    """

    mean: FloatArray
    std: FloatArray
    rotation: FloatArray | None = None

    @classmethod
    def unchanged(cls, dim: int) -> Self:
        """Return statistics that leave embeddings unchanged."""
        return cls(np.zeros(dim, np.float32), np.ones(dim, np.float32))

    def apply(self, values: FloatArray) -> FloatArray:
        """Return standardised embeddings, `(n, teacher_dim)`."""
        centred = values - self.mean
        turned = centred if self.rotation is None else centred @ self.rotation.T
        turned /= self.std  # in place, to save memory for wide teachers
        return np.asarray(turned, dtype=np.float32)

    def invert(self, standardised: FloatArray) -> FloatArray:
        """Return embeddings in the teacher's own space, `(n, teacher_dim)`; the inverse of `apply`."""
        scaled = standardised * self.std
        turned = scaled if self.rotation is None else scaled @ self.rotation
        return np.asarray(turned + self.mean, dtype=np.float32)

    def invert_variance(self, variance: FloatArray) -> FloatArray:
        """Map variances of independent standardised errors to the teacher's own space, `(n, teacher_dim)`."""
        scaled = variance * self.std**2
        turned = scaled if self.rotation is None else scaled @ self.rotation**2
        return np.asarray(turned, dtype=np.float32)


def fit_standardiser(values: FloatArray, rows: NDArray[np.bool_]) -> Standardiser:
    """Compute the statistics over the rows where `rows`, `(n,)`, is true, in float64."""
    mean, std = np.zeros(values.shape[1]), np.ones(values.shape[1])
    if rows.any():
        for start in range(0, values.shape[1], COLUMNS):
            part = slice(start, start + COLUMNS)
            used = values[rows, part].astype(np.float64)
            mean[part], std[part] = used.mean(axis=0), used.std(axis=0)
    floor = 1e-6 * max(float(np.abs(mean).max(initial=0.0)), float(std.max(initial=0.0)), 1e-30)
    return Standardiser(mean.astype(np.float32), np.where(std > floor, std, 1.0).astype(np.float32))


class StandardisedRows:
    """A teacher's embeddings, standardised when rows are read.

    Args:
        embeddings: The stored embeddings.
        standardiser: The teacher's standardiser.
    """

    def __init__(self, embeddings: StoredEmbeddings, standardiser: Standardiser) -> None:
        self._embeddings, self.standardiser = embeddings, standardiser

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the standardised rows with numbers `rows`, `(n,)`: `(n, teacher_dim)`, float32."""
        values = self._embeddings.take(rows.numpy()).values
        return torch.from_numpy(self.standardiser.apply(values))
