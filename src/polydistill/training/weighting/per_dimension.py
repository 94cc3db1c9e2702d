"""The default weighting: every dimension of every teacher is scaled to mean zero and variance one."""

from polydistill.training.weighting import WEIGHTINGS, Weighting


@WEIGHTINGS.register("per-dimension")
class PerDimension(Weighting):
    """See `Weighting`. The result does not depend on the scale of a teacher's embeddings."""
