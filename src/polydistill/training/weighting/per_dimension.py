"""The default: every dimension of every teacher has mean zero and variance one."""

from __future__ import annotations

from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("per-dimension")
class PerDimension(Weighting):
    """See `_base.Weighting`. Rescaling a teacher by any constant changes nothing."""
