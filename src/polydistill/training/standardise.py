"""Standardisation of the teachers' embeddings to mean zero and a common scale."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.embeddings.store import StoredEmbeddings

BLOCK = 8_192
"""Number of rows that are read at a time."""


class Rows(Protocol):
    """A teacher's embeddings, `(n, teacher_dim)`: an array, or `StoredEmbeddings`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, teacher_dim)`."""

    def __getitem__(self, rows: slice, /) -> FloatArray:
        """Return consecutive rows, float32."""


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


def fit_standardiser(values: Rows, rows: NDArray[np.bool_]) -> Standardiser:
    """Compute the statistics over the rows where `rows`, `(n,)`, is true, in float64."""
    dim, n_used = values.shape[1], int(rows.sum())
    mean, std = np.zeros(dim), np.ones(dim)
    if n_used:
        total, squares = np.zeros(dim), np.zeros(dim)
        for used in used_blocks(values, rows):
            total = np.vstack([total, used]).sum(axis=0)
        mean = total / n_used
        for used in used_blocks(values, rows):
            squares = np.vstack([squares, (used - mean) ** 2]).sum(axis=0)
        std = np.sqrt(squares / n_used)
    floor = 1e-6 * max(float(np.abs(mean).max(initial=0.0)), float(std.max(initial=0.0)), 1e-30)
    return Standardiser(mean.astype(np.float32), np.where(std > floor, std, 1.0).astype(np.float32))


def used_blocks(values: Rows, rows: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    """Yield the used rows, `(n, teacher_dim)`, of `BLOCK` rows at a time."""
    for start in range(0, len(rows), BLOCK):
        used = rows[start : start + BLOCK]
        if used.any():
            yield np.ascontiguousarray(values[start : start + BLOCK][used], dtype=np.float64)


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
