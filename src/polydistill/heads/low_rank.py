"""Low-rank heads: a linear map for the means plus a thin hidden layer that all teachers share."""

from polydistill.heads import HEADS
from polydistill.heads.shared_trunk import SharedTrunkHeads


@HEADS.register("low-rank")
class LowRankHeads(SharedTrunkHeads):
    """Heads whose means are a linear map of the student plus a non-linear part.

    The non-linear part passes through `hidden` units that all teachers share. See `SharedTrunkHeads`.
    """

    default_depth, has_linear_map = 1, True
