"""Low-rank heads: a linear map for the means plus a thin hidden layer that all teachers share."""

from polydistill.heads import HEADS
from polydistill.heads._trunk import TrunkHeads


@HEADS.register("low-rank")
class LowRankHeads(TrunkHeads):
    """See `_trunk.TrunkHeads`; the non-linear part passes through `hidden` units shared by all teachers."""

    default_depth, has_linear_map = 1, True
