"""Teachers as they come: the paper's text setting, a plain sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polydistill.contracts import FloatArray
from polydistill.training.standardise import Standardiser
from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("none")
class NoWeighting(Weighting):
    """Targets keep their scale, so that a teacher with small numbers hardly counts: a baseline."""

    def fit(self, values: FloatArray, rows: NDArray[np.bool_]) -> Standardiser:  # noqa: ARG002
        """See `Weighting.fit`: nothing is changed."""
        dim = values.shape[1]
        return Standardiser(np.zeros(dim, np.float32), np.ones(dim, np.float32))
