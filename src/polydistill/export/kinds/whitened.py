"""The student's embeddings, centred and whitened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.errors import DataError, ParamsError
from polydistill.export.kinds import EXPORTS

LEAST_VARIANCE = 1e-9  # as a share of the mean variance; directions with less count as noise


@EXPORTS.register("whitened")
@dataclass(frozen=True)
class Whitened:
    """Whitened embeddings, whose cosines are not dominated by a few directions of large variance.

    Attributes:
        mean: The mean embedding, `(student_dim,)`.
        matrix: Whitening matrix, `(student_dim, dim)`, applied after the mean is subtracted.

    References:
        Su, Cao, Liu, Ou 2021, "Whitening sentence representations for better semantics and faster retrieval",
        arXiv:2103.15316. Shrinkage of the covariance: Ledoit, Wolf 2004; here the amount is an option.
    """

    needs_heads: ClassVar = False
    mean: FloatArray
    matrix: FloatArray

    @classmethod
    def build(
        cls, embeddings: FloatArray, *, shrinkage: float = 0.1, dim: int | None = None
    ) -> Whitened:
        """Fit the mean and the whitening matrix.

        Args:
            embeddings: The student's embeddings of training rows, `(n, student_dim)`, at least two rows.
            shrinkage: Weight of the mean variance in the shrunk covariance. 0 whitens fully; 1 only centres and
                scales by a constant.
            dim: Number of directions of largest variance to keep. None: all, rotated back to the student's axes.

        Raises:
            ParamsError: `shrinkage` or `dim` is out of bounds.
            DataError: There are fewer than two rows.
        """
        values = embeddings.astype(np.float64)
        n_rows, width = values.shape
        if not 0 <= shrinkage <= 1:
            raise ParamsError(f"Option shrinkage must be from 0 to 1, got {shrinkage}.")
        if dim is not None and not 1 <= dim <= width:
            raise ParamsError(f"Option dim must be from 1 to {width}, got {dim}.")
        if n_rows < 2:
            raise DataError(f"Whitening needs at least two rows, got {n_rows}.")
        mean = values.mean(axis=0)
        covariance = np.cov(values, rowvar=False, bias=True).reshape(width, width)
        middle = np.trace(covariance) / width
        variances, directions = np.linalg.eigh(covariance)
        variances = (1 - shrinkage) * variances + shrinkage * middle
        usable = variances > LEAST_VARIANCE * max(middle, np.finfo(np.float64).tiny)
        scales = np.where(usable, 1 / np.sqrt(np.where(usable, variances, 1.0)), 0.0)
        matrix = directions * scales
        matrix = matrix @ directions.T if dim is None else with_one_sign(matrix[:, ::-1][:, :dim])
        return cls(mean.astype(np.float32), np.ascontiguousarray(matrix, dtype=np.float32))

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `bundle.Export.apply`."""
        return np.asarray((embeddings - self.mean) @ self.matrix, dtype=np.float32)


def with_one_sign(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make each column's largest entry positive, because the sign of an eigenvector is arbitrary."""
    largest = np.abs(columns).argmax(axis=0)
    signs = np.where(columns[largest, np.arange(columns.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(columns * signs)
