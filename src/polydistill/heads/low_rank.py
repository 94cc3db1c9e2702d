"""Heads that share a thin layer: a linear map for the means, and a hidden layer for what is not linear."""

from __future__ import annotations

from polydistill.heads import HEADS
from polydistill.heads._trunk import TrunkHeads


@HEADS.register("low-rank")
class LowRankHeads(TrunkHeads):
    """See `_trunk.TrunkHeads`: what is not linear passes through `hidden` numbers for all teachers together."""

    default_depth, has_linear_map = 1, True
