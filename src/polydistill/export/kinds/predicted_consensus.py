"""The teachers' predicted embeddings, concatenated and reduced to fewer dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from polydistill.contracts import FloatArray
from polydistill.errors import DataError, ParamsError
from polydistill.export.kinds import EXPORTS
from polydistill.export.kinds.whitened import with_one_sign
from polydistill.training.calibration import predicted_moments
from polydistill.training.heads_bundle import HeadsBundle


@EXPORTS.register("predicted-consensus")
@dataclass(frozen=True)
class PredictedConsensus:
    r"""Embeddings whose cosines approximate the mean of the teachers' predicted cosines.

    Each teacher's predicted embedding is scaled to unit length in the teacher's own space. The :math:`K` scaled
    embeddings are concatenated and divided by :math:`\sqrt{K}`, so that inner products equal the mean of the :math:`K`
    cosines. Uncentred principal components are the best approximation of these inner products in `dim` dimensions.

    Attributes:
        heads: The student's heads.
        directions: Principal directions, `(sum of teacher dims, dim)`, with orthonormal columns.
        standardised: The option `standardised` of `build` as an array, `(1,)`: zero or one.
    """

    needs_heads: ClassVar = True
    heads: HeadsBundle
    directions: FloatArray
    standardised: FloatArray

    @classmethod
    def build(
        cls,
        embeddings: FloatArray,
        heads: HeadsBundle,
        *,
        dim: int | None = None,
        standardised: bool = False,
    ) -> PredictedConsensus:
        """Fit the principal directions.

        Args:
            embeddings: The student's embeddings of training rows, `(n, student_dim)`.
            heads: The heads that were trained with the student.
            dim: Width of the export. None: the student's width, or the sum of the teachers' widths if that is
                smaller.
            standardised: Whether to use the teachers' standardised embeddings instead of the original ones, so
                that a direction common to all embeddings does not increase all cosines.

        Raises:
            ParamsError: `dim` is out of bounds.
            DataError: There are no rows.
        """
        if not len(embeddings):
            raise DataError(
                "The export predicted-consensus must be fitted to one or more rows, got 0."
            )
        sides = side_by_side(heads, embeddings, standardised=standardised)
        width = sides.shape[1]
        wanted = min(embeddings.shape[1], width) if dim is None else dim
        if not 1 <= wanted <= width:
            raise ParamsError(f"Option dim must be from 1 to {width}, got {wanted}.")
        directions = np.linalg.eigh((sides.T @ sides).astype(np.float64))[1][:, ::-1][:, :wanted]
        kept = np.ascontiguousarray(with_one_sign(directions), dtype=np.float32)
        return cls(heads, kept, np.array([standardised], dtype=np.float32))

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `bundle.Export.apply`."""
        sides = side_by_side(self.heads, embeddings, standardised=bool(self.standardised[0]))
        result: FloatArray = sides @ self.directions
        return result


def side_by_side(heads: HeadsBundle, embeddings: FloatArray, *, standardised: bool) -> FloatArray:
    """Return the concatenated predicted embeddings, `(n, sum of teacher dims)`, with rows of length one."""
    parts = []
    moments = predicted_moments(heads.module, embeddings)
    for teacher in heads.card.teachers:
        mean = moments[teacher][0]
        if not standardised:
            mean = heads.standardisers[teacher].invert(mean)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        parts.append(mean / np.where(lengths == 0, 1, lengths))
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)), dtype=np.float32)
