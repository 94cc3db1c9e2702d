"""No weighting and no scaling: the paper's text setting, a plain sum."""

import numpy as np
from numpy.typing import NDArray

from polydistill.training.standardise import Rows, Standardiser
from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("none")
class NoWeighting(Weighting):
    """Baseline: targets keep their scale, so a teacher with small values has little influence."""

    def fit(self, values: Rows, rows: NDArray[np.bool_]) -> Standardiser:  # noqa: ARG002
        """See `Weighting.fit`; embeddings are not changed."""
        return Standardiser.unchanged(values.shape[1])
