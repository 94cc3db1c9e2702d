"""The teachers' predicted embeddings, concatenated and reduced to fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from polydistill.contracts import FloatArray
from polydistill.errors import DataError, MissingDataError, ParamsError
from polydistill.export.bundle import ExportSource
from polydistill.export.kinds import EXPORTS
from polydistill.training.calibration import predicted_moments
from polydistill.training.heads_bundle import MEAN, ROTATION, STD, HeadsBundle
from polydistill.training.standardise import Standardiser


@EXPORTS.register("predicted-consensus")
class PredictedConsensus:
    r"""Embeddings whose cosines approximate the mean of the teachers' predicted cosines.

    Each teacher's predicted embedding is scaled to unit length in the teacher's own space. Concatenated and divided by
    :math:`\sqrt{K}`, they have inner products equal to the mean of the :math:`K` cosines. Principal components about
    the origin are the best approximation of those inner products in `dim` dimensions.

    Args:
        heads: The student's heads.
        directions: `(sum of teacher dims, dim)`, orthonormal columns.
        standardised: See `build`.
    """

    needs_heads = True

    def __init__(self, heads: HeadsBundle, directions: FloatArray, *, standardised: bool) -> None:
        self._heads, self._directions, self._standardised = heads, directions, standardised

    @classmethod
    def build(
        cls, source: ExportSource, *, dim: int | None = None, standardised: bool = False
    ) -> PredictedConsensus:
        """Fit the principal directions.

        Args:
            source: The data, with heads.
            dim: Width of the export. None: the student's width, or the sum of the teachers' widths if that is
                smaller.
            standardised: Whether to use the teachers' standardised embeddings instead of the original ones, so
                that a direction common to all embeddings does not raise all cosines.

        Raises:
            ParamsError: `dim` is out of bounds.
            DataError: The source has no rows.
            MissingDataError: The source has no heads.
        """
        if source.heads is None:
            raise MissingDataError("The export predicted-consensus needs the student's heads.")
        if not len(source.embeddings):
            raise DataError(
                "The export predicted-consensus needs at least one row to be fitted to."
            )
        sides = side_by_side(source.heads, source.embeddings, standardised=standardised)
        width = sides.shape[1]
        wanted = min(source.embeddings.shape[1], width) if dim is None else dim
        if not 1 <= wanted <= width:
            raise ParamsError(f"Option dim must be from 1 to {width}, got {wanted}.")
        moments = np.linalg.eigh((sides.T @ sides).astype(np.float64))[1]
        directions = moments[:, ::-1][:, :wanted]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(
            directions[largest, np.arange(wanted)]
        )  # the sign is arbitrary
        kept = np.ascontiguousarray(directions, dtype=np.float32)
        return cls(source.heads, kept, standardised=standardised)

    @classmethod
    def load(
        cls, arrays: Mapping[str, FloatArray], heads: HeadsBundle | None
    ) -> PredictedConsensus:
        """See `bundle.Export`."""
        if heads is None:
            raise MissingDataError("The export predicted-consensus needs the student's heads.")
        standardised = bool(arrays["standardised"][0])
        return cls(heads, arrays["directions"], standardised=standardised)

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `bundle.Export.apply`."""
        sides = side_by_side(self._heads, embeddings, standardised=self._standardised)
        result: FloatArray = sides @ self._directions
        return result

    def arrays(self) -> dict[str, FloatArray]:
        """See `bundle.Export.arrays`."""
        flag = np.array([self._standardised], dtype=np.float32)
        return {"directions": self._directions, "standardised": flag}


def side_by_side(heads: HeadsBundle, embeddings: FloatArray, *, standardised: bool) -> FloatArray:
    """Return the concatenated predicted embeddings, `(n, sum of teacher dims)`, with rows of length one."""
    parts = []
    moments = predicted_moments(heads.module, embeddings)
    for teacher in heads.card.teachers:
        own, mean = heads.statistics[teacher], moments[teacher][0]
        if not standardised:
            mean = Standardiser(own[MEAN], own[STD], own.get(ROTATION)).invert(mean)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        parts.append(mean / np.where(lengths == 0, 1, lengths))
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)), dtype=np.float32)
