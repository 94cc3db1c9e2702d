"""What all teachers together would say: the heads' predictions side by side, in fewer dimensions."""

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
    r"""Cosines of the export are the mean of the cosines that the teachers are predicted to give.

    Each teacher's predicted embedding, in the teacher's own space, is scaled to unit length; side by side and
    divided by :math:`\sqrt{K}` they have inner products that are the mean of the :math:`K` cosines. Principal
    components about the origin keep those inner products as well as `dim` directions can.

    Args:
        heads: Of the student.
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
        """Fit the directions.

        Args:
            source: With heads.
            dim: Of the export; none: the student's, or as many as the teachers have together.
            standardised: Take the teachers as the heads see them, every dimension centred and of variance
                one, rather than as they are: a direction that all embeddings share no longer lifts all cosines.

        Raises:
            ParamsError: `dim` is out of bounds.
            DataError: There is no row.
            MissingDataError: There are no heads.
        """
        if source.heads is None:
            raise MissingDataError("The export predicted-consensus needs the student's heads.")
        if not len(source.embeddings):
            raise DataError("The export predicted-consensus needs a row or more to be fitted to.")
        sides = side_by_side(source.heads, source.embeddings, standardised=standardised)
        width = sides.shape[1]
        wanted = min(source.embeddings.shape[1], width) if dim is None else dim
        if not 1 <= wanted <= width:
            raise ParamsError(f"Option dim must be from 1 to {width}, got {wanted}.")
        moments = np.linalg.eigh((sides.T @ sides).astype(np.float64))[1]
        directions = moments[:, ::-1][:, :wanted]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(wanted)])  # it is free
        kept = np.ascontiguousarray(directions, dtype=np.float32)
        return cls(source.heads, kept, standardised=standardised)

    @classmethod
    def load(
        cls, arrays: Mapping[str, FloatArray], heads: HeadsBundle | None
    ) -> PredictedConsensus:
        """See `_bundle.Export`."""
        if heads is None:
            raise MissingDataError("The export predicted-consensus needs the student's heads.")
        standardised = bool(arrays["standardised"][0])
        return cls(heads, arrays["directions"], standardised=standardised)

    def apply(self, embeddings: FloatArray) -> FloatArray:
        """See `_bundle.Export.apply`."""
        sides = side_by_side(self._heads, embeddings, standardised=self._standardised)
        result: FloatArray = sides @ self._directions
        return result

    def arrays(self) -> dict[str, FloatArray]:
        """See `_bundle.Export.arrays`."""
        flag = np.array([self._standardised], dtype=np.float32)
        return {"directions": self._directions, "standardised": flag}


def side_by_side(heads: HeadsBundle, embeddings: FloatArray, *, standardised: bool) -> FloatArray:
    """Return the teachers' predicted embeddings, `(n, sum of teacher dims)`, each row of length one."""
    parts = []
    moments = predicted_moments(heads.module, embeddings)
    for teacher in heads.card.teachers:
        own, mean = heads.statistics[teacher], moments[teacher][0]
        if not standardised:
            mean = Standardiser(own[MEAN], own[STD], own.get(ROTATION)).invert(mean)
        lengths = np.linalg.norm(mean, axis=1, keepdims=True)
        parts.append(mean / np.where(lengths == 0, 1, lengths))
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)), dtype=np.float32)
