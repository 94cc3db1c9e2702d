"""Low-rank heads: a linear map for the means plus a thin hidden layer that all teachers share."""

from polydistill.heads import HEADS
from polydistill.heads.shared_trunk import SharedTrunkHeads


@HEADS.register("low-rank")
class LowRankHeads(SharedTrunkHeads):
    """See `SharedTrunkHeads`; the means are also linear in the student, and the non-linear part passes through `hidden` units shared by all teachers."""

    default_depth, has_linear_map = 1, True
