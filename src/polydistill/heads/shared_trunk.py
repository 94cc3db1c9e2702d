"""Heads on a deep shared trunk: a perceptron with residual layers, without a linear map."""

from polydistill.heads import HEADS
from polydistill.heads._trunk import TrunkHeads


@HEADS.register("shared-trunk")
class SharedTrunkHeads(TrunkHeads):
    """See `_trunk.TrunkHeads`."""

    default_depth, has_linear_map = 2, False
