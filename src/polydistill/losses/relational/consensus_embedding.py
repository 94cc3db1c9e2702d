"""Relational term: the student's embedding points where the teachers' joint embedding does."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from polydistill.config.nodes import Factor, Share
from polydistill.losses.relational import GEOMETRY
from polydistill.losses.relational._rows import require_rows

Power = Annotated[float, Field(ge=0, le=4)]
"""The weights of a greater power would leave the range of float32."""


@GEOMETRY.register("consensus-embedding")
class ConsensusEmbedding(nn.Module):
    """One minus the cosine similarity between the student's embedding and the teachers' joint embedding.

    The joint embedding is the concatenation of the teachers' standardised embeddings, each scaled to length one and
    weighted; its cosine similarities are the weighted means of the teachers' similarities. `fit` finds the principal
    components, as many as the student has dimensions, and rotates them towards the untrained student: a rotation changes
    no cosine, and so less has to be learned. Each example therefore has a target of its own, and not only one
    relative to the other examples of its batch.

    Args:
        student_dim: Width of the student's embeddings.
        teacher_dims: Width of each teacher's embeddings, in order.
        scale: Factor that multiplies the distances, so that they are about as large as the losses.
        rank_power: A teacher's weight in the joint embedding is the effective rank of its embeddings to this power. 0:
            equal weights. A teacher of low rank distinguishes fewer examples.
        whitening: 0: the principal components keep their variances. 1: all have the same variance, so that the few
            directions that most texts share count no more than others. Between: the variance to the power of one minus this.

    References:
        Mu and Viswanath 2018, "All-but-the-top", arXiv:1702.01417, for the directions that all embeddings share;
        Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem", for the rotation; Roy and
        Vetterli 2007, "The effective rank".
    """

    projection: Tensor
    weights: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dims: Sequence[int],
        *,
        scale: Factor = 10.0,
        rank_power: Power = 1.0,
        whitening: Share = 0.5,
    ) -> None:
        super().__init__()
        self._scale, self._rank_power, self._whitening = scale, rank_power, whitening
        self.register_buffer("projection", torch.zeros(sum(teacher_dims), student_dim))
        self.register_buffer("weights", torch.ones(len(teacher_dims)))

    @torch.no_grad()
    def fit(self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
        """Fit the weights of the teachers, the principal components and their rotation to examples.

        Args:
            student: The untrained student's embeddings, `(n_examples, dim)`.
            targets: One `(n_examples, teacher_dim)` per teacher, standardised.
            masks: One `(n_examples,)` per teacher, false where the teacher has no embedding.

        Raises:
            ShapeError: A target or a mask has a different number of rows from `student`.
        """
        require_rows(student, targets, masks)
        ranks = [_effective_rank(one[mask]) for one, mask in zip(targets, masks, strict=True)]
        self.weights.copy_(torch.tensor(ranks) ** self._rank_power)
        joint = self._joint(targets, masks).double()
        variances, directions = torch.linalg.eigh(joint.T @ joint / len(joint))
        kept = min(len(variances), student.shape[1])
        variances, directions = variances.flip(0)[:kept], directions.flip(1)[:, :kept]
        floor = 1e-9 * variances[0]
        directions = directions * variances.clamp(min=floor) ** (-self._whitening / 2)
        directions[:, variances <= floor] = 0
        aims, own = normalize(joint @ directions, dim=-1), normalize(student.double(), dim=-1)
        left, _, right = torch.linalg.svd(aims.T @ own, full_matrices=False)
        self.projection.copy_(directions @ left @ right)

    def forward(
        self, student: Tensor, targets: Sequence[Tensor], masks: Sequence[Tensor]
    ) -> Tensor:
        """Return the scaled distances, `(batch,)`; 0 where no teacher has an embedding.

        Raises:
            ShapeError: A target or a mask has a different number of rows from `student`.
        """
        require_rows(student, targets, masks)
        joint = self._joint(targets, masks).to(student.dtype)
        aims = normalize(joint @ self.projection.to(student.dtype), dim=-1)
        known = torch.stack(list(masks)).any(dim=0)
        distances = 1 - (normalize(student, dim=-1) * aims).sum(dim=-1)
        return self._scale * torch.where(known, distances, torch.zeros_like(distances))

    def _joint(self, targets: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Return the weighted concatenation of the teachers' embeddings, `(n, sum of the teachers' widths)`."""
        return torch.cat(
            [
                normalize(target, dim=-1) * (mask[:, None] * weight.sqrt())
                for target, mask, weight in zip(targets, masks, self.weights, strict=True)
            ],
            dim=-1,
        )


def _effective_rank(values: Tensor) -> float:
    """Return the exponential of the entropy of the shares of variance; 0 without rows or variance."""
    unit = normalize(values, dim=-1).double()
    shares = torch.linalg.eigvalsh(unit.T @ unit).clamp(min=0)
    if not shares.sum() > 0:
        return 0.0
    shares = shares / shares.sum()
    return float(torch.special.entr(shares).sum().exp())
