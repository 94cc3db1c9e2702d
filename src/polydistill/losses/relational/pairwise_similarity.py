"""Baseline relational term: the student's similarities in a batch match those of each teacher, not their mean."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from polydistill.config.nodes import Factor
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import mean_over_pairs


@GEOMETRY.register("pairwise-similarity")
def pairwise_similarity(
    student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor], *, scale: Factor = 10.0
) -> Tensor:
    """Compare the student's cosine matrix with each teacher's.

    Args:
        student: `(batch, dim)`.
        targets: One `(batch, teacher_dim)` per teacher, standardised.
        masks: One `(batch,)` per teacher, false where the teacher has no embedding.
        scale: Factor that multiplies the mean squared difference, so that it is about as large as the losses.

    Returns:
        `(batch,)`: each row's scaled mean squared difference, averaged over teachers.

    Raises:
        ShapeError: A target or a mask has a different number of rows from `student`.

    References:
        Tung, Mori 2019, "Similarity-preserving knowledge distillation"; here with cosines.
    """
    own = normalize(student, dim=-1)
    similarity = own @ own.T

    def differences(target: Tensor, pairs: Tensor) -> Tensor:  # noqa: ARG001 - all rows are compared
        unit = normalize(target, dim=-1)
        return (similarity - unit @ unit.T) ** 2

    return mean_over_pairs(student, targets, masks, scale, differences)
